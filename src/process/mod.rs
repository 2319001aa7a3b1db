//! The process seam: starting, signalling and ending the programs that an agent looks after, and finding
//! those again that an agent before it started.
//!
//! - [`Processes`] and [`Process`]: what an agent needs; a simulation fakes them
//! - [`Foreground`]: a command on our own terminal
//! - [`identity`]: whom they run as
//! - [`manager`]: whoever started this program as a service
//! - [`errand`]: programs of the system that are run once
//! - [`environment`]: variables, whose names mean the same in any case on some systems
//! - `cgroup`: memory and processor time that Linux holds them to
//! - `windows`: job objects, which do that on Windows, and what else only that system has
//! - `shim`: real processes, each behind a `quaestor-shim` of its own
//! - `machine`: what this machine is, where systems differ in saying so
//!
//! The rule of this module: a signal goes only to a process that is provably ours: a child of its shim that
//! nobody has reaped yet or, where the shim was killed, one that carries the instance's uuid.

#[cfg(unix)]
mod cgroup;
pub mod environment;
pub mod errand;
mod foreground;
#[cfg(unix)]
mod holder;
pub mod identity;
mod machine;
mod manager;
pub mod shim;
mod termination;
pub mod usage;
#[cfg(windows)]
mod windows;

#[cfg(windows)]
use windows::holder;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::PathBuf,
    time::Duration,
};

use futures::future::BoxFuture;

use crate::model::{
    ExitCause, Moment, Resources, Timestamp,
    notice::Notice,
    run_as::{Limits, Umask},
    service::{LogSpec, NotifySpec, StopSignal, StopSpec},
};

pub use shim::{ShimMissing, ShimProcesses, runtime_home};

pub use foreground::Foreground;
pub use identity::{Identity, Logon};
pub use machine::{
    boot_id, configuration_home, host_name, keep_private, memory, state_home, uptime,
};
pub use manager::{ended, keep_log, manager};
pub use termination::{Terminations, is_privileged};
pub use usage::Used;

/// The unit of systemd in whose cgroup instances with limits live, beside the agent's own.
pub const INSTANCES_UNIT: &str = "quaestor-instances.service";

/// Starts processes and finds them again. At one [`Place`] lives at most one, whoever asks how often.
pub trait Processes: Send + Sync {
    /// Starts `program` at `place`. Resolves once it is running, or says why it cannot. `incarnation` is
    /// higher than that of any start before at this place. What lives there is killed first.
    fn start<'a>(
        &'a self,
        place: &'a Place,
        incarnation: u64,
        program: &'a Program,
    ) -> BoxFuture<'a, Result<Started, StartError>>;

    /// What is at `place`, to go on from there.
    ///
    /// # Errors
    /// When nobody can tell: something may live.
    fn find<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, io::Result<Found>>;

    /// Clears `place`: kills what lives there, and removes what is kept about it.
    fn forget<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, io::Result<()>>;

    /// What the processes of these pids have used and use, each with all that descends from it; of those that
    /// can be found. Takes one look at the host for all.
    fn usage(&self, pids: &BTreeSet<u32>) -> BTreeMap<u32, Used>;

    /// Holds what lives at `place` to `resources`, which it was started with or has others of now. Says what of
    /// that is not enforced on this host, why, and what to do about it; none: all of it is.
    fn confine(&self, _place: &Place, _resources: &Resources) -> Option<String> {
        None
    }

    /// How many processors the host has.
    fn processors(&self) -> f64;

    /// Which program listens on a TCP port of this machine, for people; none where that cannot be told.
    fn holder(&self, _port: u16) -> Option<String> {
        None
    }
}

/// Where an instance's process is kept track of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A directory of its own.
    pub directory: PathBuf,
    /// The uuid of the instance, which its processes carry.
    pub uuid: String,
}

/// A living process.
pub struct Started {
    /// What can be done with it.
    pub process: Box<dyn Process>,
    /// Resolves when it has ended, and with it all that descends from it.
    pub ended: BoxFuture<'static, End>,
}

/// What is at a place.
pub enum Found {
    /// A process lives.
    Running {
        /// The number of its start.
        incarnation: u64,
        /// The process.
        started: Started,
    },
    /// Nothing lives.
    Idle {
        /// The number of the last start, and how its process ended; none if nothing was ever started.
        last: Option<(u64, End)>,
    },
}

/// A process. It lives on when this is dropped.
pub trait Process: Send + Sync {
    /// Its process id.
    fn pid(&self) -> u32;

