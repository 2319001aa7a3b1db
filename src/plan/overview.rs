//! What is reported of nodes, and of the cluster as a whole.

use crate::model::{
    ClusterStatus, Condition, ConditionStatus, Name, NodeStatus, Session, Timestamp,
};

use super::{
    cluster::{Cluster, Wish},
    conditions::{self, READY, count},
    node::Node,
};

/// The condition that not so many nodes are away that nothing is moved.
pub const NODES_PRESENT: &str = "NodesPresent";
/// The condition that no manifest is gone without a deletion.
pub const SPECS_PRESENT: &str = "SpecsPresent";
/// The condition that the store has not fallen back in time.
pub const STORE_IN_TIME: &str = "StoreInTime";
/// The condition of a node that it takes new instances.
pub const SCHEDULABLE: &str = "Schedulable";

/// The reason of a node whose instances are replaced elsewhere.
pub const LOST: &str = "Lost";

/// The status of a node with `assigned` instances; none for one that has been deleted and has none.
pub fn of_node(
    cluster: &Cluster,
    name: &Name,
    node: &Node,
    assigned: usize,
    now: Timestamp,
) -> Option<NodeStatus> {
    if node.session.is_none() && assigned == 0 && (node.is_deleted() || node.status.is_none()) {
        return None;
    }
    let before = node.status.as_ref().and_then(|s| s.value.as_ref());
    let conditions = before.map_or(&[][..], |status| &status.conditions);
    let (status, reason, message) = presence(cluster, name, node, conditions);
    let ready = conditions::since(conditions, (READY, status), (reason, message), now);
    let unreadable = node.spec.as_ref().and_then(|spec| spec.problem.as_ref());
    let (status, reason, message) = match (unreadable, node.closed()) {
        (Some(problem), _) => (
            ConditionStatus::Unknown,
            "SpecUnreadable",
            format!(
                "what is wanted of it cannot be read, and the last that could be stays in force: {problem}; \
                 cordon, drain or uncordon it once more"
            ),
        ),
        (None, None) => (
            ConditionStatus::True,
            "Open",
            "it takes new instances".to_owned(),
        ),
        (None, Some(why)) if !node.is_draining() => (
            ConditionStatus::False,
            "Cordoned",
            format!("{why}; what runs on it stays"),
        ),
        (None, Some(why)) => match assigned {
            0 => (
                ConditionStatus::False,
                "Drained",
                format!("{why}, and nothing is left on it"),
            ),
            left => (
                ConditionStatus::False,
                "Draining",
                format!("{why}; still on it: {left}"),
            ),
        },
    };
    let schedulable = conditions::since(conditions, (SCHEDULABLE, status), (reason, message), now);
    let known = |session: &Session| session.address.clone();
    let address = node.live().map(known);
    Some(NodeStatus {
        name: name.clone(),
        address: address
            .or_else(|| before.map(|before| before.address.clone()))
            .unwrap_or_default(),
        assigned: count(assigned),
        conditions: vec![ready, schedulable],
    })
}

/// Whether the agent is there, and what follows where it is not.
fn presence(
    cluster: &Cluster,
    name: &Name,
    node: &Node,
    before: &[Condition],
) -> (ConditionStatus, &'static str, String) {
    let unreadable = node.session.as_ref().and_then(|s| s.problem.as_deref());
    if let Some(problem) = unreadable {
        let message = format!("its agent's session cannot be read: {problem}");
        return (ConditionStatus::Unknown, "SessionUnreadable", message);
    }
    if node.live().is_some() {
        let message = "its agent is connected".to_owned();
        return (ConditionStatus::True, "Connected", message);
    }
    if node.is_deleted() {
        let message = "an operator has deleted it; what was assigned to it is given up".to_owned();
        return (ConditionStatus::False, "Deleted", message);
    }
    let was_lost = conditions::find(before, READY).is_some_and(|before| before.reason == LOST);
    if was_lost || cluster.has_lost(name) {
        let message = "its agent has been away for too long; its instances are replaced elsewhere";
        return (ConditionStatus::False, LOST, message.to_owned());
    }
    let message = match cluster.tally().is_mass_loss() {
        true => "its agent is not connected, nor are many others: nothing is moved",
        false => "its agent is not connected; its instances are replaced when that lasts too long",
    };
    (ConditionStatus::Unknown, "Disconnected", message.to_owned())
}

/// The status of the cluster as a whole.
pub fn of_cluster(cluster: &Cluster, now: Timestamp) -> ClusterStatus {
    let before = cluster
        .status
        .as_ref()
        .and_then(|stored| stored.value.as_ref());
    let conditions = before.map_or(&[][..], |status| &status.conditions);
    let (leader, since) = cluster.leader();
    let tally = cluster.tally();
    let vanished: Vec<Name> = (cluster.services().iter())
        .filter(|(_, service)| {
            let runs = service.seats.values().any(|seat| seat.assignment.is_some());
            matches!(service.wish(), Wish::Vanished) && runs
        })
        .map(|(name, _)| name.clone())
        .collect();
    let restored_from = cluster.restored_from();
    let nodes = match tally.is_mass_loss() {
        false => holds("Enough", "not so many nodes are away that nothing is moved"),
        true => broken(
            "MassLoss",
            format!(
                "{} of {} nodes are away: no instance is moved until some are back, or those that are gone \
                 for good are deleted",
                tally.away, tally.known
            ),
        ),
    };
    let specs = match vanished.len() {
        0 => holds("AllPresent", "no manifest is gone without a deletion"),
        n => broken(
            "Vanished",
            format!(
                "the manifests of {n} services are gone although nobody deleted them; their instances run \
                 on: apply them again, or run `quaestor cluster confirm vanished`"
            ),
        ),
    };
    let store = match restored_from {
        None => holds("InTime", "the store has not fallen back"),
        Some(from) => broken(
            "Restored",
            format!(
                "the store had reached revision {from} and has fallen below it: it was restored from a \
                 backup. Nothing is changed before `quaestor cluster confirm restore`"
            ),
        ),
    };
    let verdicts = [
        (NODES_PRESENT, nodes),
        (SPECS_PRESENT, specs),
        (STORE_IN_TIME, store),
    ];
    ClusterStatus {
        leader: leader.to_owned(),
        leading_since: Some(since),
        nodes: count(tally.known),
        nodes_away: count(tally.away),
        vanished,
        restored_from,
        conditions: verdicts
            .map(|(r#type, (status, reason, message))| {
                conditions::since(conditions, (r#type, status), (reason, message), now)
            })
            .to_vec(),
    }
}

type Verdict = (ConditionStatus, &'static str, String);

fn holds(reason: &'static str, message: &str) -> Verdict {
    (ConditionStatus::True, reason, message.to_owned())
}

fn broken(reason: &'static str, message: String) -> Verdict {
    (ConditionStatus::False, reason, message)
}
