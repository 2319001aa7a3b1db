//! What a node runs by manifests of its own, without a leader.
//!
//! Like the leader, but for one node: slots from 0 on, each with its own number of a range; a changed
//! template is rolled out one instance after the other; what needs no new process changes at once. What
//! comes `after` another service waits for a ready instance of it on this node.

use std::collections::BTreeMap;

use super::blueprint::Blueprint;
use crate::model::{
    Assignment, Desired, Instance, Name, ServiceObject, ServiceSpec,
    service::{Labels, PortSpec},
};

/// An instance that runs by such a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'a> {
    /// What is asked of it now.
    pub assignment: &'a Assignment,
    /// The revision of its process.
    pub revision: &'a str,
    /// Whether clients may be sent to it.
    pub ready: bool,
}

/// What to ask of which instances, and what is waited for.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Assignments that are new or other than before.
    pub assign: Vec<Assignment>,
    /// Who waits for what, in words.
    pub waiting: Vec<String>,
}

/// Brings `seats`, all that run by manifests of the node, in line with `services` on a node of those
/// `labels`.
pub fn plan(
    services: &BTreeMap<Name, ServiceObject>,
    seats: &BTreeMap<Instance, Seat<'_>>,
    labels: &Labels,
) -> Plan {
    let mut plan = Plan::default();
    let is_wanted = |instance: &Instance| {
        let object = services.get(&instance.service);
        object.is_some_and(|object| instance.slot < slots(object, labels))
    };
    let unwanted = seats.iter().filter(|(instance, _)| !is_wanted(instance));
    for (_, seat) in unwanted.filter(|(_, seat)| seat.assignment.desired == Desired::Present) {
        plan.assign.push(Assignment {
            desired: Desired::Absent,
            ..seat.assignment.clone()
        });
    }
    for object in services.values() {
        plan.service(object, seats, labels);
    }
    plan
}

impl Plan {
    fn service(
        &mut self,
        object: &ServiceObject,
        seats: &BTreeMap<Instance, Seat<'_>>,
        labels: &Labels,
    ) {
        let name = &object.metadata.name;
        let wanted = slots(object, labels);
        if wanted == 0 && !object.spec.placement.node_selector.is_empty() {
            self.waiting
                .push(format!("{name} is for nodes with other labels"));
        }
        let blueprint = Blueprint::new(object);
        let targets = (0..wanted).map(|slot| {
            let instance = Instance::new(name.clone(), slot);
            let numbers: Vec<_> = (object.spec.ports.iter())
                .map(|port| number(port, slot))
                .collect();
            blueprint.assignment(instance, blueprint.revision_of(slot), &numbers)
        });
        let targets: Vec<Assignment> = targets.collect();
        // Nobody who is ready is replaced before all the others are, whoever got a new revision among them.
        let mut is_free = targets.iter().all(|target| {
            let seat = seats.get(&target.instance);
            seat.is_none_or(|seat| {
                let is_old = seat.assignment.revision != target.revision;
                seat.ready && (is_old || seat.revision == target.revision)
            })
        });
        for target in targets {
            let Some(seat) = seats.get(&target.instance) else {
                match missing(&object.spec, seats) {
                    None => self.assign.push(target),
                    Some(first) => {
                        let instance = target.instance;
                        self.waiting
                            .push(format!("{instance} waits for {first} to be ready here"));
                    }
                }
                continue;
            };
            let in_place = seat.assignment.revision == target.revision;
            if *seat.assignment == target {
                continue;
            }
            // What is not ready serves nobody, so nobody misses it.
            if in_place || !seat.ready || std::mem::take(&mut is_free) {
                self.assign.push(target);
            } else {
                let instance = target.instance;
                self.waiting
                    .push(format!("{instance} waits for its turn to be replaced"));
            }
        }
    }
}

/// How many instances of a service the node has.
fn slots(object: &ServiceObject, labels: &Labels) -> u32 {
    let mut selector = object.spec.placement.node_selector.iter();
    let admitted = selector.all(|(key, value)| labels.get(key) == Some(value));
    match (admitted, object.spec.one_per_node) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => u32::try_from(Blueprint::new(object).replicas()).unwrap_or(u32::MAX),
    }
}

/// The number of `port` in a slot; none lets the agent take a free one.
fn number(port: &PortSpec, slot: u32) -> Option<u16> {
    port.port.or_else(|| {
        let mut range = port.range?.ports();
        range.nth(usize::try_from(slot).ok()?)
    })
}

