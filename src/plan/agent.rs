//! What an agent does next with an instance, and why.
//!
//! [`decide`] compares what is wanted ([`Goal`]) with what is ([`Life`]) and names one action or what
//! it waits for. Carrying the action out yields the next [`Life`]; deciding again then yields
//! something else, or a wait.
//!
//! How a [`Life`] goes on is in `life`.
//!
//! ```text
//! Fresh --start--> (Preparing -->) Alive --drain--> Draining --signal--> Stopping --kill--> Stopping
//!   |                |                 |                    |
//!   |                +------ end ------+--------------------+--> Ended --start--> Alive
//!   |                                    +--> Completed
//!   +--attach--> External                +--> Failed
//!   +--start, where another program holds the port and is to be adopted--> Adopted --start--> Alive
//! ```

mod cause;
mod life;
mod time;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    drain::{self, Drain},
    health::{Checks, Verdict},
    recycle,
};
use crate::model::{Assignment, Desired, Exit, Moment, Run, service::OnPartition};

/// However long its own grace is, a process gets no longer than this when its agent ends: together with
/// [`drain::SHUTDOWN_DRAIN`] less than the 90 s after which systemd kills the agent.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(50);

pub use cause::{StopCause, UNHEALTHY};
pub use time::{grace, pre_stop};

/// What is wanted of an instance.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    /// The last assignment that could be read.
    pub assignment: &'a Assignment,
    /// The revision of the store at which it was written; 0: not there, but by the agent's own manifests.
    pub stored_at: i64,
    /// Its key vanished without having said `absent`: what runs is left running.
    pub orphaned: bool,
    /// The agent ends, and its processes with it.
    pub agent_ends: bool,
    /// Clients hold tickets for it: a drain waits for them.
    pub reserved: bool,
    /// The agent has not been able to confirm its session for as long as that lasts.
    pub cut_off: bool,
    /// What it is to be started from does not lie on the node yet: what runs goes on, and nothing is started.
    pub lacks_artifact: bool,
}

/// What an instance is, as far as decisions are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// Nothing has been started yet.
    Fresh,
    /// Somebody else's endpoint, which is being checked.
    External {
        /// The revision it was attached for.
        revision: String,
        /// What its checks have shown.
        checks: Checks,
    },
    /// No process of ours lives: another program holds the port, and is used as it is.
    Adopted {
        /// The revision that ours would run.
        revision: String,
        /// Who holds it, for people.
        holder: String,
        /// What its checks have shown.
        checks: Checks,
    },
    /// What prepares the start of a process lives; the process itself follows.
    Preparing {
        /// What will run.
        revision: String,
        /// When that was started.
        since: Moment,
    },
    /// A process lives.
    Alive {
        /// What it runs.
        revision: String,
        /// When it was started.
        since: Moment,
        /// What its checks have shown.
        checks: Checks,
    },
    /// A process lives that is to stop: it finishes what it works on.
    Draining {
        /// What it runs.
        revision: String,
        /// When it was started.
        since: Moment,
        /// What its checks have shown.
        checks: Checks,
        /// How far it is.
        drain: Drain,
    },
    /// A process lives and was asked to stop.
    Stopping {
        /// What it runs.
        revision: String,
        /// When it was started.
        since: Moment,
        /// Why it was asked.
        cause: StopCause,
        /// While its `preStop` command runs: it is asked when that has ended, and at this moment at the latest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked_at: Option<Moment>,
        /// When it is killed.
        kill_at: Moment,
        /// Whether it was.
        killed: bool,
    },
    /// No process lives; one is started at `until`.
    Ended {
        /// What was run last.
        revision: String,
        /// When the next start is due.
        until: Moment,
        /// How it came to this.
        how: HowEnded,
        /// Ends in a row since the last long run.
        streak: u32,
    },
    /// No process lives, and only a new revision starts one.
    Completed {
        /// What was run last.
        revision: String,
        /// How it came to this.
        how: HowEnded,
    },
    /// No process lives, and none is tried any more, unless for a new revision.
    Failed {
        /// What was run last.
        revision: String,
        /// How it came to this.
        how: HowEnded,
        /// Starts in a row that came to an end.
        attempts: u32,
    },
}

/// Why no process lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HowEnded {
    /// It ended by itself.
    Exited(Exit),
    /// It ended after it had been asked to.
    Stopped(StopCause),
    /// It could not be started.
    NotStarted(NotStarted),
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStarted {
    /// One word for programs.
    #[serde(deserialize_with = "reason")]
    pub reason: Word,
    /// The same for people.
    pub message: String,
}

/// The reason of a start that waits for a port which another program holds.
pub const PORT_IN_USE: &str = "PortInUse";

