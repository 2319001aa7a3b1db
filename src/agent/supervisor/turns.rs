//! Whose turn it is: to start, to be asked to stop.

use crate::model::Moment;

use super::Supervisor;

impl Supervisor {
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
            now < *until && instances.get(name).is_some_and(|it| it.is_starting())
        });
        if self.starting.len() < before {
            for name in std::mem::take(&mut self.queued) {
                self.wakes.by(&name, now);
            }
        }
    }
}
