//! Whether enough instances are left while others are replaced.

use super::{
    super::cluster::{Seat, Wish},
    Judge,
};
use crate::model::{Desired, Name, Phase, ServiceObject};

/// An instance that is taken from its process.
pub(super) struct Taken<'a> {
    slot: u32,
    node: &'a Name,
    /// It has to leave its node.
    leaves: bool,
}

impl<'a> Judge<'a> {
    /// Notes that an instance is taken from its process.
    pub(super) fn take(&mut self, service: &'a Name, slot: u32, node: &'a Name, leaves: bool) {
        let taken = self.replaced.entry(service).or_default();
        taken.push(Taken { slot, node, leaves });
    }

    /// An instance that is ready is taken from its process only while enough others are available, and one
    /// at a time goes elsewhere.
    pub(super) fn replacements(&mut self) {
        for (name, taken) in &self.replaced {
            let Some(service) = self.cluster.services().get(*name) else {
                continue;
            };
            let Wish::Run(object) = service.wish() else {
                continue;
            };
            let is_taken = |slot: u32, at: &Name| {
                taken
                    .iter()
                    .any(|taken| taken.slot == slot && taken.node == at)
            };
            let seats = || service.seats.iter();
            let serves = seats().any(|((slot, node), seat)| {
                let ready = seat.observed().is_some_and(|state| state.ready);
                is_taken(*slot, node) && ready && self.cluster.is_live(node)
            });
            let available = seats().filter(|((slot, node), seat)| {
                let live = self.cluster.is_live(node);
                !is_taken(*slot, node) && does_its_part(seat, live)
            });
            let available = available.count();
            let least = self.least(object);
            if serves && available < least {
                self.found.push(format!(
                    "{name}: of {least} that have to be available {available} are left"
                ));
            }
            let moves = taken.iter().filter(|taken| taken.leaves).count();
            let leaving = seats().find(|((_, node), seat)| {
                let absent = seat.asked().is_some_and(|a| a.desired == Desired::Absent);
                absent && seat.state.is_some() && self.cluster.is_live(node)
            });
            if moves > 1 {
                self.found
                    .push(format!("{name}: {moves} go elsewhere at once"));
            }
            if let (true, Some(((slot, node), _))) = (moves > 0, leaving) {
                self.found.push(format!(
                    "{name}: another one goes elsewhere before {name}-{slot} has left node {node}"
                ));
            }
        }
    }

    /// So many instances have to be available.
    fn least(&self, object: &ServiceObject) -> usize {
        let spec = &object.spec;
        let live = || {
            self.cluster
                .nodes()
                .keys()
                .filter(|node| self.admits(node, spec))
        };
        let wanted = match (spec.one_per_node, spec.replicas) {
            (true, _) => live().count(),
            (false, replicas) => replicas.unwrap_or(1) as usize,
        };
        spec.rollout.budget(wanted).least
    }
}

/// Whether clients can rely on the instance: it is available with the process that it is to have, or has
/// done its work.
fn does_its_part(seat: &Seat, live: bool) -> bool {
    let Some(state) = seat.observed() else {
        return false;
    };
    let (present, same, done) = match seat.asked() {
        Some(asked) => (
            asked.desired == Desired::Present,
            asked.revision == state.revision,
            state.phase == Phase::Completed && state.observed_generation >= asked.generation,
        ),
        None => (true, true, false),
    };
    present && same && (done || (live && state.ready && !state.settling))
}
