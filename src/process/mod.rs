//! The process seam: starting, signalling and ending the programs that an agent looks after.
//!
//! - [`Processes`] and [`Process`]: what an agent needs; a simulation fakes them
//! - `unix`: real processes, each the leader of a session of its own
//! - `shim`: what an agent and `quaestor-shim` say to each other
//!
//! The rule of this module: a signal goes only to a process that is provably ours, which here means
//! a child that nobody has reaped yet.

#[cfg(unix)]
pub mod shim;
#[cfg(unix)]
mod termination;
#[cfg(unix)]
mod unix;

use std::{collections::BTreeMap, io, path::PathBuf};

use futures::future::BoxFuture;

use crate::model::service::StopSignal;

#[cfg(unix)]
pub use unix::LocalProcesses;

pub use termination::{Terminations, is_privileged};

/// Starts processes.
pub trait Processes: Send + Sync {
    /// Starts `program` as the leader of a process group of its own. Returns once the program is
    /// running, or says why it cannot.
    ///
    /// # Errors
    /// What is missing or not permitted, with its path.
    fn start(&self, program: &Program) -> Result<Box<dyn Process>, StartError>;
}

/// A started process. Dropping it kills it with its group.
pub trait Process: Send + Sync {
    /// Its process id.
    fn pid(&self) -> u32;

    /// Resolves at once when the process has ended; what it left behind in its group is killed
    /// first. May be asked any number of times.
    fn ended(&self) -> BoxFuture<'static, End>;

    /// Sends `signal` to the process alone: how it passes this on to its children is its affair.
    /// Does nothing once it has ended.
    ///
    /// # Errors
    /// As the system says.
    fn signal(&self, signal: StopSignal) -> io::Result<()>;

    /// Kills the process and its group. Does nothing once it has ended.
    ///
    /// # Errors
    /// As the system says.
    fn kill(&self) -> io::Result<()>;
}

/// What is started, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments; a program without a slash is looked up in `PATH` of
    /// `environment`.
    pub arguments: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// The file that its standard output is appended to.
    pub stdout: PathBuf,
    /// The file that its standard error is appended to.
    pub stderr: PathBuf,
}

/// How a process ended: by itself with a code, or by a signal. Neither: nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no program in the command.
    #[error("the command is empty")]
    NoProgram,
    /// The program is missing, is not executable, or the system is out of something.
    #[error("cannot start `{program}`: {cause}")]
    Program {
        /// The program, as it was asked for.
        program: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Where it is to start is not a directory that can be entered.
    #[error("cannot start in `{}`: {cause}", path.display())]
    WorkingDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file for its output cannot be opened.
    #[error("cannot write its output to `{}`: {cause}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// What every process gets of the agent's own environment: where programs are, whose home, and how
/// texts and times are written. The rest, which may hold the agent's secrets, stays with the agent.
pub fn inherited_environment() -> BTreeMap<String, String> {
    let inherited = ["PATH", "HOME", "LANG", "TZ"].into_iter();
    let mut environment: BTreeMap<_, _> = inherited
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    environment
        .entry("PATH".to_owned())
        .or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    environment
}
