//! An independent judge of plans: it knows the rules, not how plans are made.
//!
//! Used by tests and simulations after every plan.
//!
//! - `budget`: that enough instances are left while others are replaced

mod budget;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    keys::Key,
    model::{
        Assignment, Desired, Instance, Name, ServiceObject, ServiceSpec, service::OnPartition,
    },
};

use budget::Taken;

use super::{
    blueprint::Blueprint,
    cluster::{Cluster, Seat, Service, Wish},
    controller::{Intent, Plan, Value},
    node::Node,
};

/// The rules that `plan` breaks for `cluster`, in words; empty for a good plan.
pub fn violations<'a>(cluster: &'a Cluster, plan: &'a Plan) -> Vec<String> {
    let mut judge = Judge {
        cluster,
        deleted: (plan.writes().filter(|intent| intent.value.is_none()))
            .map(|intent| intent.key.clone())
            .collect(),
        fenced: (plan.writes())
            .filter(|intent| matches!(intent.unless, Some(Key::Session(_))))
            .map(|intent| intent.key.clone())
            .collect(),
        found: Vec::new(),
        replaced: BTreeMap::new(),
    };
    let mut keys = BTreeSet::new();
    for intent in plan.writes() {
        if !keys.insert(&intent.key) {
            judge.say(intent, "the key is written twice");
        }
        judge.intent(intent);
    }
    judge.replacements();
    judge.outcome(plan);
    judge.found
}

/// Writes `plan` into `cluster` as the store would, giving each write the next revision.
pub fn carry_out(cluster: &mut Cluster, plan: &Plan, revision: &mut i64) {
    for intent in plan.writes() {
        *revision += 1;
        match &intent.value {
            Some(value) => {
                let json = value.to_json().unwrap_or_default();
                cluster.put(&intent.key, &json, *revision);
            }
            None => cluster.delete(&intent.key),
        }
    }
}

/// What is looked at, and what was found.
struct Judge<'a> {
    cluster: &'a Cluster,
    found: Vec<String>,
    deleted: BTreeSet<Key>,
    /// What is written only while an agent is away.
    fenced: BTreeSet<Key>,
    /// Instances that this plan takes from their process, and the node that they leave it on, by service.
    replaced: BTreeMap<&'a Name, Vec<Taken<'a>>>,
}

impl<'a> Judge<'a> {
    fn say(&mut self, intent: &Intent, what: &str) {
        self.found.push(format!("{:?}: {what}", intent.key));
    }

    /// What one write must observe, whatever the others do.
    fn intent(&mut self, intent: &'a Intent) {
        if intent.cause.is_empty() {
            self.say(intent, "it has no cause");
        }
        let service = |name: &Name| self.cluster.services().get(name);
        let stored = match &intent.key {
            Key::Assignment(node, instance) => self
                .seat(node, instance)
                .and_then(|seat| seat.assignment.as_ref())
                .map(|stored| stored.revision),
            Key::Route(name) => service(name)
                .and_then(|s| s.route.as_ref())
                .map(|s| s.revision),
            Key::ServiceStatus(name) => service(name)
                .and_then(|s| s.status.as_ref())
                .map(|s| s.revision),
            Key::NodeStatus(name) => {
                let node = self.cluster.nodes().get(name);
                node.and_then(|n| n.status.as_ref()).map(|s| s.revision)
            }
            Key::Revision(name, hash) => service(name)
                .and_then(|s| s.revisions.get(hash))
                .map(|s| s.revision),
            Key::State(node, instance) => {
                self.forgotten(intent, node);
                self.seat(node, instance)
                    .and_then(|seat| seat.state.as_ref())
                    .map(|stored| stored.revision)
            }
            Key::ClusterStatus => self.cluster.status.as_ref().map(|s| s.revision),
            _ => return self.say(intent, "the leader does not write this key"),
        };
        let is_held = intent.key != Key::ClusterStatus && self.cluster.restored_from().is_some();
        if is_held {
            self.say(
                intent,
                "the store was restored, and nobody has confirmed that",
            );
        }
        if stored != intent.expects {
            self.say(intent, "it does not depend on what is stored");
        }
        if intent.value.is_none() && stored.is_none() {
            self.say(intent, "it deletes what is not there");
        }
        if let Key::Assignment(node, instance) = &intent.key {
            match &intent.value {
                None => self.deletion(intent, node, instance),
                Some(Value::Assignment(after)) => self.assignment(intent, node, instance, after),
                Some(_) => self.say(intent, "it is not an assignment"),
            }
        }
    }

