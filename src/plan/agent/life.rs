//! How one life of an instance becomes the next.

use std::time::Duration;

use super::{HowEnded, Life, NotStarted, StopCause, grace, pre_stop};
use crate::{
    model::{Assignment, Exit, ExitCause, Moment, service::RestartSpec},
    plan::{
        drain::Drain,
        health::Checks,
        restart::{BackOff, Ending, Next},
    },
};

impl Life {
    /// A process of `revision` was started at `now`.
    pub fn started(revision: &str, now: Moment) -> Self {
        Self::Alive {
            revision: revision.to_owned(),
            since: now,
            checks: Checks::begin(now),
        }
    }

    /// What prepares the start of a process of `revision` was started at `now`.
    pub fn preparing(revision: &str, now: Moment) -> Self {
        Self::Preparing {
            revision: revision.to_owned(),
            since: now,
        }
    }

    /// The process itself was started at `now`, after what prepared that.
    #[must_use]
    pub fn prepared(self, now: Moment) -> Self {
        match self {
            Self::Preparing { revision, .. } => Self::started(&revision, now),
            other => other,
        }
    }

    /// An external endpoint was attached at `now`.
    pub fn attached(revision: &str, now: Moment) -> Self {
        Self::External {
            revision: revision.to_owned(),
            checks: Checks::begin(now),
        }
    }

    /// A program of somebody else was found at `now` where a process of `revision` was to listen.
    pub fn adopted(revision: &str, holder: String, now: Moment) -> Self {
        Self::Adopted {
            revision: revision.to_owned(),
            holder,
            checks: Checks::begin(now),
        }
    }

    /// From `now` on the process finishes its work, to stop for `cause`.
    #[must_use]
    pub fn draining(self, cause: StopCause, now: Moment) -> Self {
        let (revision, since, checks, drain) = match self {
            Self::Alive {
                revision,
                since,
                checks,
            } => (revision, since, checks, Drain::begin(cause, now)),
            Self::Draining {
                revision,
                since,
                checks,
                drain,
            } => (revision, since, checks, drain.turn(cause, now)),
            other => return other,
        };
        Self::Draining {
            revision,
            since,
            checks,
            drain,
        }
    }

    /// The process is not to stop after all.
    #[must_use]
    pub fn resumed(self) -> Self {
        match self {
            Self::Draining {
                revision,
                since,
                checks,
                ..
            } => Self::Alive {
                revision,
                since,
                checks,
            },
            other => other,
        }
    }

    /// The process was asked at `now` to stop, or its `preStop` command was sent first. What has not even been
    /// started has nothing to do before its stop.
    #[must_use]
    pub fn stopping(self, assignment: &Assignment, cause: StopCause, now: Moment) -> Self {
        let pre_stop = pre_stop(assignment, &cause).filter(|_| self.checks().is_some());
        match self {
            Self::Preparing { revision, since }
            | Self::Alive {
                revision, since, ..
            }
            | Self::Draining {
                revision, since, ..
            } => Self::Stopping {
                revision,
                since,
                asked_at: pre_stop.map(|time| now + time),
                kill_at: now + pre_stop.unwrap_or_default() + grace(assignment, &cause),
                killed: false,
                cause,
            },
            other => other,
        }
    }

    /// The `preStop` command ended at `now`.
    #[must_use]
    pub fn pre_stopped(mut self, now: Moment) -> Self {
        if let Self::Stopping {
            asked_at: Some(at), ..
        } = &mut self
        {
            *at = now;
        }
        self
    }

    /// The process was asked at `now` to stop, after its `preStop` command.
    #[must_use]
    pub fn signalled(mut self, assignment: &Assignment, now: Moment) -> Self {
        if let Self::Stopping {
            asked_at,
            kill_at,
            cause,
            ..
        } = &mut self
        {
            *asked_at = None;
            *kill_at = now + grace(assignment, cause);
        }
        self
    }

    /// The process was killed.
    #[must_use]
    pub fn killed(mut self) -> Self {
        if let Self::Stopping { killed, .. } = &mut self {
            *killed = true;
        }
        self
    }

