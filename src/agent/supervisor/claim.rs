//! Singletons are announced before they are started: the store has to hold their state under this session, written
//! while their assignment was as the agent knows it. So the leader knows of every one that may live, and who goes
//! by an assignment of yesterday finds out in time.

use super::{super::instance::Managed, Supervisor};
use crate::{
    model::{Instance, Run},
    plan::agent::Life,
};

impl Supervisor {
    /// Whether `managed` may be started, as far as that goes.
    pub(super) fn is_announced(&self, name: &Instance, managed: &Managed) -> bool {
        !managed.is_to_be_announced() || self.reporter.is_announced(name)
    }

    /// Lets those that wait for that look again.
    pub(super) fn wake_unannounced(&mut self) {
        let now = self.host.clock.now();
        for name in std::mem::take(&mut self.unannounced) {
            self.wakes.by(&name, now);
        }
    }
}

impl Managed {
    /// Whether it is not to be started without having been announced. Who is not replaced while its node is cut
    /// off may be started again meanwhile.
    fn is_to_be_announced(&self) -> bool {
        let may_be_elsewhere = self.stops_when_cut_off() || self.life == Life::Fresh;
        self.is_singleton() && may_be_elsewhere
    }

    /// Whether another one of it may run on another node, which must not be at the same time.
    fn is_singleton(&self) -> bool {
        let is_ours = matches!(self.assignment.run, Run::Process(_));
        !self.is_local && self.assignment.singleton && is_ours
    }

    /// The revision at which the store has to hold its assignment when it is announced.
    pub(super) fn announced_by(&self) -> Option<i64> {
        (self.is_singleton() && !self.orphaned).then_some(self.stored_at)
    }
}
