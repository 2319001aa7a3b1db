//! Why an instance is not on a node, or on none.

use super::{Cause, Health, Seen, cluster, folded, instance, node};
use crate::{
    model::{Instance, Name, ServiceObject, ServiceSpec, event::Object},
    plan::{
        cluster::{Service, Wish},
        placement,
        room::{Numbers, Room},
        roster,
    },
};

/// A service that is to be placed.
#[derive(Clone, Copy)]
pub(super) struct Placing<'a> {
    seen: &'a Seen<'a>,
    name: &'a Name,
    service: &'a Service,
    spec: &'a ServiceSpec,
}

/// Why the service, or its instance in `slot`, is not on `node`.
pub(super) fn why_not(
    seen: &Seen<'_>,
    name: &Name,
    slot: Option<u32>,
    node: &Name,
) -> Option<Cause> {
    let service = seen.cluster.services().get(name)?;
    seen.cluster.nodes().get(node)?;
    let object = match slot {
        Some(slot) => Object::Instance(Instance::new(name.clone(), slot)),
        None => Object::Service(name.clone()),
    };
    let about = |reason: &str, health, sentence: String| {
        Cause::new(object.clone(), health, reason, sentence)
    };
    let there = roster::places(service).filter(|place| {
        slot.is_none_or(|slot| slot == place.slot) && !roster::has_left(place.seat)
    });
    let there: Vec<_> = there.collect();
    if let Some(place) = there.iter().find(|place| place.node == node) {
        let who = Instance::new(name.clone(), place.slot);
        let sentence = match slot {
            Some(_) => format!("is on node {node}"),
            None => format!("has an instance on node {node}: {who}"),
        };
        let inner = instance::on(seen, &who, node, place.seat);
        return Some(about("IsThere", Health::Fine, sentence).because([inner]));
    }
    let Wish::Run(object_of) = service.wish() else {
        let state = super::service::of(seen, name, &[]);
        let sentence = format!("is not on node {node}, as it is not to run anywhere");
        return Some(about("NotWanted", Health::Fine, sentence).because(state));
    };
    let placing = Placing::new(seen, name, service, object_of);
    let objections = placing.objections(slot, node);
    let lives_elsewhere = there.iter().find(|_| slot.is_some());
    let mut because = cluster::troubles(seen);
    if !objections.is_empty() {
        let sentence = format!("may not be on node {node}");
        because.extend(objections);
        return Some(about("Refused", Health::Fine, sentence).because(because));
    }
    let (reason, sentence) = match lives_elsewhere {
        Some(place) => (
            "StaysElsewhere",
            format!(
                "could be on node {node}, but is on {} already: what may stay where it is, is not moved",
                place.node
            ),
        ),
        None if there.len() >= placing.wanted() => (
            "EnoughElsewhere",
            format!(
                "could have an instance on node {node}, but all {} that are wanted are elsewhere, and what may \
                 stay where it is, is not moved",
                placing.wanted()
            ),
        ),
        None => (
            "NotYet",
            format!(
                "could be on node {node}: the next that is placed goes to the node with the fewest instances"
            ),
        ),
    };
    Some(about(reason, Health::Fine, sentence).because(because))
}

impl<'a> Placing<'a> {
    pub(super) fn new(
        seen: &'a Seen<'a>,
        name: &'a Name,
        service: &'a Service,
        object: &'a ServiceObject,
    ) -> Self {
        let spec = &object.spec;
        Self {
            seen,
            name,
            service,
            spec,
        }
    }

    /// So many instances are wanted.
    fn wanted(&self) -> usize {
        match self.spec.one_per_node {
            true => usize::MAX,
            false => super::service::replicas(self.spec),
        }
    }

    /// Why no node takes the instance in `slot`: nodes of which the same holds are told together. None: one does.
    pub(super) fn refusals(&self, slot: u32) -> Option<Vec<Cause>> {
        let nodes = self.seen.cluster.nodes().iter();
        let mut causes = Vec::new();
        for (name, _) in nodes.filter(|(_, node)| node.is_known()) {
            let objections = self.objections(Some(slot), name);
            if objections.is_empty() {
                return None;
            }
            causes.extend(objections);
        }
        if causes.is_empty() {
            let none = Cause::new(
                Object::Cluster,
                Health::Broken,
                "NoNodes",
                "there are no nodes",
            );
            let remedy = "run an agent on a host: `quaestor agent --node NAME`, or `quaestor install agent` there";
            causes.push(none.remedy(remedy));
        }
        Some(folded(causes))
    }

    /// All that keeps the instance in `slot`, or another one, from `name`.
    fn objections(&self, slot: Option<u32>, name: &Name) -> Vec<Cause> {
        let Self {
            seen,
            service,
            spec,
            ..
        } = *self;
        let Some(node) = seen.cluster.nodes().get(name) else {
            return node::absence(seen, name).into_iter().collect();
        };
        let object = || Object::Node(name.clone());
        let lack =
            |reason: &str, sentence: String| Cause::new(object(), Health::Broken, reason, sentence);
        let mut found: Vec<Cause> = node::absence(seen, name).into_iter().collect();
        if node.live().is_some() {
            for (key, value) in &spec.placement.node_selector {
                let sentence = match node.labels.get(key) {
                    Some(other) if other == value => continue,
                    Some(other) => {
                        format!("its label is {key}={other}, and {key}={value} is selected")
                    }
                    None => format!("it has no label {key}, and {key}={value} is selected"),
                };
                let cause = lack("LabelMissing", sentence);
                found.push(cause.remedy(format!(
                    "`quaestor label NODE {key}={value}`, or another `placement.nodeSelector`"
                )));
            }
        }
        found.extend(node::closed(seen, name));
        let own = placement::own(seen.cluster, service, spec);
        let own = own.get(name).copied().unwrap_or(0);
        if let Some(most) = spec
            .placement
            .max_per_node
            .filter(|most| own >= *most as usize)
        {
            let sentence = format!("it has {own} of the service, and `maxPerNode` is {most}");
            found.push(
                lack("MaxPerNode", sentence).remedy("add a node, or raise `placement.maxPerNode`"),
            );
        }
        if node.live().is_none() || !spec.external.is_empty() {
            return found;
        }
        let mut room = Room::new(seen.cluster);
        if let Err(shortage) = room.fits(name, spec) {
            let remedy = "ask for less in `requests`, make room, or add a node";
            found.push(lack("NoCapacity", shortage).remedy(remedy));
        }
        let slot = slot.unwrap_or_else(|| self.next_slot());
        let who = Instance::new(self.name.clone(), slot);
        let numbers = Numbers::of(service, !spec.one_per_node);
        let found_numbers = room.numbers(name, &who, &spec.ports, &Default::default(), &numbers);
        if let Err(shortage) = found_numbers {
            let remedy = "give the port a `range` that is wide enough, or another number";
            found.push(lack("NoPort", shortage).remedy(remedy));
        }
        found
    }

    /// A slot that nobody has.
    fn next_slot(&self) -> u32 {
        let highest = self.service.seats.keys().map(|(slot, _)| *slot).max();
        highest.map_or(0, |slot| slot.saturating_add(1))
    }
}