/// The first of the services that come first which has no ready instance.
fn missing<'a>(spec: &'a ServiceSpec, seats: &BTreeMap<Instance, Seat<'_>>) -> Option<&'a Name> {
    let is_ready = |name: &Name| {
        let mut of_it = seats
            .iter()
            .filter(|(instance, _)| instance.service == *name);
        of_it.any(|(_, seat)| seat.ready)
    };
    spec.after.iter().find(|name| !is_ready(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(specs: &[(&str, serde_json::Value)]) -> BTreeMap<Name, ServiceObject> {
        let object = |(name, spec): &(&str, serde_json::Value)| {
            let object = serde_json::json!({
                "metadata": {"name": name}, "generation": 1, "spec": spec,
            });
            let object: ServiceObject = serde_json::from_value(object).unwrap();
            (object.metadata.name.clone(), object)
        };
        specs.iter().map(object).collect()
    }

    fn one(spec: serde_json::Value) -> BTreeMap<Name, ServiceObject> {
        services(&[("web", spec)])
    }

    /// A node on which everything that is asked for happens, if it is to.
    #[derive(Default)]
    struct Node {
        instances: BTreeMap<Instance, (Assignment, String, bool)>,
        labels: Labels,
    }

    impl Node {
        fn plan(&self, services: &BTreeMap<Name, ServiceObject>) -> Plan {
            let seats = self.instances.iter();
            let seats = seats.map(|(name, (assignment, revision, ready))| {
                let (revision, ready) = (revision.as_str(), *ready);
                let seat = Seat {
                    assignment,
                    revision,
                    ready,
                };
                (name.clone(), seat)
            });
            let seats = seats.collect();
            super::plan(services, &seats, &self.labels)
        }

        /// Carries a plan out; `ready`: its processes come up. Returns who was touched.
        fn turn(&mut self, services: &BTreeMap<Name, ServiceObject>, ready: bool) -> Vec<String> {
            let plan = self.plan(services);
            let touched = plan.assign.iter().map(|it| it.instance.to_string());
            let touched = touched.collect();
            for assignment in plan.assign {
                let name = assignment.instance.clone();
                match assignment.desired {
                    Desired::Absent => self.instances.remove(&name),
                    Desired::Present => {
                        let revision = assignment.revision.clone();
                        self.instances.insert(name, (assignment, revision, ready))
                    }
                };
            }
            touched
        }
    }

    #[test]
    fn every_replica_has_a_slot_and_a_port_and_a_second_plan_is_empty() {
        let wanted = one(serde_json::json!({
            "replicas": 2, "command": ["x"], "ports": [{"name": "http", "range": "7001-7009"}],
        }));
        let mut node = Node::default();
        assert_eq!(node.turn(&wanted, true), ["web-0", "web-1"]);
        let number = |(assignment, ..): &(Assignment, _, _)| assignment.ports[0].number;
        let numbers: Vec<_> = node.instances.values().map(number).collect();
        assert_eq!(numbers, [Some(7001), Some(7002)]);
        assert_eq!(node.plan(&wanted), Plan::default());
    }

    #[test]
    fn what_is_in_no_manifest_any_more_is_absent() {
        let mut node = Node::default();
        node.turn(
            &one(serde_json::json!({"replicas": 3, "command": ["x"]})),
            true,
        );
        let fewer = one(serde_json::json!({"replicas": 1, "command": ["x"]}));
        assert_eq!(node.turn(&fewer, true), ["web-1", "web-2"]);
        assert_eq!(node.turn(&BTreeMap::new(), true), ["web-0"]);
        assert!(node.instances.is_empty());
    }

    #[test]
    fn a_changed_template_reaches_one_after_the_other_and_other_changes_all_at_once() {
        let spec = |program: &str, published: bool| {
            one(serde_json::json!({
                "replicas": 3, "command": [program], "published": published,
            }))
        };
        let mut node = Node::default();
        node.turn(&spec("x", true), true);
        assert_eq!(node.turn(&spec("x", false), true).len(), 3);
        assert_eq!(node.turn(&spec("y", false), false), ["web-0"]);
        // The new one does not come up: the others stay, and it is said what they wait for.
        assert_eq!(node.turn(&spec("y", false), false), [""; 0]);
        assert_eq!(
            node.plan(&spec("y", false)).waiting,
            [
                "web-1 waits for its turn to be replaced",
                "web-2 waits for its turn to be replaced"
            ]
        );
        // It does not wait for itself when it is put right.
        assert_eq!(node.turn(&spec("z", false), true), ["web-0"]);
        assert_eq!(node.turn(&spec("z", false), true), ["web-1"]);
        assert_eq!(node.turn(&spec("z", false), true), ["web-2"]);
        assert_eq!(node.plan(&spec("z", false)), Plan::default());
    }

    #[test]
    fn order_and_labels_are_kept() {
        let wanted = services(&[
            (
                "api",
                serde_json::json!({"command": ["x"], "after": ["store"]}),
            ),
            (
                "store",
                serde_json::json!({"command": ["x"], "replicas": 1}),
            ),
            (
                "gpu",
                serde_json::json!({
                    "command": ["x"], "onePerNode": true,
                    "placement": {"nodeSelector": {"gpu": "yes"}},
                }),
            ),
        ]);
        let mut node = Node::default();
        assert_eq!(
            node.plan(&wanted).waiting,
            [
                "api-0 waits for store to be ready here",
                "gpu is for nodes with other labels"
            ]
        );
        assert_eq!(node.turn(&wanted, true), ["store-0"]);
        assert_eq!(node.turn(&wanted, true), ["api-0"]);
        node.labels.insert("gpu".to_owned(), "yes".to_owned());
        assert_eq!(node.turn(&wanted, true), ["gpu-0"]);
    }
}
