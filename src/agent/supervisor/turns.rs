//! Whose turn it is: to be recycled, to start, to be asked to stop.

use crate::{
    agent::instance::Managed,
    model::{Desired, Instance, Moment},
    plan::{agent::Action, recycle},
};

use super::Supervisor;

impl Supervisor {
    /// What is to be done about the age of an instance that has nothing else to do. What is left running
    /// while the store is away is not restarted without need.
    pub(super) fn recycle(&mut self, name: &Instance, now: Moment) -> Option<Action> {
        let managed = self.instances.get(name)?;
        managed.assignment.recycle.as_ref()?;
        let busy = managed.orphaned || !managed.tickets.is_empty();
        let is_away = self.session.held.borrow().is_none();
        // Nothing could be started in its place.
        let busy = busy || self.lacking(managed).is_some();
        if busy || (is_away && !managed.is_local) {
            return None;
        }
        let mut others = self.instances.iter().filter(|(other, managed)| {
            let stays = managed.assignment.desired == Desired::Present;
            other.service == name.service && *other != name && stays
        });
        let turn = others.all(|(_, other)| other.is_ready());
        match recycle::next(&managed.assignment, &managed.life, turn, now) {
            recycle::Next::Do(action) => return Some(action),
            recycle::Next::Age(due) => self.wakes.by(name, due),
            // Load reports wake it, and so does the next full pass.
            recycle::Next::Pause | recycle::Next::Turn | recycle::Next::Never => {}
        }
        None
    }

    /// Lets those that wait for the store to say that they are not ready look whether it does.
    pub(super) fn wake_untold(&mut self) {
        let now = self.host.clock.now();
        for (name, managed) in &mut self.instances {
            if managed.untold().is_some() {
                self.wakes.by(name, now);
            }
        }
    }

    /// Forgets starts that are over; lets those who waited for that look again.
    pub(super) fn count_starts(&mut self, now: Moment) {
        let before = self.starting.len();
        let instances = &self.instances;
        self.starting.retain(|name, until| {
            now < *until && instances.get(name).is_some_and(Managed::is_starting)
        });
        if self.starting.len() < before {
            for name in std::mem::take(&mut self.queued) {
                self.wakes.by(&name, now);
            }
        }
    }
}
