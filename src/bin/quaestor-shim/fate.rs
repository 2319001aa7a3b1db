//! Why a process ends, and when it is killed: what is decided alike on every system.

use std::time::Duration;

use crate::{
    clock,
    wire::record::{Cause, End, Exit, Running},
};

/// What is to become of a process, and of what prepares it.
pub(crate) struct Fate {
    /// While it is what prepares the start: when that is killed.
    prepare_until: Option<Duration>,
    /// Somebody asked what prepares the start to end: nothing is to follow.
    abandoned: bool,
    /// What ends it, if it ends now.
    cause: Cause,
    /// When its tree is killed: its time to stop is over.
    kill_at: Option<Duration>,
    /// Set once the process has ended; what it left behind is being killed.
    ended: bool,
}

impl Fate {
    /// Of what has just started; with `prepare_until`, of what prepares the start and has until then.
    pub(crate) fn new(prepare_until: Option<Duration>) -> Self {
        Self {
            prepare_until,
            abandoned: false,
            cause: Cause::Own,
            kill_at: None,
            ended: false,
        }
    }

    /// Takes note that the program itself has started, after what prepared that.
    pub(crate) fn go_on(&mut self) {
        self.prepare_until = None;
        self.ended = false;
    }

    /// Takes note that it was asked to end. What prepares a start is not followed by one then.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Takes note that it is killed because of `cause`, if nothing made it end before.
    pub(crate) fn kill(&mut self, cause: Cause) {
        self.blame(cause);
        self.kill_at = None;
    }

    /// Takes note that it is stopped because of `cause`, and killed at `kill_at` if it lives then.
    pub(crate) fn stop(&mut self, cause: Cause, kill_at: Duration) {
        self.blame(cause);
        self.kill_at = Some(kill_at);
    }

    /// The cause that came first is what made it end.
    fn blame(&mut self, cause: Cause) {
        if self.cause == Cause::Own && !self.ended {
            self.cause = cause;
        }
    }

    /// Takes note that the program itself could not be started, after what prepared that.
    pub(crate) fn fail(&mut self) {
        self.cause = Cause::NotStarted;
    }

    /// Takes note that the process itself has ended.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.kill_at = None;
    }

    /// Whether the process itself has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the program itself is to be started, now that the first process has ended with `end`.
    pub(crate) fn is_prepared(&self, end: End) -> bool {
        let may_go_on = !self.abandoned && self.cause == Cause::Own;
        self.prepare_until.is_some() && end == End::Code(0) && may_go_on
    }

    /// When [`Fate::due`] has something to say.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let prepare_until = self.prepare_until.filter(|_| !self.ended);
        self.kill_at.into_iter().chain(prepare_until).min()
    }

    /// Why it is to be killed now, if it is.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Cause> {
        if self.kill_at.is_some_and(|moment| moment <= now) {
            return Some(self.cause);
        }
        if !self.ended && self.prepare_until.is_some_and(|moment| moment <= now) {
            // Once: from now on it is about to end.
            self.prepare_until = Some(Duration::MAX);
            return Some(Cause::PreStartTimeout);
        }
        None
    }

    /// What is kept of `running`, which has ended with `end`; `found` is what the system knows to have ended it.
    pub(crate) fn exit(&self, running: &Running, end: End, found: Option<Cause>) -> Exit {
        Exit {
            incarnation: running.incarnation,
            pid: running.pid,
            end,
            cause: self.cause(found),
            at: clock::wall(),
            since_boot: u64::try_from(clock::now().as_millis()).ok(),
        }
    }

    fn cause(&self, found: Option<Cause>) -> Cause {
        match (self.cause, found) {
            (Cause::Own, Some(found)) => found,
            (Cause::Own, None) if self.prepare_until.is_some() && !self.abandoned => {
                Cause::PreStart
            }
            (cause, _) => cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const LATER: Duration = Duration::from_secs(110);

    #[test]
    fn the_first_cause_counts_and_none_after_the_end() {
        let mut fate = Fate::new(None);
        assert_eq!(fate.cause(None), Cause::Own);
        fate.stop(Cause::Deadline, LATER);
        fate.kill(Cause::Kill);
        assert_eq!(fate.cause(Some(Cause::Memory)), Cause::Deadline);

        let mut fate = Fate::new(None);
        fate.end();
        fate.kill(Cause::Kill);
        assert_eq!(fate.cause(None), Cause::Own);
        assert_eq!(fate.cause(Some(Cause::Memory)), Cause::Memory);
    }

    #[test]
    fn who_is_stopped_is_killed_once_its_time_is_over() {
        let mut fate = Fate::new(None);
        fate.stop(Cause::Deadline, LATER);
        assert_eq!(fate.next_moment(), Some(LATER));
        assert_eq!(fate.due(NOW), None);
        assert_eq!(fate.due(LATER), Some(Cause::Deadline));
        fate.end();
        assert_eq!((fate.next_moment(), fate.due(LATER)), (None, None));
    }

    #[test]
    fn what_prepares_a_start_is_followed_by_it_only_if_all_is_well() {
        let prepared = |change: fn(&mut Fate)| {
            let mut fate = Fate::new(Some(LATER));
            change(&mut fate);
            fate.end();
            fate.is_prepared(End::Code(0))
        };
        assert!(prepared(|_| ()));
        assert!(!prepared(Fate::abandon));
        assert!(!prepared(|fate| fate.kill(Cause::Kill)));
        assert!(!Fate::new(Some(LATER)).is_prepared(End::Code(1)));
        assert!(!Fate::new(None).is_prepared(End::Code(0)));
    }

    #[test]
    fn what_prepares_a_start_is_killed_once_at_its_time_and_that_is_the_cause() {
        let mut fate = Fate::new(Some(LATER));
        assert_eq!(fate.cause(None), Cause::PreStart);
        assert_eq!(fate.next_moment(), Some(LATER));
        assert_eq!(fate.due(LATER), Some(Cause::PreStartTimeout));
        fate.kill(Cause::PreStartTimeout);
        assert_eq!(fate.due(LATER), None);
        assert_eq!(fate.cause(None), Cause::PreStartTimeout);
    }
}
