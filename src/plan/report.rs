//! What an instance is reported to be doing, in words for programs and for people.
//!
//! The words change only when what they say does: numbers that grow, such as the time since a start,
//! are left to whoever shows them.

use super::{
    agent::{Goal, HowEnded, Life, StopCause},
    health::Verdict,
};
use crate::model::{Exit, Phase};

/// So many ends in a row are a crash loop.
const CRASH_LOOP: u32 = 3;

/// Phase, readiness and the reason for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the instance is doing.
    pub phase: Phase,
    /// Whether clients may be sent to it.
    pub ready: bool,
    /// Why, one word for programs; empty when there is nothing to say.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Report {
    fn new(phase: Phase, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            phase,
            ready: false,
            reason,
            message: message.into(),
        }
    }
}

/// What to report of an instance.
pub fn report(goal: &Goal<'_>, life: &Life) -> Report {
    match life {
        Life::Fresh => Report::new(
            Phase::Pending,
            "Queued",
            "waits for other starts on this node",
        ),
        Life::Alive { checks, .. } | Life::External { checks, .. } => {
            let up = if checks.succeeded() {
                Phase::Running
            } else {
                Phase::Starting
            };
            let mut report = match checks.verdict(&goal.assignment.health) {
                Verdict::Healthy => Report {
                    ready: true,
                    ..Report::new(Phase::Running, "", "")
                },
                Verdict::Starting(None) => Report::new(up, "", ""),
                Verdict::Starting(Some(why)) => Report::new(up, "NotHealthyYet", why),
                Verdict::Unhealthy(why) => Report::new(up, "Unhealthy", why),
                Verdict::Failed(failure) => Report::new(up, "Unhealthy", failure.why),
            };
            if goal.orphaned {
                report.reason = "Orphaned";
                report.message =
                    "its assignment vanished without saying absent: it is left running".to_owned();
            }
            report
        }
        Life::Stopping { cause, killed, .. } => {
            let how = if *killed { "killed" } else { "asked to stop" };
            Report::new(Phase::Stopping, word(cause), format!("{how}: {cause}"))
        }
        Life::Ended { how, .. } => {
            let phase = match how {
                HowEnded::NotStarted(_) => Phase::StartFailed,
                HowEnded::Exited { .. } | HowEnded::Stopped(_) => Phase::BackOff,
            };
            let (reason, message) = ending(how);
            Report::new(phase, reason, message)
        }
        Life::Completed { how, .. } => {
            let (_, message) = ending(how);
            Report::new(Phase::Completed, "Completed", message)
        }
    }
}

fn ending(how: &HowEnded) -> (&'static str, String) {
    match how {
        HowEnded::NotStarted(why) => (why.reason, why.message.clone()),
        HowEnded::Stopped(cause) => (word(cause), format!("stopped: {cause}")),
        HowEnded::Exited { exit, streak } if *streak >= CRASH_LOOP => (
            "CrashLoop",
            format!("{}, {streak} times in a row", describe(exit)),
        ),
        HowEnded::Exited { exit, .. } => ("Exited", describe(exit)),
    }
}

/// How a process ended, for people.
pub fn describe(exit: &Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended, nobody knows how".to_owned(),
    }
}

/// The names of signals that commonly end a process; their numbers are the same on every Linux.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

fn word(cause: &StopCause) -> &'static str {
    match cause {
        StopCause::Absent { .. } => "Absent",
        StopCause::Replaced { .. } => "Replaced",
        StopCause::Unhealthy(_) => "Unhealthy",
        StopCause::AgentEnds => "AgentEnds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn an_end_is_told_in_words() {
        let exit = |code, signal| Exit {
            code,
            signal,
            at: Timestamp::from_millis(0),
        };
        for (exit, words) in [
            (exit(Some(3), None), "exited with code 3"),
            (exit(None, Some(9)), "ended by signal 9 (SIGKILL)"),
            (exit(None, Some(34)), "ended by signal 34"),
            (exit(None, None), "ended, nobody knows how"),
        ] {
            assert_eq!(describe(&exit), words);
        }
    }
}
