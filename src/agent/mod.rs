//! The agent: runs on its node what `assign/<node>/` says, and reports what it sees.
//!
//! - `home`: the state directory, its lock, the node's identity
//! - `session`: the agent's presence in the store, and the fence of its writes
//! - `supervisor`: the loop that owns all instances; `memory`: what it finds again after a restart
//! - `instance`: one instance: its assignment, life, process and probes
//! - `program`, `ports`, `account`, `logon`: what exactly is started, and as whom, by numbers or by accounts; `allowed`: what may be
//! - [`logs`]: what instances printed
//! - [`reservations`]: who has an instance to himself
//! - `local`: the manifests that it runs without the store
//! - [`witnesses`]: whether the clients of what is stopped know
//! - `reporter`, `load`: what is written to `state/` and `load/`
//! - `wakes`: who is to be looked at next
//!
//! What to do is decided in [`crate::plan::agent`]; here it is done. Losing the store, the session
//! or a followed prefix stops nothing and starts nothing.

mod account;
mod allowed;
mod artifacts;
mod errands;
mod home;
mod instance;
mod load;
mod local;
mod logon;
pub mod logs;
mod memory;
mod ports;
mod program;
mod reporter;
pub mod reservations;
mod secrets;
mod session;
mod supervisor;
mod wakes;
pub mod witnesses;
mod words;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::allowed::Allowed;
use self::{
    home::Home,
    memory::{Memory, Recalled},
    reservations::Counter,
    session::Keeper,
    supervisor::Supervisor,
    witnesses::Witnesses,
};
use crate::{
    host::Host,
    model::{
        InstanceState, Name, Timestamp,
        service::{Capacity, Labels},
    },
    process::Processes,
    store::{self, Store},
};

/// How long the locks of an agent that was just killed may be held by what it was starting.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two attempts to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Who an agent is, and where it keeps its things.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster it belongs to.
    pub cluster: Name,
    /// The name of its node.
    pub node: Name,
    /// Host name or address at which the node's instances are reached: `{host}`.
    pub address: String,
    /// `host:port` at which the agent itself is asked; none if it serves nothing.
    pub agent_address: Option<String>,
    /// Labels by which services select the node.
    pub labels: Labels,
    /// What the node has to give to its instances.
    pub capacity: Capacity,
    /// Where it keeps its identity, and the output and working directories of its instances.
    pub state_directory: PathBuf,
    /// Where it keeps what matters within one boot: what it has to know to go on with the processes of
    /// the agent before it. No two agents share it.
    pub runtime_directory: PathBuf,
    /// Whether every process is stopped when the agent is told to end, whatever `onAgentStop` says.
    pub ends_all: bool,
    /// What may be started on this host, whatever the store says.
    pub allowed: Allowed,
    /// A directory of manifests that it runs on its node whatever the store says; none if there is none.
    pub manifests: Option<PathBuf>,
    /// A file of certificates that servers of artifacts are trusted by, besides those that the host trusts.
    pub artifact_ca: Option<PathBuf>,
    /// Path of the running program: `{quaestor}`.
    pub quaestor: PathBuf,
    /// The store's endpoints: a command that begins with `{quaestor}` finds this cluster by them.
    pub endpoints: Vec<String>,
}

/// Those whom an agent has to do with beside the store.
pub struct Others {
    /// Who asks it for tickets.
    pub counter: Counter,
    /// Whom it asks whether clients know what it stops; none: nobody.
    pub witnesses: Option<Arc<dyn Witnesses>>,
    /// Who is told how the instances of its own manifests are.
    pub own: watch::Sender<Vec<InstanceState>>,
}

impl From<Counter> for Others {
    fn from(counter: Counter) -> Self {
        Self {
            counter,
            witnesses: None,
            own: watch::Sender::default(),
        }
    }
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be used.
    #[error("the state directory `{}` cannot be used: {cause}; choose another with --state-dir", path.display())]
    StateDirectory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The system does not say which boot this is.
    #[error("cannot find out which boot of the machine this is: {0}")]
    Boot(io::Error),
    /// Another agent uses the state directory.
    #[error(
        "another agent already runs on the state directory `{}`: stop it, or choose another with --state-dir",
        .0.display()
    )]
    DirectoryInUse(PathBuf),
    /// Another agent has the node's name.
    #[error(
        "node `{node}` already has an agent, at {address} since {since} (node uuid {uuid}): choose \
         another node name, or stop that agent; if it is gone, its session ends within 20s"
    )]
    NodeTaken {
        /// The node.
        node: Name,
        /// Where the other one is.
        address: String,
        /// When its session began.
        since: Timestamp,
        /// Its identity.
        uuid: String,
    },
    /// The store will not do what an agent needs.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Runs an agent until `stop` is cancelled. It goes on with the processes of the agent before it; when it
/// ends it stops those that are to end with it, takes back what it reported of them, and leaves the others
/// to the next agent. While the store is away it goes on with what it knows, even where it has just
/// started: then that is what the agent before it was told last.
///
/// # Errors
/// At the start only: see [`Error`].
pub async fn run(
    config: Config,
    store: Store,
    host: Host,
    processes: Arc<dyn Processes>,
    others: impl Into<Others>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let others = others.into();
    let home = settle(&config, &host).await?;
    // Before anything is asked of the store: what lives has to be known, whatever the store says.
    let Recalled { memories, broken } = memory::recall(&home, &host, &*processes).await?;
    let unchanged = !memories.is_empty() && memories.iter().all(Memory::is_unchanged);
    let (mut keeper, handle) = Keeper::new(&config, &home, store.clone(), host.clone(), unchanged);
    let mut supervisor = Supervisor::new(config, home, store, host, processes, others, handle);
    supervisor.adopt(memories);
    supervisor.tell_broken(broken);
    let session = async {
        match keeper.begin().await {
            Ok(()) => match keeper.hold().await {},
            Err(refusal) => refusal,
        }
    };
    tokio::select! {
        biased;
        () = supervisor.run(&stop) => {}
        refusal = session => return Err(refusal),
    }
    if supervisor.leaves_nothing() {
        keeper.end().await;
    }
    // Otherwise the session is left to the next agent: if that comes soon, nobody notices.
    Ok(())
}

/// Opens the directories. Locks of an agent that was just killed are waited for: what it was starting may hold
/// them until it has become another program.
async fn settle(config: &Config, host: &Host) -> Result<Home, Error> {
    let given_up = host.clock.now() + LOCK_PATIENCE;
    loop {
        match Home::open(&config.state_directory, &config.runtime_directory, host) {
            Err(Error::DirectoryInUse(_)) if host.clock.now() < given_up => {
                host.clock.sleep(LOCK_PAUSE).await;
            }
            opened => return opened,
        }
    }
}
