//! The plan for a cluster: what the leader writes, and what it waits for.

use std::collections::BTreeMap;

use crate::{
    keys::Key,
    model::{
        Assignment, ClusterStatus, Desired, Moment, Name, NodeStatus, Revision, Route,
        ServiceStatus, Timestamp,
    },
};

use super::{cluster::Cluster, node::Node, overview, room::Room, scope::Scope, service};

/// What is to be written, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Each about one service or node. The writes of a step belong together, in their order.
    pub steps: Vec<Step>,
    /// What has to happen before more is planned.
    pub waiting: Vec<Waiting>,
    /// Services to be planned again at a time, though nothing may have changed.
    pub wakes: BTreeMap<Name, Moment>,
}

/// The writes about one service or node.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// `service worker`, `node a`.
    pub about: String,
    /// In the order in which they are to be made. Status comes last, so that it never runs ahead of
    /// what it reports.
    pub writes: Vec<Intent>,
}

/// A write, what it depends on, and why it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The key.
    pub key: Key,
    /// Its new value; none deletes it.
    pub value: Option<Value>,
    /// The mod-revision of the key that the write is based on; none: there is no such key.
    pub expects: Option<i64>,
    /// A key that must not exist, since its presence would be a reason not to write.
    pub unless: Option<Key>,
    /// Why, for people.
    pub cause: String,
}

/// What the leader writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// What a node is to run.
    Assignment(Box<Assignment>),
    /// What balancers are told.
    Route(Route),
    /// A template to remember.
    Revision(Box<Revision>),
    /// What is reported of a service.
    ServiceStatus(ServiceStatus),
    /// What is reported of a node.
    NodeStatus(NodeStatus),
    /// What is reported of the cluster as a whole.
    ClusterStatus(ClusterStatus),
}

/// Something that is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The service.
    pub service: Name,
    /// What is not done yet.
    pub what: String,
    /// What has to happen first.
    pub until: String,
}

impl Intent {
    /// What it decides, in words for the log; none where it only reports.
    pub fn decision(&self) -> Option<&'static str> {
        match (&self.key, &self.value) {
            (Key::Assignment(..), None) => Some("unassigned"),
            (Key::Assignment(..), Some(Value::Assignment(to))) if to.desired == Desired::Absent => {
                Some("to be stopped")
            }
            (Key::Assignment(..), Some(_)) if self.expects.is_none() => Some("assigned"),
            (Key::Assignment(..), Some(_)) => Some("assigned anew"),
            (Key::ServiceStatus(_) | Key::State(..), None) => Some("forgotten"),
            _ => None,
        }
    }
}

impl Plan {
    /// Every write.
    pub fn writes(&self) -> impl Iterator<Item = &Intent> {
        self.steps.iter().flat_map(|step| &step.writes)
    }
}

impl Value {
    /// The value as it is stored.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Assignment(value) => serde_json::to_vec(value),
            Self::Route(value) => serde_json::to_vec(value),
            Self::Revision(value) => serde_json::to_vec(value),
            Self::ServiceStatus(value) => serde_json::to_vec(value),
            Self::NodeStatus(value) => serde_json::to_vec(value),
            Self::ClusterStatus(value) => serde_json::to_vec(value),
        }
    }
}

/// Plans what `scope` names. `now` is what is shown as the time of a changed condition; decisions are
/// taken on the time of `cluster`.
pub fn plan(cluster: &Cluster, scope: &Scope, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    plan.steps.extend(about_cluster(cluster, now));
    if cluster.restored_from().is_some() {
        // What the store says may be of long ago.
        return plan;
    }
    let mut room = Room::new(cluster);
    for (name, service) in scope.services(cluster) {
        let service::Planned {
            writes,
            waiting,
            wake,
        } = service::plan(cluster, &mut room, name, service, now);
        if !writes.is_empty() {
            plan.steps.push(Step {
                about: format!("service {name}"),
                writes,
            });
        }
        plan.waiting.extend(waiting);
        plan.wakes.extend(wake.map(|at| (name.clone(), at)));
    }
    let moved = moved(&plan);
    let mut nodes: BTreeMap<&Name, &Node> = scope.nodes(cluster).into_iter().collect();
    let unknown = Node::default();
    for name in moved.keys() {
        nodes.insert(name, cluster.nodes().get(name).unwrap_or(&unknown));
    }
    for (name, node) in nodes {
        let assigned = node.assigned.len();
        let assigned = assigned.saturating_add_signed(moved.get(name).copied().unwrap_or(0));
        let status = overview::of_node(cluster, name, node, assigned, now);
        let stored = node.status.as_ref();
        let is_told = match (&status, stored) {
            (Some(status), Some(stored)) => stored.holds(status),
            (status, stored) => status.is_none() && stored.is_none(),
        };
        if is_told {
            continue;
        }
        let intent = Intent {
            key: Key::NodeStatus(name.clone()),
            value: status.map(Value::NodeStatus),
            expects: stored.map(|stored| stored.revision),
            unless: None,
            cause: "what is reported of the node changed".to_owned(),
        };
        plan.steps.push(Step {
            about: format!("node {name}"),
            writes: vec![intent],
        });
    }
    plan
}

/// What is to be reported of the cluster, if that has changed.
fn about_cluster(cluster: &Cluster, now: Timestamp) -> Option<Step> {
    let status = overview::of_cluster(cluster, now);
    let stored = cluster.status.as_ref();
    if stored.is_some_and(|stored| stored.holds(&status)) {
        return None;
    }
    let intent = Intent {
        key: Key::ClusterStatus,
        value: Some(Value::ClusterStatus(status)),
        expects: stored.map(|stored| stored.revision),
        unless: None,
        cause: "what is reported of the cluster changed".to_owned(),
    };
    Some(Step {
        about: "the cluster".to_owned(),
        writes: vec![intent],
    })
}

/// How many assignments each node gains by `plan`.
fn moved(plan: &Plan) -> BTreeMap<Name, isize> {
    let mut moved = BTreeMap::new();
    for intent in plan.writes() {
        if let Key::Assignment(node, _) = &intent.key {
            *moved.entry(node.clone()).or_default() += match (&intent.value, intent.expects) {
                (None, _) => -1,
                (Some(_), None) => 1,
                (Some(_), Some(_)) => continue,
            };
        }
    }
    moved
}

#[cfg(test)]
pub(super) mod tests;