    /// A state is the leader's to delete only where no agent says otherwise, and the node is given up.
    fn forgotten(&mut self, intent: &Intent, name: &Name) {
        if intent.value.is_some() {
            self.say(intent, "a state is written by its agent alone");
        }
        if intent.unless != Some(Key::Session(name.clone())) {
            self.say(intent, "it does not depend on the agent's absence");
        }
        if !self.is_given_up(name) {
            self.say(intent, "the node is not lost");
        }
    }

    /// Whether a node is gone: deleted, or away while most others are not.
    fn is_given_up(&self, name: &Name) -> bool {
        let nodes = self.cluster.nodes();
        let known: Vec<_> = nodes.values().filter(|node| node.is_known()).collect();
        let away = known.iter().filter(|node| node.session.is_none()).count();
        let is_mass = away * 100 >= known.len() * 55;
        nodes.get(name).is_some_and(|node| {
            node.session.is_none() && (node.is_deleted() || (node.status.is_some() && !is_mass))
        })
    }

    /// Whether an instance on `node` may have a successor elsewhere while it is there.
    fn may_have_successor(&self, node: &Name, instance: &Instance, spec: &ServiceSpec) -> bool {
        let is_deleted = self.cluster.nodes().get(node).is_some_and(Node::is_deleted);
        if spec.singleton || spec.one_per_node {
            return is_deleted || (spec.singleton && self.has_stopped(node, instance));
        }
        match self.cluster.is_live(node) {
            true => !self.keeps(node, spec),
            false => self.is_given_up(node),
        }
    }

    /// Whether a singleton may have stopped by itself, and is not started again there.
    fn has_stopped(&self, node: &Name, instance: &Instance) -> bool {
        let seat = self.seat(node, instance);
        let Some((seat, asked)) = seat.and_then(|seat| Some((seat, seat.asked()?))) else {
            return false;
        };
        let is_told = match seat.observed() {
            Some(state) => state.self_stop.is_some(),
            None => asked.singleton && seat.state.is_none(),
        };
        let key = Key::Assignment(node.clone(), instance.clone());
        let is_fenced = asked.replaced || self.fenced.contains(&key);
        let stops = asked.on_partition == OnPartition::Stop && is_told;
        stops && is_fenced && self.is_given_up(node)
    }

    fn deletion(&mut self, intent: &Intent, node: &Name, instance: &Instance) {
        let Some(seat) = self.seat(node, instance) else {
            return;
        };
        if intent.unless == Some(Key::Session(node.clone())) && self.is_given_up(node) {
            return;
        }
        if intent.unless != Some(Key::State(node.clone(), instance.clone())) {
            self.say(intent, "it does not depend on nothing running");
        }
        let service = self.cluster.services().get(&instance.service);
        let nobody = |s: &Service| matches!(s.wish(), Wish::Unreadable(_) | Wish::Vanished);
        let absent = seat.asked().map(|a| a.desired) == Some(Desired::Absent);
        if !absent && service.is_some_and(nobody) {
            self.say(intent, "nobody says what is wanted, so nothing may change");
        }
        if seat.state.is_some() {
            self.say(
                intent,
                "an assignment is deleted before its instance has stopped",
            );
        }
    }

