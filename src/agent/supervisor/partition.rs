//! What stops by itself when the agent is cut off from the store (`onPartition: stop`): as long as its session
//! is confirmed, the agent moves the end on.

use super::{super::instance::Managed, Supervisor};
use crate::model::{Moment, quantity::Period, service::OnPartition};

impl Supervisor {
    /// Takes in that the store has confirmed the session: what stops without that may live on, or again.
    pub(super) fn take_confirmation(&mut self) {
        self.session.certain_until.borrow_and_update();
        let now = self.host.clock.now();
        for (name, managed) in &self.instances {
            if managed.stops_when_cut_off() {
                self.wakes.by(name, now);
            }
        }
    }

    /// Whether the session may have ended without the agent having noticed.
    pub(super) fn is_cut_off(&self, now: Moment) -> bool {
        self.session
            .certain_until
            .borrow()
            .is_none_or(|until| until <= now)
    }
}

impl Managed {
    /// Whether it stops by itself when its agent is cut off from the store. The agent's own instances are
    /// nobody else's to run.
    pub(in super::super) fn stops_when_cut_off(&self) -> bool {
        !self.is_local && self.assignment.on_partition == OnPartition::Stop
    }

    /// How long what may run of it takes to stop, if it does so by itself.
    pub(in super::super) fn self_stop(&self) -> Option<Period> {
        let lives_on = self.process.is_some() && self.told_deadline == Some(None);
        if !self.stops_when_cut_off() || self.assignment.adopt || lives_on {
            return None;
        }
        match self.process {
            Some(_) => self.stop_grace,
            None => Some(self.assignment.stop.grace),
        }
    }

    /// Tells its process until when it may live without another word, if that has changed. The session is
    /// certain to hold until `certain_until`.
    pub(in super::super) fn tell_deadline(&mut self, certain_until: Option<Moment>, now: Moment) {
        let deadline = match self.stops_when_cut_off() {
            // What it was told stands: only what was confirmed moves it.
            true if certain_until.is_none_or(|until| until <= now) => return,
            true => certain_until,
            false => None,
        };
        let Some(process) = &self.process else {
            return;
        };
        if self.told_deadline == Some(deadline) {
            return;
        }
        let time = deadline.map(|deadline| deadline.since(now));
        match process.stop_within(time) {
            Ok(()) => self.told_deadline = Some(deadline),
            Err(error) => {
                let instance = &self.assignment.instance;
                tracing::warn!(%instance, %error, "it cannot be told how long it may live");
            }
        }
    }
}
