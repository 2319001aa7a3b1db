//! What an instance is reported to be doing, in words for programs and for people.
//!
//! The words change only when what they say does: numbers that grow, such as the time since a start,
//! are left to whoever shows them.

use super::{
    agent::{Goal, HowEnded, Life, StopCause},
    health::Verdict,
};
use crate::model::{Exit, ExitCause, Phase};

/// So many ends in a row, none after a run of `restart.resetAfter`, are a crash loop: the first is an
/// accident, and the second may be its echo.
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

    /// Adds what is worth knowing beside; it is the reason where there is no other.
    pub fn note(&mut self, reason: &'static str, message: &str) {
        if self.reason.is_empty() {
            (self.reason, self.message) = (reason, message.to_owned());
        } else {
            self.message = format!("{}; {message}", self.message);
        }
    }

    /// Adds why its artifact is not there. What lives goes on without it.
    pub fn lack(&mut self, reason: &'static str, message: String, lives: bool) {
        if lives {
            return self.note(reason, &message);
        }
        (self.reason, self.message) = (reason, message);
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
        Life::Preparing { .. } => {
            Report::new(Phase::Starting, "PreStart", "its preStart command runs")
        }
        Life::Alive { checks, .. }
        | Life::External { checks, .. }
        | Life::Adopted { checks, .. } => {
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
                Verdict::Busy(why) => Report::new(
                    up,
                    "Busy",
                    format!("its load reports show that it lives, but {why}"),
                ),
                Verdict::Failed(failure) => Report::new(up, "Unhealthy", failure.why),
            };
            if goal.orphaned && report.reason.is_empty() {
                report.reason = "Orphaned";
                report.message =
                    "its assignment vanished without saying absent: it is left running".to_owned();
            }
            if let Life::Adopted { holder, .. } = life {
                let adopted = format!("{holder}, which is not ours and is used as it is");
                report.note("Adopted", &adopted);
            }
            report
        }
        Life::Draining { drain, .. } => {
            let message = format!("finishes its work: {}", drain.cause);
            Report::new(Phase::Draining, word(&drain.cause), message)
        }
        Life::Stopping {
            cause,
            killed,
            asked_at,
            ..
        } => {
            let how = match (killed, asked_at) {
                (true, _) => "killed",
                (false, Some(_)) => "its preStop command runs before it is asked to stop",
                (false, None) => "asked to stop",
            };
            Report::new(Phase::Stopping, word(cause), format!("{how}: {cause}"))
        }
        Life::Ended { how, streak, .. } => {
            let (reason, message) = ending(how);
            match how {
                HowEnded::NotStarted(_) => Report::new(Phase::StartFailed, reason, message),
                HowEnded::Exited(_) | HowEnded::Stopped(StopCause::Unhealthy(_))
                    if *streak >= CRASH_LOOP =>
                {
                    let message = format!("{message}, {streak} times in a row");
                    Report::new(Phase::CrashLoop, "CrashLoop", message)
                }
                HowEnded::Exited(_) | HowEnded::Stopped(_) => {
                    Report::new(Phase::BackOff, reason, message)
                }
            }
        }
        Life::Completed { how, .. } => {
            let (_, message) = ending(how);
            Report::new(Phase::Completed, "Completed", message)
        }
        Life::Failed { how, attempts, .. } => {
            let (_, message) = ending(how);
            let message = format!(
                "{message}; given up after {attempts} starts in a row: apply a new revision, or \
                 ask for a restart"
            );
            Report::new(Phase::Failed, "TooManyAttempts", message)
        }
    }
}

fn ending(how: &HowEnded) -> (&'static str, String) {
    match how {
        HowEnded::NotStarted(why) => (why.reason, why.message.clone()),
        HowEnded::Stopped(cause) => (word(cause), format!("stopped: {cause}")),
        HowEnded::Exited(exit) => ("Exited", describe(exit)),
    }
}

/// How a process ended, for people.
pub fn describe(exit: &Exit) -> String {
    let how = match (exit.code, exit.signal) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended with its quaestor-shim, nobody knows how".to_owned(),
    };
    match exit.cause {
        Some(ExitCause::OutOfMemory) => format!("{how}: {}", out_of_memory(exit)),
        Some(ExitCause::Partition) => format!("{how}: {}", StopCause::Partition),
        Some(ExitCause::Unknown) | None => how,
    }
}

