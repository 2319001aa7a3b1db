//! What a role serves by HTTP: its metrics, its dashboard, and a balancer's answers.

use std::{path::Path, sync::Arc};

use anyhow::bail;
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::security::password;
use crate::{
    balancer::answers::Answers,
    host::{Host, Listener, Network},
    http::{
        self, Site,
        dashboard::{
            Dashboard,
            logs::{Logs, Piece},
        },
    },
    metrics::Part,
    model::{Instance, InstanceState, LogQuery, Name},
    operator::{
        Operator,
        board::{Board, Counts, Scope},
    },
    rpc::{
        log_client::{self, LogStream},
        tally::{Balancers, Own},
    },
    store::Store,
    task::Tasks,
};

/// What is shown to people, and by which ways.
pub(super) struct Shown {
    pub store: Store,
    pub cluster: Name,
    pub role: &'static str,
    pub scope: Scope,
    pub logs: Source,
    /// How balancers are asked what they have answered; none: they are not.
    pub balancers: Option<Arc<dyn Network>>,
    /// The instances that an agent runs by its own manifests; none: there is no agent.
    pub own: Option<watch::Receiver<Vec<InstanceState>>>,
    /// Who restarts and drains, and the token that this takes.
    pub operator: Option<Operator>,
    pub token: Option<String>,
}

/// Where logs come from.
pub(super) enum Source {
    /// Nowhere.
    None,
    /// The files of this host's agent.
    Here(crate::agent::logs::Logs),
    /// The agents, reached over this network.
    Agents(Arc<dyn Network>),
}

/// Serves on `listener` what there is, and keeps what is shown current.
pub(super) fn serve(
    tasks: &mut Tasks,
    listener: Box<dyn Listener>,
    parts: Vec<Part>,
    answers: Option<Answers>,
    shown: Option<Shown>,
    host: &Host,
) {
    let stop = tasks.stop().clone();
    let is_local = listener
        .local_address()
        .is_ok_and(|local| local.ip().is_loopback());
    let own = answers.clone();
    let dashboard = shown.map(|shown| dashboard(tasks, shown, own, host, is_local, stop.clone()));
    let site = Site {
        parts,
        answers,
        dashboard,
    };
    let serving = http::serve(listener, site, host.clone(), stop);
    tasks.spawn("HTTP server", serving);
}

fn dashboard(
    tasks: &mut Tasks,
    shown: Shown,
    own: Option<Answers>,
    host: &Host,
    is_local: bool,
    stop: CancellationToken,
) -> Dashboard {
    let asked: Option<Arc<dyn Counts>> = match (&shown.scope, own, shown.balancers) {
        (Scope::Answers, Some(own), _) => Some(Arc::new(Own::new(own))),
        (_, _, Some(network)) => Some(Arc::new(Balancers::new(network))),
        (_, _, None) => None,
    };
    let board = Board::new(host, shown.scope);
    let (keeper, cluster) = (board.clone(), shown.cluster.clone());
    if let Some(own) = shown.own {
        let keeping = board.clone().keep_own(own, stop.clone());
        tasks.spawn("dashboard of own instances", keeping);
    }
    let keeping = keeper.keep(shown.store, cluster, asked, stop);
    tasks.spawn("dashboard", keeping);
    let logs: Option<Arc<dyn Logs>> = match shown.logs {
        Source::None => None,
        Source::Here(logs) => Some(Arc::new(logs)),
        Source::Agents(network) => {
            let board = board.clone();
            Some(Arc::new(Agents { board, network }))
        }
    };
    Dashboard {
        board,
        cluster: shown.cluster,
        role: shown.role,
        logs,
        operator: shown.operator,
        token: shown.token,
        is_local,
    }
}

/// The token in a file.
///
/// # Errors
/// It cannot be read, or is too short to be one.
pub(super) fn token(file: Option<&Path>, host: &Host) -> anyhow::Result<Option<String>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let token = password(file, host)?;
    if token.len() < SHORTEST {
        bail!(
            "the token in {} has fewer than {SHORTEST} characters: `head -c 24 /dev/urandom | base64` prints a good one",
            file.display()
        );
    }
    Ok(Some(token))
}

/// Characters of a token, at least: who tries all of fewer may be lucky.
const SHORTEST: usize = 16;

/// A token of its own, for as long as the process lives.
pub(super) fn random_token(host: &Host) -> String {
    format!("{:016x}{:016x}", host.entropy.bits(), host.entropy.bits())
}

/// The agents of a cluster, each asked where the board says that it is.
#[derive(Clone)]
pub(super) struct Agents {
    pub board: Board,
    pub network: Arc<dyn Network>,
}

impl Logs for Agents {
    fn read(&self, node: Name, instance: Instance, query: LogQuery) -> BoxStream<'static, Piece> {
        let (address, network) = (self.board.agent_address(&node), Arc::clone(&self.network));
        let opening = async move {
            let away = || format!("the agent of node `{node}` is not there, or serves no logs");
            let address = address.ok_or_else(away)?;
            let read = log_client::read(network, &address, &node, &instance, query).await;
            read.map_err(|error| error.to_string())
        };
        let lines = stream::once(opening).flat_map(|opened| match opened {
            Ok(stream) => {
                stream::unfold(Some(stream), |stream| async move { next(stream?).await }).boxed()
            }
            Err(why) => stream::iter([Err(why)]).boxed(),
        });
        lines.boxed()
    }
}

async fn next(mut stream: LogStream) -> Option<(Piece, Option<LogStream>)> {
    match stream.next().await {
        Ok(Some(batch)) => {
            let position = stream.position();
            Some((Ok((batch, position)), Some(stream)))
        }
        Ok(None) => None,
        Err(error) => Some((Err(error.to_string()), None)),
    }
}
