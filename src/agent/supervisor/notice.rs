//! Taking in what processes say of themselves.

use super::Supervisor;
use crate::model::{Instance, Moment};

impl Supervisor {
    /// Takes in what the process of an instance says of itself, if it is to say anything.
    pub(super) fn listen(&mut self, name: &Instance, now: Moment) {
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let was = managed.is_ready();
        managed.listen(now);
        if was && let Some(why) = managed.ailment() {
            tracing::warn!(node = %self.config.node, instance = %name, why, "not ready");
        }
        self.note_readiness(name, was);
    }

    /// Says so if an instance has become ready, and that something is to be reported if that has changed.
    pub(super) fn note_readiness(&mut self, name: &Instance, was: bool) {
        let is = self.instances.get(name).is_some_and(|it| it.is_ready());
        if !was && is {
            tracing::info!(node = %self.config.node, instance = %name, "ready");
        }
        if was != is {
            self.disturb();
        }
    }
}