/// What became of a process that ran out of memory, for people.
pub fn out_of_memory(exit: &Exit) -> String {
    let limit = exit.memory_limit.map(|limit| format!(" (limit {limit})"));
    format!("out of memory{}", limit.unwrap_or_default())
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
        StopCause::Recycled { .. } => "Recycled",
        StopCause::AgentEnds => "AgentEnds",
        StopCause::Partition => "Partition",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Assignment, Moment, Timestamp},
        plan::{agent::NotStarted, health::Failure},
    };

    const NOW: Moment = Moment::new(std::time::Duration::ZERO);

    fn exit(code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit {
            code,
            signal,
            at: Timestamp::from_millis(0),
            cause: None,
            memory_limit: None,
        }
    }

    fn assignment() -> Assignment {
        let json = serde_json::json!({
            "instance": "worker-0",
            "desired": "present",
            "generation": 1,
            "revision": "a",
            "run": {"process": {"command": ["x"]}},
            "health": {"tcp": {}, "failureThreshold": 2, "interval": "1s"},
        });
        serde_json::from_value(json).unwrap()
    }

    /// Phase, readiness and reason of a life.
    fn short(life: &Life, orphaned: bool) -> (Phase, bool, &'static str) {
        let goal = Goal {
            assignment: &assignment(),
            stored_at: 1,
            orphaned,
            agent_ends: false,
            reserved: false,
            cut_off: false,
            lacks_artifact: false,
        };
        let report = report(&goal, life);
        (report.phase, report.ready, report.reason)
    }

    fn checked(results: &[bool]) -> Life {
        let mut life = Life::started("a", NOW);
        for good in results {
            let failure = Failure {
                why: "no".to_owned(),
                silent: false,
            };
            let result = if *good { Ok(()) } else { Err(failure) };
            let checks = life.checks_mut().unwrap();
            checks.record(&assignment().health, NOW, result, NOW);
        }
        life
    }

    #[test]
    fn every_life_has_its_phase_and_only_a_healthy_one_is_ready() {
        let ended = |how, streak| Life::Ended {
            revision: "a".to_owned(),
            until: NOW,
            how,
            streak,
        };
        let exited = || HowEnded::Exited(exit(Some(1), None));
        let unhealthy = || {
            HowEnded::Stopped(StopCause::Unhealthy(Failure {
                why: String::new(),
                silent: true,
            }))
        };
        let not_started = HowEnded::NotStarted(NotStarted {
            reason: "PortInUse",
            message: String::new(),
        });
        let completed = Life::Completed {
            revision: "a".to_owned(),
            how: exited(),
        };
        let failed = Life::Failed {
            revision: "a".to_owned(),
            how: exited(),
            attempts: 9,
        };
        let stopping = Life::started("a", NOW).stopping(
            &assignment(),
            StopCause::Absent { stored_at: 1 },
            NOW,
        );
        let draining = checked(&[true]).draining(StopCause::Absent { stored_at: 1 }, NOW);
        for (life, phase, ready, reason) in [
            (Life::Fresh, Phase::Pending, false, "Queued"),
            (checked(&[]), Phase::Starting, false, ""),
            (checked(&[false]), Phase::Starting, false, ""),
            (
                checked(&[false; 6]),
                Phase::Starting,
                false,
                "NotHealthyYet",
            ),
            (checked(&[true]), Phase::Running, true, ""),
            (checked(&[true, false]), Phase::Running, false, "Unhealthy"),
            (draining, Phase::Draining, false, "Absent"),
            (stopping, Phase::Stopping, false, "Absent"),
            (ended(exited(), 1), Phase::BackOff, false, "Exited"),
            (ended(unhealthy(), 2), Phase::BackOff, false, "Unhealthy"),
            (ended(exited(), 3), Phase::CrashLoop, false, "CrashLoop"),
            (ended(unhealthy(), 3), Phase::CrashLoop, false, "CrashLoop"),
            (
                ended(not_started, 9),
                Phase::StartFailed,
                false,
                "PortInUse",
            ),
            (completed, Phase::Completed, false, "Completed"),
            (failed, Phase::Failed, false, "TooManyAttempts"),
        ] {
            assert_eq!(short(&life, false), (phase, ready, reason), "{life:?}");
        }
    }

    #[test]
    fn an_orphan_says_so_unless_something_is_wrong_with_it() {
        let orphaned = |life| short(&life, true);
        assert_eq!(
            orphaned(checked(&[true])),
            (Phase::Running, true, "Orphaned")
        );
        assert_eq!(
            orphaned(checked(&[true, false])),
            (Phase::Running, false, "Unhealthy")
        );
    }

    #[test]
    fn an_end_is_told_in_words() {
        for (exit, words) in [
            (exit(Some(3), None), "exited with code 3"),
            (exit(None, Some(9)), "ended by signal 9 (SIGKILL)"),
            (exit(None, Some(34)), "ended by signal 34"),
            (
                exit(None, None),
                "ended with its quaestor-shim, nobody knows how",
            ),
        ] {
            assert_eq!(describe(&exit), words);
        }
        let mut starved = exit(None, Some(9));
        starved.cause = Some(ExitCause::OutOfMemory);
        starved.memory_limit = "512MiB".parse().ok();
        assert_eq!(
            describe(&starved),
            "ended by signal 9 (SIGKILL): out of memory (limit 512MiB)"
        );
    }
}
