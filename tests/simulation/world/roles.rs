//! The roles of a world, started as `quaestor` starts them.
//!
//! In the first edition agents serve nothing, and balancers do not say that they are there.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::{TryFutureExt as _, future::BoxFuture};
use quaestor::{
    agent::{self, logs::Logs, witnesses::Witnesses},
    balancer::{self, answers::Answers, limits::Limits, reservations::Reservations},
    controller,
    host::Host,
    model::Name,
    plan::proof::Question,
    process::Processes,
    rpc::{self, connections::Connections, proof},
    store::Store,
    view::Directory,
};
use tokio_util::sync::CancellationToken;

use super::{GRACE, Running, World};
use crate::{
    cast::{AGENTS, CONTROLLERS, Role, node},
    network::{HostId, address},
    planted::Planted,
    schedule::Edition,
};

/// Where agents listen, and where balancers do.
const AGENT: u16 = 5151;
const BALANCER: u16 = 5150;

fn words(error: impl fmt::Display) -> String {
    error.to_string()
}

impl World {
    /// Starts the role of a host, unless it runs.
    pub(super) fn start(&self, host: HostId) {
        if self.running().contains_key(&host) {
            return;
        }
        let stop = CancellationToken::new();
        let (program, task) = if CONTROLLERS.contains(&host) {
            let (machine, program) = self.guest(host, Role::Controller);
            let config = controller::Config {
                cluster: "default".parse().expect("a name"),
                name: format!("controller-{host}"),
                node_grace: GRACE,
                compacts_every: Some(Duration::from_secs(300)),
                state_directory: Some("/controller".into()),
            };
            let role = controller::run(config, self.store(&machine), machine, stop.clone());
            (program, self.spawn(host, program, role))
        } else if AGENTS.contains(&host) {
            let (machine, program) = self.guest(host, Role::Agent(node(host)));
            let config = self.agent(host);
            let processes = self.table.of(&node(host), host, program, self.planted);
            let store = self.store(&machine);
            let task = match self.edition() {
                Edition::First => {
                    let counter = agent::reservations::counter().1;
                    let role = agent::run(config, store, machine, processes, counter, stop.clone());
                    self.spawn(host, program, role)
                }
                Edition::Second => {
                    let witnesses: Arc<dyn Witnesses> = match self.planted {
                        Planted::Credulity => Arc::new(Credulous),
                        _ => Arc::new(proof::Balancers(Arc::clone(&machine.network))),
                    };
                    let seams = (processes, witnesses);
                    let role = look_after(config, store, machine, seams, stop.clone());
                    self.spawn(host, program, role)
                }
            };
            (program, task)
        } else {
            let (machine, program) = self.guest(host, Role::Balancer);
            let directory = Arc::new(Directory::default());
            self.cast.answers(program, host, Arc::clone(&directory));
            let reached_at = match self.edition() {
                Edition::First => None,
                Edition::Second => Some(format!("{}:{BALANCER}", address(host))),
            };
            let store = self.store(&machine);
            let role = balance(store, machine, directory, reached_at, stop.clone());
            (program, self.spawn(host, program, role))
        };
        self.trace
            .note(format!("10.0.0.{host} runs program {program}"));
        let running = Running {
            program,
            stop,
            task,
        };
        self.running().insert(host, running);
    }

    fn agent(&self, host: HostId) -> agent::Config {
        let serves = self.edition() == Edition::Second;
        agent::Config {
            cluster: "default".parse().expect("a name"),
            node: node(host).parse().expect("a name"),
            address: address(host).to_string(),
            agent_address: serves.then(|| format!("{}:{AGENT}", address(host))),
            labels: BTreeMap::new(),
            capacity: Default::default(),
            state_directory: "/var/lib/quaestor".into(),
            runtime_directory: "/run/quaestor".into(),
            ends_all: false,
            allowed: Default::default(),
            manifests: None,
            artifact_ca: None,
            quaestor: "/usr/bin/quaestor".into(),
            endpoints: Vec::new(),
        }
    }
}

/// Balancers that vouch for all clients unasked.
struct Credulous;

impl Witnesses for Credulous {
    fn ask(&self, _: &Name, _: &str, _: &Question) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An agent, and what it serves.
async fn look_after(
    config: agent::Config,
    store: Store,
    host: Host,
    (processes, witnesses): (Arc<dyn Processes>, Arc<dyn Witnesses>),
    stop: CancellationToken,
) -> Result<(), String> {
    let (reservations, counter) = agent::reservations::counter();
    let others = agent::Others {
        counter,
        own: Default::default(),
        witnesses: Some(witnesses),
    };
    let listening = host.network.listen(([0, 0, 0, 0], AGENT).into()).await;
    let listener = listening.map_err(words)?;
    let logs = Logs::new(&config.state_directory, host.clone());
    let node = config.node.clone();
    let serves = rpc::agent::serve(
        listener,
        node,
        logs,
        reservations,
        host.clone(),
        stop.clone(),
    );
    let runs = agent::run(config, store, host, processes, others, stop).map_err(words);
    // Where one of them ends with an error, the program does.
    tokio::try_join!(runs, serves.map_err(words)).map(drop)
}

/// A balancer: the view, and the surface on it. With `reached_at` it says that it is there.
async fn balance(
    store: Store,
    host: Host,
    directory: Arc<Directory>,
    reached_at: Option<String>,
    stop: CancellationToken,
) -> Result<(), String> {
    let config = balancer::Config {
        cluster: "default".parse().expect("a name"),
        view_cache: None,
        import: None,
        announced: None,
    };
    let listening = host.network.listen(([0, 0, 0, 0], BALANCER).into()).await;
    let listener = listening.map_err(words)?;
    let answers = Answers::new(Arc::clone(&directory), host.clone(), Limits::default());
    let Some(reached_at) = reached_at else {
        let follows = balancer::run(config, store, host.clone(), directory, stop.clone());
        let serves = rpc::serve(listener, answers, None, host, stop);
        let (follows, serves) = (follows.map_err(words), serves.map_err(words));
        return tokio::try_join!(follows, serves).map(drop);
    };
    let connections = Arc::new(Connections::new(Arc::clone(&host.network)));
    let (queues, inbox) = Reservations::new(host.clone(), connections.clone(), connections);
    let config = balancer::Config {
        announced: Some(queues.announced()),
        ..config
    };
    let follows = balancer::run(
        config.clone(),
        store.clone(),
        host.clone(),
        directory,
        stop.clone(),
    );
    let keeps = balancer::reservations::run(
        config,
        Some(reached_at),
        store,
        queues.clone(),
        inbox,
        stop.clone(),
    );
    let serves = rpc::serve(listener, answers, Some(queues), host, stop);
    let (follows, keeps) = (follows.map_err(words), keeps.map_err(words));
    tokio::try_join!(follows, keeps, serves.map_err(words)).map(drop)
}
