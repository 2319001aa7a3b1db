//! Holding instances to their resources.

use crate::model::{Assignment, Instance};

use super::{super::instance::Managed, Supervisor};

impl Supervisor {
    /// Holds what lives of an instance to the resources of its assignment, as far as this host can.
    pub(super) fn confine(&mut self, name: &Instance) {
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let resources = &managed.assignment.resources;
        if managed.process.is_none() || !resources.is_limited() {
            return;
        }
        let place = self.home.place(name, &managed.uuid);
        let unenforced = self.processes.confine(&place, resources);
        if let Some(why) = unenforced.as_ref()
            && managed.unenforced != unenforced
        {
            tracing::warn!(node = %self.config.node, instance = %name, "{why}");
        }
        managed.unenforced = unenforced;
    }

    /// Gives an instance another assignment, and what lives of it its resources.
    pub(super) fn reassign(&mut self, name: &Instance, assignment: Assignment, stored_at: i64) {
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let before = managed.assignment.resources.clone();
        Managed::assign(managed, assignment, stored_at);
        if managed.assignment.resources != before {
            self.confine(name);
        }
    }
}
