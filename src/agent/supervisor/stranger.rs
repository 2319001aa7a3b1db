//! Programs that are not ours and hold the port of an instance (`adopt: true`): used as they are, never
//! signalled.

use std::collections::BTreeMap;

use crate::{
    model::{Instance, Moment},
    plan::agent::{Life, NotStarted},
};

use super::{super::ports::Ports, Supervisor};

impl Supervisor {
    /// The other instances of the node that have a process, by their ports.
    pub(super) fn neighbours(&self, name: &Instance) -> BTreeMap<u16, Instance> {
        let others = self.instances.iter().filter(|(other, _)| *other != name);
        let others = others.filter(|(_, other)| other.process.is_some());
        let ports = others.flat_map(|(other, managed)| {
            let numbers = managed.ports.values();
            numbers.map(|number| (*number, other.clone()))
        });
        ports.collect()
    }

    /// Goes on with the program that holds the port of an instance, where that is wanted. Whether it does:
    /// never with the process of another instance.
    pub(super) fn adopt_stranger(
        &mut self,
        name: &Instance,
        why: &NotStarted,
        now: Moment,
    ) -> bool {
        let own = self.neighbours(name);
        let Some(managed) = self.instances.get_mut(name) else {
            return false;
        };
        let assigned = managed.assignment.ports.iter();
        let ports = assigned.filter_map(|port| Some((port.name.clone(), port.number?)));
        let ports: Ports = ports.collect();
        let is_ours = ports.values().any(|number| own.contains_key(number));
        if !managed.assignment.adopt || !why.is_obstruction() || is_ours {
            return false;
        }
        let node = &self.config.node;
        tracing::info!(%node, instance = %name, "used as it is: {}", why.message);
        managed.ports = ports;
        let life = Life::adopted(&managed.assignment.revision, why.message.clone(), now);
        managed.begin(life);
        true
    }
}
