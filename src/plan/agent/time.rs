//! How long the steps of a stop may take.

use std::time::Duration;

use super::{SHUTDOWN_GRACE, StopCause};
use crate::{model::Assignment, plan::health::Failure};

/// A process that does not even answer its health checks rarely hears a signal: it gets this long to
/// write down what it can, or its own grace where that is shorter.
pub(super) const HUNG_GRACE: Duration = Duration::from_secs(1);

/// However long a `preStop` command may take, it gets no longer than this when its agent ends: with the
/// grace of its process no longer than [`SHUTDOWN_GRACE`].
const SHUTDOWN_PRE_STOP: Duration = Duration::from_secs(20);

/// How long the `preStop` command of a process that is stopped for `cause` may take; none where there is none.
pub fn pre_stop(assignment: &Assignment, cause: &StopCause) -> Option<Duration> {
    let timeout = assignment.pre_stop.as_ref()?.timeout.get();
    Some(match cause {
        StopCause::AgentEnds => timeout.min(SHUTDOWN_PRE_STOP),
        _ => timeout,
    })
}

/// How long a process that is stopped for `cause` may take.
pub fn grace(assignment: &Assignment, cause: &StopCause) -> Duration {
    let spec = &assignment.stop;
    let spent = pre_stop(assignment, cause).unwrap_or_default();
    match cause {
        StopCause::Unhealthy(Failure { silent: true, .. }) => spec.grace.get().min(HUNG_GRACE),
        StopCause::AgentEnds => spec.grace.get().min(SHUTDOWN_GRACE - spent),
        _ => spec.grace.get(),
    }
}