    fn assignment(
        &mut self,
        intent: &Intent,
        node: &'a Name,
        instance: &Instance,
        after: &Assignment,
    ) {
        let cluster = self.cluster;
        let Some((name, service)) = cluster.services().get_key_value(&instance.service) else {
            return self.say(intent, "the service does not exist");
        };
        if after.instance != *instance {
            self.say(intent, "the assignment is another instance's");
        }
        let seat = self.seat(node, instance);
        let running = seat.and_then(|seat| seat.state.as_ref()).is_some();
        let before = seat.and_then(Seat::asked);
        if let Some(before) = before
            && after.generation < before.generation
        {
            self.say(intent, "the generation falls");
        }
        let was_present = before.map(|a| a.desired) == Some(Desired::Present)
            || seat.is_some_and(|s| s.asked().is_none());
        match (service.wish(), after.desired) {
            (Wish::Unreadable(_) | Wish::Vanished, _) => {
                self.say(intent, "nobody says what is wanted, so nothing may change");
            }
            (Wish::Delete(_), Desired::Present) => self.say(intent, "the service was deleted"),
            (Wish::Delete(_), Desired::Absent) => {}
            (Wish::Run(object), Desired::Absent) => {
                let is_surplus = self.is_surplus(service, &object.spec, node, instance);
                if was_present && !is_surplus {
                    self.take(name, instance.slot, node, true);
                }
            }
            (Wish::Run(object), Desired::Present) => {
                let elsewhere = service.seats.keys();
                let doubled = elsewhere
                    .filter(|(slot, other)| *slot == instance.slot && other != node)
                    .filter(|(_, other)| {
                        let key = Key::Assignment(other.clone(), instance.clone());
                        let state = Key::State(other.clone(), instance.clone());
                        let is_left = |key| self.deleted.contains(&key);
                        !is_left(key) && !is_left(state) && !self.has_left(other, instance)
                    })
                    .filter(|(_, other)| !self.may_have_successor(other, instance, &object.spec))
                    .count();
                if seat.is_none() && doubled > 0 {
                    self.say(intent, "the instance is on another node as well");
                }
                if seat.is_none() && !self.admits(node, &object.spec) {
                    self.say(intent, "the node does not admit a new instance");
                }
                let revision = before.map(|a| a.revision.as_str());
                let revision = revision.or_else(|| {
                    let state = seat.and_then(Seat::observed)?;
                    Some(state.revision.as_str()).filter(|r| !r.is_empty())
                });
                let is_external = !object.spec.external.is_empty();
                if was_present
                    && running
                    && !is_external
                    && revision.is_some_and(|r| r != after.revision)
                {
                    self.take(name, instance.slot, node, false);
                }
                let stays = before.is_some_and(|before| before.revision == after.revision);
                if !stays && !is_of(service, object, after) {
                    self.say(intent, "its revision comes from nowhere");
                }
            }
        }
    }

    /// What must hold when all of it has been written.
    fn outcome(&mut self, plan: &Plan) {
        let mut after = self.cluster.clone();
        carry_out(&mut after, plan, &mut i64::from(i32::MAX));
        for (name, node) in after.nodes() {
            for (number, holders) in &node.ports {
                let before = self.cluster.nodes().get(name);
                let before = before.and_then(|n| n.ports.get(number));
                let assigned = |instance: &&Instance| {
                    let service = after.services().get(&instance.service);
                    let seat = service.and_then(|s| s.seats.get(&(instance.slot, name.clone())));
                    let asked = seat.and_then(Seat::asked);
                    asked.is_some_and(|a| a.ports.iter().any(|p| p.number == Some(*number)))
                };
                let holders: BTreeSet<&Instance> = holders.iter().filter(assigned).collect();
                let known = before.map_or(0, BTreeSet::len);
                if holders.len() > 1 && holders.len() > known {
                    self.found
                        .push(format!("port {number} on {name} is given to {holders:?}"));
                }
            }
        }
        for (name, service) in after.services() {
            let Wish::Run(object) = service.wish() else {
                continue;
            };
            // Those that go on beside a successor are told by where they are.
            let counts = |(node, seat): (&Name, &Seat)| {
                let asked = seat.asked();
                asked.is_some_and(|a| a.desired == Desired::Present && !a.replaced)
                    && (object.spec.one_per_node
                        || self.cluster.is_live(node) && self.keeps(node, &object.spec))
            };
            let slots: Vec<_> = (service.seats.iter())
                .filter(|((_, node), seat)| counts((node, seat)))
                .collect();
            let limit = match (&object.spec.external[..], object.spec.replicas) {
                _ if object.spec.one_per_node => after.nodes().len(),
                ([], replicas) => replicas.unwrap_or(1) as usize,
                (addresses, _) => addresses.len(),
            };
            let limit = limit + object.spec.rollout.budget(limit).surge;
            if slots.len() > limit {
                self.found
                    .push(format!("{name}: {} instances, {limit} wanted", slots.len()));
            }
            let mut unique = BTreeSet::new();
            for ((slot, node), _) in slots {
                let key = if object.spec.one_per_node {
                    node.to_string()
                } else {
                    slot.to_string()
                };
                if !unique.insert(key) {
                    self.found
                        .push(format!("{name}-{slot} on {node}: there is another one"));
                }
            }
        }
    }