    /// The process ended at `now`. `fraction` is random, from 0 to 1.
    #[must_use]
    pub fn ended(
        self,
        spec: &RestartSpec,
        back_off: &mut BackOff,
        exit: Exit,
        fraction: f64,
        now: Moment,
    ) -> Self {
        let (revision, since, cause) = match self {
            Self::Preparing { revision, since } => (revision, since, None),
            Self::Alive {
                revision, since, ..
            } => (revision, since, None),
            Self::Draining {
                revision,
                since,
                drain,
                ..
            } => (revision, since, Some(drain.cause)),
            Self::Stopping {
                revision,
                since,
                cause,
                ..
            } => (revision, since, Some(cause)),
            other => return other,
        };
        let parted = exit.cause == Some(ExitCause::Partition);
        let cause = cause.or(parted.then_some(StopCause::Partition));
        // Stopped on purpose: if it is wanted (again), it is wanted now.
        if let Some(cause) = cause.clone()
            && !matches!(cause, StopCause::Unhealthy(_))
        {
            return Self::Ended {
                revision,
                until: now,
                how: HowEnded::Stopped(cause),
                streak: back_off.streak(),
            };
        }
        let ending = if cause.is_none() && exit.code == Some(0) {
            Ending::Success
        } else {
            Ending::Failure
        };
        let next = back_off.after(spec, ending, now.since(since), fraction, now);
        let how = match cause {
            Some(cause) => HowEnded::Stopped(cause),
            None => HowEnded::Exited(exit),
        };
        Self::paused(revision, next, how, back_off.streak())
    }

    /// The process of `revision` could not be started at `now`. `fraction` is random, from 0 to 1.
    pub fn not_started(
        revision: &str,
        spec: &RestartSpec,
        back_off: &mut BackOff,
        why: NotStarted,
        fraction: f64,
        now: Moment,
    ) -> Self {
        let next = match why.is_obstruction() {
            true => Next::Start(back_off.obstructed(spec, fraction, now)),
            false => back_off.after(spec, Ending::Failure, Duration::ZERO, fraction, now),
        };
        let how = HowEnded::NotStarted(why);
        Self::paused(revision.to_owned(), next, how, back_off.streak())
    }

    fn paused(revision: String, next: Next, how: HowEnded, streak: u32) -> Self {
        match next {
            Next::Start(until) => Self::Ended {
                revision,
                until,
                how,
                streak,
            },
            Next::Completed => Self::Completed { revision, how },
            Next::Failed => Self::Failed {
                revision,
                how,
                attempts: streak,
            },
        }
    }

    /// The revision of the process that lives or lived last; empty before the first start.
    pub fn revision(&self) -> &str {
        match self {
            Self::Fresh => "",
            Self::External { revision, .. }
            | Self::Adopted { revision, .. }
            | Self::Preparing { revision, .. }
            | Self::Alive { revision, .. }
            | Self::Draining { revision, .. }
            | Self::Stopping { revision, .. }
            | Self::Ended { revision, .. }
            | Self::Completed { revision, .. }
            | Self::Failed { revision, .. } => revision,
        }
    }

    /// Whether a process lives.
    pub fn lives(&self) -> bool {
        matches!(
            self,
            Self::Preparing { .. }
                | Self::Alive { .. }
                | Self::Draining { .. }
                | Self::Stopping { .. }
        )
    }

    /// The checks of an endpoint that is to be checked.
    pub fn checks(&self) -> Option<&Checks> {
        match self {
            Self::Alive { checks, .. }
            | Self::Draining { checks, .. }
            | Self::External { checks, .. }
            | Self::Adopted { checks, .. } => Some(checks),
            _ => None,
        }
    }

    /// The same, to record a result.
    pub fn checks_mut(&mut self) -> Option<&mut Checks> {
        match self {
            Self::Alive { checks, .. }
            | Self::Draining { checks, .. }
            | Self::External { checks, .. }
            | Self::Adopted { checks, .. } => Some(checks),
            _ => None,
        }
    }
}