impl NotStarted {
    /// Whether it lies with something in the way, not with the program: it is waited out, however
    /// often that takes.
    pub fn is_obstruction(&self) -> bool {
        self.reason == PORT_IN_USE
    }
}

/// One of a known few; by this name it does not look borrowed to serde.
type Word = &'static str;

/// The words that [`NotStarted`] is told by.
const REASONS: [&str; 9] = [
    PRE_START_FAILED,
    START_FAILED,
    NOT_ALLOWED,
    SECRET_UNREADABLE,
    "PortInUse",
    "NoFreePort",
    "BadTemplate",
    "StateDirectory",
    "Forgotten",
];

/// The program itself could not be started.
pub const START_FAILED: &str = "StartFailed";

/// The owner of the host does not let the agent start it.
pub const NOT_ALLOWED: &str = "NotAllowed";

/// A file of the host that it is to be given cannot be read.
pub const SECRET_UNREADABLE: &str = "SecretUnreadable";

/// The command before the start failed.
pub const PRE_START_FAILED: &str = "PreStartFailed";

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    let word = String::deserialize(deserializer)?;
    let known = REASONS.into_iter().find(|known| *known == word);
    Ok(known.unwrap_or(START_FAILED))
}

/// What to do next, or what to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do this, then decide again.
    Do(Action),
    /// Nothing can be done now.
    Wait(Wait),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process of the assignment's revision.
    Start,
    /// Begin to check the external endpoint.
    Attach,
    /// Send clients elsewhere and let the process finish its work.
    Drain(StopCause),
    /// It is wanted again after all, and was not asked to stop yet.
    Resume,
    /// Ask the process to stop; if it has a `preStop` command, once that has ended.
    Stop(StopCause),
    /// Ask the process to stop: its `preStop` command has ended, or the time for it.
    Signal(StopCause),
    /// Kill the process: its grace is over.
    Kill(StopCause),
    /// Nothing lives any more and nothing is wanted: forget the instance.
    Forget,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Everything is as it should be.
    Content,
    /// What prepares the start.
    Prepared,
    /// The end of its `preStop` command, until this moment.
    PreStop(Moment),
    /// The store's word that clients are not sent to the process any more, until this moment, if there
    /// is one.
    Told(Option<Moment>),
    /// The balancers: they know at this moment.
    Learnt(Moment),
    /// The end of the work at hand, until this moment.
    Idle(Moment),
    /// The end of a process that was asked to stop, which is killed at this moment.
    Grace(Moment),
    /// The end of a process that was killed.
    Death,
    /// The end of a pause before a start.
    BackOff(Moment),
    /// Other starts: too many are under way.
    Room,
    /// The store's word that the session holds: `onPartition: stop` lets nothing run without it.
    Session,
    /// What it is to be started from.
    Artifact,
    /// A new revision: the process has done what it was for, or failed too often.
    Revision,
}

impl Wait {
    /// When to decide again, if nothing happens before.
    pub fn wake(self) -> Option<Moment> {
        match self {
            Self::Told(at) => at,
            Self::PreStop(at)
            | Self::Learnt(at)
            | Self::Idle(at)
            | Self::Grace(at)
            | Self::BackOff(at) => Some(at),
            Self::Content
            | Self::Prepared
            | Self::Death
            | Self::Room
            | Self::Session
            | Self::Artifact
            | Self::Revision => None,
        }
    }
}

