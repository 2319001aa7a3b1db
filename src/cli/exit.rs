//! Exit codes: what a script can tell apart without reading what is said.

use std::{error::Error, fmt, process::ExitCode};

use super::output::say;
use crate::{
    operator,
    store::{self, Error::Unavailable},
};

/// Something failed; standard error says what, where, why, and what to do.
const FAILED: u8 = 1;
/// What was waited for did not come in time.
const TIMED_OUT: u8 = 3;
/// The store cannot be reached.
const UNREACHABLE: u8 = 4;
/// Somebody else changed the same.
const CONFLICT: u8 = 5;
/// `doctor` found nothing broken, but something to look at.
pub(super) const WARNINGS: u8 = 6;

/// What `quaestor exit-codes` prints.
const TABLE: &str = "\
0  done; of `why` and `get`: there is an answer
1  something failed: standard error says what, where, why, and what to do
2  the command line is wrong
3  what was waited for did not come in time (apply, delete, wait, rollout status, drain)
4  the store cannot be reached
5  somebody else changed the same; look at it and run the command again
6  `doctor` found nothing broken, but something to look at

`diff` is like diff(1): 0 no difference, 1 differences, 2 trouble.
`acquire` and `demo-worker` end with the code of what they run.";

/// Prints them.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    say(TABLE)?;
    Ok(ExitCode::SUCCESS)
}

/// A failure with a code of its own.
#[derive(Debug)]
struct Failed {
    code: u8,
    text: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failed {}

fn failed(code: u8, text: String) -> anyhow::Error {
    anyhow::Error::new(Failed { code, text })
}

/// What was waited for did not come in time.
pub(super) fn timed_out(text: String) -> anyhow::Error {
    failed(TIMED_OUT, text)
}

/// What became of a change, by all that went wrong with it.
pub(super) fn of_changes(errors: &[operator::Error], text: &anyhow::Error) -> anyhow::Error {
    let code = match errors {
        [] => FAILED,
        errors if errors.iter().any(is_unreachable) => UNREACHABLE,
        errors if errors.iter().all(is_conflict) => CONFLICT,
        _ => FAILED,
    };
    failed(code, text.to_string())
}

/// The code of a failure.
pub(super) fn code(error: &anyhow::Error) -> ExitCode {
    let own = error.downcast_ref::<Failed>().map(|failed| failed.code);
    let conflict = || {
        error
            .downcast_ref()
            .is_some_and(is_conflict)
            .then_some(CONFLICT)
    };
    ExitCode::from(own.or_else(conflict).unwrap_or(FAILED))
}

/// The same failure, with what to do where the store was not reached. `named`: whether somebody said where it is.
pub(super) fn with_remedy(error: anyhow::Error, named: bool) -> anyhow::Error {
    let own = error.downcast_ref::<Failed>();
    let is_unreachable = own.is_some_and(|failed| failed.code == UNREACHABLE)
        || error.downcast_ref().is_some_and(is_unreachable)
        || matches!(error.downcast_ref(), Some(Unavailable { .. }));
    if !is_unreachable {
        return error;
    }
    let text = format!("{error:#}");
    let remedy = match (text.contains("certificate"), named) {
        (true, _) => {
            "`quaestor config check` looks at the certificates of this host; docs/security.md says which there are"
        }
        (false, true) => {
            "look whether etcd runs there and can be reached from here; --etcd names another one"
        }
        (false, false) => {
            "if there is no cluster yet: `quaestor dev -f FILE` runs a whole one on this machine, and\n       \
             `quaestor init NAME -- COMMAND...` prints a first FILE. If there is one: say where its etcd is, with\n       \
             --etcd URLS or QUAESTOR_ETCD"
        }
    };
    failed(UNREACHABLE, format!("{text}\n       {remedy}"))
}

fn is_unreachable(error: &operator::Error) -> bool {
    matches!(
        error,
        operator::Error::Store(store::Error::Unavailable { .. })
    )
}

fn is_conflict(error: &operator::Error) -> bool {
    use operator::Error as E;
    matches!(
        error,
        E::Conflict(_) | E::Conflicts(..) | E::Unmergeable(..) | E::NodeConflict(_)
    )
}
