//! `quaestor logs`: what instances print, wherever they run.
//!
//! - `merge`: the lines of several instances as one sequence
//! - `text`: a line as a terminal may show it
//!
//! As with docker, what a process writes to standard error comes out there. So do lines of Quaestor: that a
//! process started or ended, and that lines are missing.

mod merge;
mod text;

use std::{process::ExitCode, sync::Arc};

use anyhow::bail;
use futures::{FutureExt as _, StreamExt as _, future, stream::FuturesUnordered};

use self::merge::Merge;
use super::{
    args::LogsArgs,
    output::{Lines, clean, unknown},
};
use crate::{
    host::Network,
    model::{Instance, LogBatch, LogQuery, LogSource, Name},
    operator::{
        Operator,
        inventory::{InstanceInfo, Inventory},
    },
    rpc::log_client::{self, Error, LogStream},
};

pub(super) async fn run(
    operator: &Operator,
    network: Arc<dyn Network>,
    args: LogsArgs,
) -> anyhow::Result<ExitCode> {
    let inventory = operator.inventory().await?;
    let targets = targets(&inventory, &args.target)?;
    let query = LogQuery {
        max_age: args.since.map(|since| since.get()),
        tail: args.tail,
        follow: args.follow,
        previous: args.previous,
    };
    let width = targets.iter().map(|it| it.instance.to_string().len()).max();
    let width = width.filter(|_| targets.len() > 1);

    let asked = targets.iter().map(|target| target.read(&network, query));
    let mut failures = Vec::new();
    let mut reading = FuturesUnordered::new();
    let mut merge = Merge::new(targets.len());
    for (at, asked) in future::join_all(asked).await.into_iter().enumerate() {
        match asked {
            Ok(stream) => reading.push(next(at, stream).boxed()),
            Err(error) => {
                failures.push(error);
                merge.release(at);
            }
        }
    }
    // Said at once: the others may be followed for hours.
    let mut output = Lines::default();
    for failure in &failures {
        output.failure(failure);
    }
    // A stream is asked for more when all it gave is printed, so that none runs ahead of the others.
    let mut waiting: Vec<Option<LogStream>> = targets.iter().map(|_| None).collect();
    loop {
        while let Some((at, line)) = merge.pop() {
            let prefix =
                width.map(|width| format!("{:width$} | ", targets[at].instance.to_string()));
            let prefix = prefix.unwrap_or_default();
            let text = text::printable(&line.text);
            let written = match line.source {
                LogSource::Out => output.result(format_args!("{prefix}{text}")),
                LogSource::Err => output.aside(format_args!("{prefix}{text}")),
                LogSource::Quaestor => output.aside(format_args!("{prefix}[quaestor] {text}")),
            };
            if !written? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        for (at, stream) in waiting.iter_mut().enumerate() {
            if merge.wants(at)
                && let Some(stream) = stream.take()
            {
                reading.push(next(at, stream).boxed());
            }
        }
        if !output.flush()? {
            return Ok(ExitCode::SUCCESS);
        }
        let Some((at, stream, batch)) = reading.next().await else {
            break;
        };
        match batch {
            Ok(Some(LogBatch::Lines(lines))) => {
                merge.push(at, lines);
                waiting[at] = Some(stream);
            }
            Ok(Some(LogBatch::CaughtUp)) => {
                merge.release(at);
                waiting[at] = Some(stream);
            }
            Ok(None) => merge.release(at),
            Err(error) => {
                merge.release(at);
                let failure = targets[at].failure(&error);
                output.failure(&failure);
                failures.push(failure);
            }
        }
    }
    Ok(match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn next(
    at: usize,
    mut stream: LogStream,
) -> (usize, LogStream, Result<Option<LogBatch>, Error>) {
    let batch = stream.next().await;
    (at, stream, batch)
}

/// An instance whose logs are wanted.
struct Target {
    instance: Instance,
    node: Name,
    /// Where its agent is asked; or why it cannot be.
    agent: Result<String, String>,
}

impl Target {
    fn new(inventory: &Inventory, instance: &InstanceInfo) -> Self {
        let node = inventory.nodes.iter().find(|it| it.name == instance.node);
        let agent = node.filter(|node| !node.version.is_empty()).map_or_else(
            || {
                Err(
                    "its agent is away; the files are on that host, in the agent's state directory"
                        .to_owned(),
                )
            },
            |node| {
                node.agent_address.clone().ok_or_else(|| {
                    format!(
                        "its agent (version {}) serves no logs: it has to be upgraded",
                        node.version
                    )
                })
            },
        );
        Self {
            instance: instance.name.clone(),
            node: instance.node.clone(),
            agent,
        }
    }

    async fn read(&self, network: &Arc<dyn Network>, query: LogQuery) -> Result<LogStream, String> {
        let address = match &self.agent {
            Ok(address) => address,
            Err(cause) => return Err(self.explain(cause)),
        };
        let stream = log_client::read(network.clone(), address, &self.node, &self.instance, query);
        stream.await.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &Error) -> String {
        let is_local = |address: &String| {
            let address = address.parse::<std::net::SocketAddr>();
            address.is_ok_and(|address| address.ip().is_loopback())
        };
        let hint = match error {
            Error::Refused(_) => "",
            _ if self.agent.as_ref().is_ok_and(is_local) => {
                "; an agent without --listen HOST:PORT can be asked on its own host only"
            }
            _ => "; `quaestor get nodes` shows whether the agent is there",
        };
        self.explain(&format!("{error}{hint}"))
    }

    fn explain(&self, cause: &str) -> String {
        let Self { instance, node, .. } = self;
        clean(&format!("{instance} on node {node}: {cause}"))
    }
}

/// The instances that `name` means: those of a service, or one.
fn targets(inventory: &Inventory, name: &str) -> anyhow::Result<Vec<Target>> {
    // A service may be called like an instance of another one; it comes first.
    let is_service = inventory.services.iter().any(|it| it.name.as_str() == name);
    let is_meant = |it: &&InstanceInfo| match is_service {
        true => it.service.as_str() == name,
        false => it.name.to_string() == name,
    };
    let found: Vec<&InstanceInfo> = inventory.instances.iter().filter(is_meant).collect();
    if found.is_empty() && is_service {
        bail!("{name} has no instances yet; `quaestor describe service {name}` says why");
    }
    if found.is_empty() {
        let services = inventory.services.iter().map(|it| it.name.to_string());
        let instances = inventory.instances.iter().map(|it| it.name.to_string());
        let known: Vec<String> = services.chain(instances).collect();
        let known = known.iter().map(String::as_str);
        bail!(unknown("service or instance", name, known, "instances"));
    }
    if found.iter().all(|it| it.external) {
        bail!("{name} is run by somebody else: its logs are where they put them");
    }
    let ours = found.into_iter().filter(|it| !it.external);
    Ok(ours.map(|it| Target::new(inventory, it)).collect())
}
