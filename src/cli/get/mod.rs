//! `quaestor get`: services, instances, nodes, endpoints; events have theirs beside this.
//!
//! - `columns`: the tables; `select`: which of them and in which order; `watch`: again whenever something changes

mod columns;
mod select;
mod watch;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    args::{GetArgs, GetFormat, Kind},
    events,
    output::{failure, say, unknown},
};
use crate::{
    host::Host,
    model::{Name, Timestamp, service::Labels},
    operator::{
        Operator,
        inventory::{EndpointInfo, InstanceInfo, Inventory, Node, Service},
    },
};

pub(super) use columns::{instances, phase, summary, usage};

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: GetArgs,
) -> anyhow::Result<ExitCode> {
    if args.kind == Kind::Events {
        if !args.selector.is_empty() || args.sort_by.is_some() || args.watch {
            bail!("--selector, --sort-by and --watch are for what there is, not for events");
        }
        return events::run(operator, host, args).await;
    }
    if args.object.is_some() {
        bail!("--for is for events: `quaestor get events --for OBJECT`");
    }
    if args.watch {
        return watch::run(operator, host, &args).await;
    }
    let inventory = operator.inventory().await?;
    let (listed, missing) = listed(&inventory, &args)?;
    // Whoever asks for what is not there is told so, and not that there is nothing at all.
    let is_told = !(listed.is_empty() && !missing.is_empty() && args.output.is_for_people());
    if is_told {
        let shown = listed.shown(args.output, host.clock.timestamp())?;
        say(shown.trim_end())?;
    }
    match missing.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(failure(&missing)),
    }
}

/// Things of one kind, as they were asked for.
pub(super) enum Listed {
    Services(Vec<Service>),
    Instances(Vec<InstanceInfo>),
    Nodes(Vec<Node>),
    Endpoints(Vec<EndpointInfo>),
}

/// What `args` ask for, and which names of them there are not.
fn listed(inventory: &Inventory, args: &GetArgs) -> anyhow::Result<(Listed, Vec<String>)> {
    let none = Labels::new();
    let of_service = |name: &Name| {
        let service = inventory.services.iter().find(|it| it.name == *name);
        service.map_or(&none, |service| &service.labels)
    };
    let mut found: Vec<String> = Vec::new();
    let mut keep = |ways: &[&str], labels: &Labels| {
        found.extend(ways.iter().map(|way| (*way).to_owned()));
        let is_named = args.names.iter().any(|name| ways.contains(&name.as_str()));
        (args.names.is_empty() || is_named)
            && args
                .selector
                .iter()
                .all(|requirement| requirement.admits(labels))
    };
    let sort = args.sort_by.as_deref();
    let (listed, noun, listing) = match args.kind {
        Kind::Services => {
            let mut items = inventory.services.clone();
            items.retain(|item| keep(&[item.name.as_str()], &item.labels));
            select::sort(&mut items, sort)?;
            (Listed::Services(items), "service", "services")
        }
        Kind::Instances => {
            let mut items = inventory.instances.clone();
            items.retain(|item| {
                let ways = [&item.name.to_string(), item.service.as_str()];
                keep(&ways, of_service(&item.service))
            });
            select::sort(&mut items, sort)?;
            (Listed::Instances(items), "instance or service", "instances")
        }
        Kind::Nodes => {
            let mut items = inventory.nodes.clone();
            items.retain(|item| keep(&[item.name.as_str()], &item.labels));
            select::sort(&mut items, sort)?;
            (Listed::Nodes(items), "node", "nodes")
        }
        Kind::Endpoints | Kind::Events => {
            let mut items = inventory.endpoints();
            items.retain(|item| {
                let ways = [&item.instance.to_string(), item.service.as_str()];
                keep(&ways, of_service(&item.service))
            });
            select::sort(&mut items, sort)?;
            (Listed::Endpoints(items), "instance or service", "endpoints")
        }
    };
    let missing = args.names.iter().filter(|name| !found.contains(name));
    let missing = missing
        .map(|name| unknown(noun, name, found.iter().map(String::as_str), listing))
        .collect();
    Ok((listed, missing))
}

impl Listed {
    fn is_empty(&self) -> bool {
        match self {
            Self::Services(items) => items.is_empty(),
            Self::Instances(items) => items.is_empty(),
            Self::Nodes(items) => items.is_empty(),
            Self::Endpoints(items) => items.is_empty(),
        }
    }

    /// All of it as text.
    fn shown(&self, format: GetFormat, now: Timestamp) -> anyhow::Result<String> {
        Ok(match format {
            GetFormat::Table => self.table(false, now),
            GetFormat::Wide => self.table(true, now),
            GetFormat::Name => self.names().join("\n"),
            GetFormat::Json => {
                serde_json::to_string_pretty(&self.values()?).context("cannot print as JSON")?
            }
            GetFormat::Yaml => {
                serde_yaml::to_string(&self.values()?).context("cannot print as YAML")?
            }
        })
    }

    fn table(&self, wide: bool, now: Timestamp) -> String {
        match self {
            Self::Services(items) => columns::services(items),
            Self::Instances(items) if wide => columns::instances_wide(items, now),
            Self::Instances(items) => columns::instances(items, now),
            Self::Nodes(items) => columns::nodes(items, now),
            Self::Endpoints(items) => columns::endpoints(items),
        }
    }

    /// Their names with their kinds, as other commands take them.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Services(items) => items
                .iter()
                .map(|it| format!("service/{}", it.name))
                .collect(),
            Self::Instances(items) => items
                .iter()
                .map(|it| format!("instance/{}", it.name))
                .collect(),
            Self::Nodes(items) => items.iter().map(|it| format!("node/{}", it.name)).collect(),
            Self::Endpoints(items) => items
                .iter()
                .map(|it| format!("{}:{}", it.host, it.port))
                .collect(),
        }
    }

    /// Each as a value, for programs.
    fn values(&self) -> anyhow::Result<Vec<Value>> {
        let values = match self {
            Self::Services(items) => serde_json::to_value(items),
            Self::Instances(items) => serde_json::to_value(items),
            Self::Nodes(items) => serde_json::to_value(items),
            Self::Endpoints(items) => serde_json::to_value(items),
        };
        match values.context("cannot print as JSON")? {
            Value::Array(values) => Ok(values),
            other => Ok(vec![other]),
        }
    }
}
