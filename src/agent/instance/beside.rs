//! The process of an instance, and what is run beside it.

use futures::future::BoxFuture;

use super::{
    super::{Config, Home, errands, words::Words},
    Event, Managed, PreStop, What,
};
use crate::{
    model::{Moment, Timestamp, state::HookFailure},
    plan::agent::Life,
};

impl Managed {
    /// Takes note of what its process has become.
    pub(in super::super) fn look_at_process(&mut self, now: Moment) {
        if self
            .process
            .as_ref()
            .is_some_and(|process| !process.is_preparing())
        {
            self.change(|life| life.prepared(now));
        }
        self.listen(now);
    }

    /// A future that says that this is to be done again.
    pub(in super::super) fn watch_process(&self) -> Option<BoxFuture<'static, Event>> {
        let changed = self.process.as_ref()?.changed();
        Some(self.tagged(changed, |()| What::Changed))
    }

    /// Sends its `preStop` command, if that is due and was not sent by this agent.
    pub(super) fn pre_stop(
        &mut self,
        config: &Config,
        home: &Home,
        now: Moment,
    ) -> Option<BoxFuture<'static, Event>> {
        let Life::Stopping {
            asked_at: Some(until),
            ..
        } = &self.life
        else {
            return None;
        };
        let is_unsent = self.pre_stop == PreStop::Unsent;
        let process = self.process.as_deref().filter(|_| is_unsent)?;
        let words = self.words(config, home);
        let running = errands::pre_stop(&words, process, until.since(now));
        let event = self.tagged(running, What::PreStopped);
        self.pre_stop = PreStop::Running;
        Some(event)
    }

    /// Takes in how its `preStop` command ended at `at`, or that the time for it has. What was said of it first
    /// stands.
    pub(in super::super) fn pre_stopped(&mut self, result: Result<(), String>, at: Timestamp) {
        if self.pre_stop != PreStop::Over {
            self.pre_stop = PreStop::Over;
            self.pre_stop_failure = result.err().map(|message| HookFailure { message, at });
        }
    }

    /// How the `preStop` command before the stop that is under way failed.
    pub(super) fn failed_before_stop(&self) -> Option<&HookFailure> {
        let is_stopping = matches!(self.life, Life::Stopping { .. });
        let failure = self.pre_stop_failure.as_ref();
        failure.filter(|_| is_stopping && self.pre_stop == PreStop::Over)
    }

    pub(super) fn words<'a>(&'a self, config: &'a Config, home: &'a Home) -> Words<'a> {
        Words {
            config,
            home,
            assignment: &self.assignment,
            ports: &self.ports,
        }
    }
}