    fn seat(&self, node: &Name, instance: &Instance) -> Option<&'a Seat> {
        let service = self.cluster.services().get(&instance.service)?;
        service.seats.get(&(instance.slot, node.clone()))
    }

    /// Whether what was to end on `node` is not there any more.
    fn has_left(&self, node: &Name, instance: &Instance) -> bool {
        self.seat(node, instance).is_some_and(|seat| {
            let absent = seat.asked().map(|asked| asked.desired) == Some(Desired::Absent);
            absent && seat.state.is_none()
        })
    }

    /// Whether what runs of the service on `node` may stay there.
    fn keeps(&self, node: &Name, spec: &ServiceSpec) -> bool {
        let node = self
            .cluster
            .nodes()
            .get(node)
            .filter(|n| n.live().is_some());
        node.is_some_and(|node| {
            let mut wanted = spec.placement.node_selector.iter();
            !node.is_draining() && wanted.all(|(key, value)| node.labels.get(key) == Some(value))
        })
    }

    /// Whether the service may be given a new instance on `node`.
    fn admits(&self, node: &Name, spec: &ServiceSpec) -> bool {
        let cordoned = self
            .cluster
            .nodes()
            .get(node)
            .is_some_and(|node| node.closed().is_some());
        self.keeps(node, spec) && !cordoned
    }

    /// Whether the service is better off without the instance, so that it may end at once.
    fn is_surplus(
        &self,
        service: &Service,
        spec: &ServiceSpec,
        node: &Name,
        who: &Instance,
    ) -> bool {
        let running = |seat: &Seat| match seat.asked() {
            Some(asked) => asked.desired == Desired::Present,
            None => true,
        };
        let others = || {
            service
                .seats
                .iter()
                .filter(|((slot, at), seat)| running(seat) && (*slot, at) != (who.slot, node))
        };
        if others().any(|((slot, _), _)| *slot == who.slot) {
            return true;
        }
        if spec.one_per_node {
            let live = self.cluster.is_live(node);
            return (live && !self.keeps(node, spec)) || others().any(|((_, at), _)| at == node);
        }
        let lower: BTreeSet<u32> = others()
            .map(|((slot, _), _)| *slot)
            .filter(|slot| *slot < who.slot)
            .collect();
        match spec.external.len() {
            0 => lower.len() >= spec.replicas.unwrap_or(1) as usize,
            addresses => who.slot as usize >= addresses,
        }
    }
}

/// Whether what is assigned comes from the manifest, or from a template that is remembered.
fn is_of(service: &Service, object: &ServiceObject, after: &Assignment) -> bool {
    let from = |object: &ServiceObject| {
        Blueprint::new(object).revision_of(after.instance.slot) == after.revision
    };
    let remembered = service.revisions.values().filter_map(|s| s.value.as_ref());
    from(object)
        || remembered
            .map(|record| record.restore(object))
            .any(|object| from(&object))
}