/// The next step for an instance at `now`. `room`: whether one more start may be under way.
pub fn decide(goal: &Goal<'_>, life: &Life, room: bool, now: Moment) -> Decision {
    let wanted = goal.assignment;
    let start = || match wanted.run {
        Run::External { .. } => Decision::Do(Action::Attach),
        Run::Process(_) if goal.cut_off && wanted.on_partition == OnPartition::Stop => {
            Decision::Wait(Wait::Session)
        }
        Run::Process(_) if goal.lacks_artifact => Decision::Wait(Wait::Artifact),
        Run::Process(_) if room => Decision::Do(Action::Start),
        Run::Process(_) => Decision::Wait(Wait::Room),
    };
    match life {
        Life::Stopping {
            cause,
            asked_at: Some(at),
            ..
        } => match now >= *at {
            true => Decision::Do(Action::Signal(cause.clone())),
            false => Decision::Wait(Wait::PreStop(*at)),
        },
        Life::Preparing { revision, .. } => match outdated(goal, revision) {
            Some(cause) => Decision::Do(Action::Stop(cause)),
            None => Decision::Wait(Wait::Prepared),
        },
        Life::Stopping {
            cause,
            kill_at,
            killed,
            ..
        } => match (killed, now >= *kill_at) {
            (true, _) => Decision::Wait(Wait::Death),
            (false, true) => Decision::Do(Action::Kill(cause.clone())),
            (false, false) => Decision::Wait(Wait::Grace(*kill_at)),
        },
        Life::Alive {
            revision, checks, ..
        } => {
            let cause = outdated(goal, revision).or_else(|| failed(wanted, checks));
            match cause {
                Some(cause) if drain::is_due(wanted, checks, &cause) => {
                    Decision::Do(Action::Drain(cause))
                }
                Some(cause) => Decision::Do(Action::Stop(cause)),
                None => Decision::Wait(Wait::Content),
            }
        }
        Life::Draining {
            revision,
            checks,
            drain,
            ..
        } => match outdated(goal, revision).or_else(|| recycled(goal, drain)) {
            None => Decision::Do(Action::Resume),
            Some(cause) if overrules(&cause, &drain.cause) => Decision::Do(Action::Drain(cause)),
            // What hangs will not finish anything.
            Some(cause) => match failed(wanted, checks) {
                Some(cause) => Decision::Do(Action::Stop(cause)),
                None => match drain.wait(wanted, checks, goal.reserved, now) {
                    Some(wait) => Decision::Wait(wait),
                    None if recycle::spares(
                        wanted,
                        &cause,
                        !goal.reserved && drain.is_idle(wanted, checks, now),
                    ) =>
                    {
                        Decision::Do(Action::Resume)
                    }
                    None => Decision::Do(Action::Stop(cause)),
                },
            },
        },
        _ if leaving(goal).is_some() => Decision::Do(Action::Forget),
        // It runs elsewhere now, or may.
        _ if wanted.replaced || (goal.orphaned && wanted.singleton) => Decision::Do(Action::Forget),
        // Nothing of it ever ran here, so there is nothing to leave running.
        Life::Fresh if goal.orphaned => Decision::Do(Action::Forget),
        Life::Fresh => start(),
        Life::External { revision, .. } if *revision == wanted.revision => {
            Decision::Wait(Wait::Content)
        }
        Life::External { .. } => start(),
        // It may have left: a start finds out, and adopts it once more if it has not.
        Life::Adopted {
            revision, checks, ..
        } if wanted.adopt && *revision == wanted.revision => match failed(wanted, checks) {
            Some(_) => start(),
            None => Decision::Wait(Wait::Content),
        },
        Life::Adopted { .. } => start(),
        Life::Ended {
            revision, until, ..
        } if *revision == wanted.revision && now < *until => Decision::Wait(Wait::BackOff(*until)),
        Life::Ended { .. } => start(),
        Life::Completed { revision, .. } | Life::Failed { revision, .. }
            if *revision == wanted.revision =>
        {
            Decision::Wait(Wait::Revision)
        }
        Life::Completed { .. } | Life::Failed { .. } => start(),
    }
}

/// Why nothing is to run, if nothing is.
fn leaving(goal: &Goal<'_>) -> Option<StopCause> {
    if goal.agent_ends {
        Some(StopCause::AgentEnds)
    } else if goal.assignment.desired == Desired::Absent {
        Some(StopCause::Absent {
            stored_at: goal.stored_at,
        })
    } else {
        None
    }
}

/// Why a process of `revision` is not what is to run, if it is not.
fn outdated(goal: &Goal<'_>, revision: &str) -> Option<StopCause> {
    let wanted = &goal.assignment.revision;
    leaving(goal).or_else(|| {
        (revision != wanted && !goal.lacks_artifact).then(|| StopCause::Replaced {
            by: wanted.clone(),
            stored_at: goal.stored_at,
        })
    })
}

/// That a process which drains is to be recycled, if it is: not where the store went away before it was told.
fn recycled(goal: &Goal<'_>, drain: &Drain) -> Option<StopCause> {
    let recycled = matches!(drain.cause, StopCause::Recycled { .. });
    let waits = drain.is_told() || !goal.cut_off;
    (recycled && waits).then(|| drain.cause.clone())
}

/// Whether what drains for one cause (`before`) has to hurry for another: the agent ends, or what was only old is to
/// stop on the store's word.
fn overrules(cause: &StopCause, before: &StopCause) -> bool {
    let is_old = |cause: &StopCause| matches!(cause, StopCause::Recycled { .. });
    let ends = *cause == StopCause::AgentEnds && *before != StopCause::AgentEnds;
    ends || (is_old(before) && !is_old(cause))
}

/// That too many checks failed, if they did.
fn failed(wanted: &Assignment, checks: &Checks) -> Option<StopCause> {
    match checks.verdict(&wanted.health) {
        Verdict::Failed(failure) => Some(StopCause::Unhealthy(failure)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