    /// Sends `signal` to the process alone: how it passes this on to its children is its affair.
    /// [`StopSignal::SigKill`] kills it with all that descends from it. Does nothing once it has ended.
    ///
    /// # Errors
    /// As the system says.
    fn signal(&self, signal: StopSignal) -> io::Result<()>;

    /// Lets it be stopped, as its program says, this long from now, whatever becomes of this program by
    /// then; none: never. The last word counts.
    ///
    /// # Errors
    /// As the system says.
    fn stop_within(&self, time: Option<Duration>) -> io::Result<()>;

    /// Whether what lives is not the program itself yet, but what prepares its start.
    fn is_preparing(&self) -> bool;

    /// What it says of itself; none: its program does not ask it to.
    fn notice(&self) -> Option<Notice>;

    /// Resolves when what the others say may have changed since this was asked last.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// Runs a short program beside the process: as its user, with its environment, within its limits. When the
    /// future is dropped, or this program ends, that program is killed with all that it started.
    ///
    /// # Errors
    /// Why it could not be run.
    fn run(&self, errand: Errand) -> BoxFuture<'static, Result<Outcome, String>>;
}

/// A short program beside a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// What it is for.
    pub kind: ErrandKind,
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// It is killed after this long, with all that it started.
    pub timeout: Duration,
}

/// What an errand is for. Beside a process runs at most one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrandKind {
    /// Finding out whether the process is healthy. What it prints is told.
    Check,
    /// The process is about to be stopped. What it prints goes to the log.
    PreStop,
}

/// How an errand ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code, and the signal that ended it; none of both: its time was over, or the process ended.
    pub code: Option<i32>,
    /// See `code`.
    pub signal: Option<i32>,
    /// The last it printed, where that is told.
    pub text: String,
}

/// What prepares the start of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreStart {
    /// Another program and its arguments: unless it exits with 0, nothing is started.
    pub arguments: Vec<String>,
    /// It is killed after this long, with all that it started.
    pub timeout: Duration,
}

/// What is started, and with what.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The program and its arguments; a program without a slash is looked up in `PATH` of
    /// `environment`.
    pub arguments: Vec<String>,
    /// What comes first.
    pub pre_start: Option<PreStart>,
    /// What it is to say of itself; none: nobody listens.
    pub notify: Option<NotifySpec>,
    /// The whole environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Further variables, whose values nobody else is told.
    pub secrets: BTreeMap<String, Secret>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// Whom it runs as; none: as this program does.
    pub identity: Option<Identity>,
    /// The same on Windows, which knows whoever logs on; none: as this program does.
    pub logon: Option<Logon>,
    /// Which permissions the files that it makes shall not have.
    pub umask: Umask,
    /// What it may use up.
    pub limits: Limits,
    /// How much memory and processor time it may have, with all that descends from it.
    pub resources: Resources,
    /// How much it stands back for others; none: as this program does.
    pub nice: Option<i32>,
    /// How soon it is killed where memory is short; none: as this program is.
    pub oom_score_adjust: Option<i32>,
    /// The directory of the files that its output goes to.
    pub logs: PathBuf,
    /// How much output is kept.
    pub log_limits: LogSpec,
    /// How it is stopped when nobody else does it.
    pub stop: StopSpec,
    /// It is stopped this long from its start, unless another time is set by then; none: never.
    pub stop_within: Option<Duration>,
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(
    /// The text.
    pub String,
);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// How a process ended: by itself with a code, or by a signal. Neither: nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When; none if nobody knows.
    pub at: Option<Timestamp>,
    /// The same on the clock of decisions; none if nobody knows.
    pub moment: Option<Moment>,
    /// What ended it, where it was not the process itself and no signal of the agent.
    pub cause: Option<ExitCause>,
    /// What ended.
    pub of: Ended,
}

/// What it was that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// The program.
    #[default]
    Program,
    /// What prepares its start, which failed.
    PreStart,
    /// What prepares its start, which took too long.
    PreStartTimeout,
    /// What prepares its start, which succeeded; but then the program could not be started, for a reason that
    /// its log tells.
    NotStarted,
}

impl End {
    /// Nobody knows how.
    pub const UNKNOWN: Self = Self {
        code: None,
        signal: None,
        at: None,
        moment: None,
        cause: None,
        of: Ended::Program,
    };
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program is missing, is not executable, or the system is out of something.
    #[error("{0}")]
    Refused(String),
    /// What is to be kept about it cannot be written.
    #[error("cannot use `{}`: {cause}", path.display())]
    Place {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The shim does not do what it should.
    #[error("the shim of `{}` cannot be used: {cause}", directory.display())]
    Shim {
        /// Its directory.
        directory: PathBuf,
        /// What is wrong.
        cause: String,
    },
}
