//! Taking in what the store says is to run, and what it holds of what was reported.

use std::collections::BTreeSet;

use crate::{
    keys::Key,
    model::{Assignment, Desired, Instance},
    store::{Change, Entry, Update},
};

use super::{super::instance::Managed, Supervisor};

impl Supervisor {
    /// Takes in what was written to the store.
    pub(super) fn follow(&mut self, update: Update) {
        self.look_back(&update);
        let seen = |highest: &mut i64| *highest = (*highest).max(update.revision);
        self.session.seen.send_modify(seen);
        if update.restored_from.is_some() {
            self.reporter.restored();
        }
        if self.unreconciled.is_none() {
            self.find_orphans(&update);
        }
        for change in update.changes {
            let (key, revision) = match &change {
                Change::Put(entry) => (&entry.key, entry.mod_revision),
                Change::Delete { key, revision } => (key, *revision),
            };
            match (self.keys.parse(key), &change) {
                (Some(Key::Assignment(_, name)), Change::Put(entry)) => self.assign(name, entry),
                (Some(Key::Assignment(_, name)), Change::Delete { .. }) => self.orphan(&name),
                (Some(Key::State(_, name)), Change::Put(entry)) => {
                    self.reporter.seen(name, revision, Some(&entry.value));
                }
                (Some(Key::State(_, name)), Change::Delete { .. }) => {
                    self.reporter.seen(name, revision, None);
                }
                _ => tracing::warn!(key, "a key that means nothing here"),
            }
        }
        if self.unreconciled.is_none() {
            let wanted = self
                .instances
                .iter()
                .filter(|(_, managed)| managed.assignment.desired == Desired::Present);
            self.unreconciled = Some(wanted.map(|(name, _)| name.clone()).collect());
        }
    }

    /// The first update holds every assignment: what was adopted and is not among them has lost its own.
    fn find_orphans(&mut self, update: &Update) {
        let put = |change: &Change| match change {
            Change::Put(entry) => self.keys.parse(&entry.key),
            Change::Delete { .. } => None,
        };
        let keys = update.changes.iter().filter_map(put);
        let assigned: BTreeSet<Instance> = keys
            .filter_map(|key| match key {
                Key::Assignment(_, name) => Some(name),
                _ => None,
            })
            .collect();
        let adopted = self.instances.iter().filter(|(_, it)| !it.is_local);
        let adopted: Vec<_> = adopted.map(|(name, _)| name.clone()).collect();
        for name in adopted.iter().filter(|name| !assigned.contains(name)) {
            self.orphan(name);
        }
    }

    pub(super) fn assign(&mut self, name: Instance, entry: &Entry) {
        let assignment = match serde_json::from_slice::<Assignment>(&entry.value) {
            Ok(assignment) if assignment.instance == name => assignment,
            Ok(other) => {
                tracing::warn!(
                    key = entry.key, instance = %other.instance,
                    "an assignment of another instance; what runs is left as it is"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(
                    key = entry.key, %error,
                    "an assignment that cannot be read; what runs is left as it is"
                );
                return;
            }
        };
        if self.holds_back(&name, &assignment, entry) {
            tracing::info!(
                node = %self.config.node, instance = %name,
                "its assignment waits until the restore of the store is confirmed"
            );
            return;
        }
        match self.instances.get_mut(&name) {
            Some(managed) if managed.is_local => {
                return self.shadow(name, assignment, entry.mod_revision);
            }
            Some(_) => self.reassign(&name, assignment, entry.mod_revision),
            None => {
                let uuid = self.host.entropy.uuid();
                let managed = Box::new(Managed::new(assignment, entry.mod_revision, uuid));
                self.instances.insert(name.clone(), managed);
            }
        }
        self.wakes.by(&name, self.host.clock.now());
    }

    fn orphan(&mut self, name: &Instance) {
        self.forget_held(name);
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        if managed.is_local {
            return self.unshadow(name);
        }
        managed.orphaned = true;
        if managed.assignment.desired == Desired::Present {
            tracing::warn!(
                node = %self.config.node, instance = %name,
                "its assignment vanished without saying absent; it is left running"
            );
        }
        self.wakes.by(name, self.host.clock.now());
    }
}
