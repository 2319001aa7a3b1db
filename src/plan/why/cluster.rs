//! What is so of the cluster as a whole, and holds up everything in it.

use super::{Cause, Health, Seen, counted};
use crate::{
    model::{ClusterStatus, Condition, ConditionStatus, event::Object},
    plan::{
        conditions,
        overview::{NODES_PRESENT, STORE_IN_TIME},
    },
};

/// Why the cluster is as it is.
pub(super) fn of(seen: &Seen<'_>) -> Cause {
    let troubles = troubles(seen);
    let leader = status(seen).filter(|_| seen.led);
    let since = leader.and_then(|status| status.leading_since);
    let tally = seen.cluster.tally();
    let services = counted(seen.cluster.services().len(), "service");
    let nodes = counted(tally.known, "node");
    let leader = leader.map_or(String::new(), |status| format!("{} leads; ", status.leader));
    let sentence = format!("{leader}{services}, {nodes}, {} of them away", tally.away);
    let health = troubles.iter().map(|cause| cause.health).min();
    let health = health.unwrap_or_default();
    let reason = match health {
        Health::Fine => "Fine",
        Health::Waiting | Health::Broken => "Impaired",
    };
    Cause::new(Object::Cluster, health, reason, sentence)
        .since(since)
        .because(troubles)
}

/// What keeps the whole cluster from doing what is wanted.
pub(super) fn troubles(seen: &Seen<'_>) -> Vec<Cause> {
    [
        full(seen),
        restored(seen),
        leaderless(seen),
        mass_loss(seen),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The store takes no writes.
fn full(seen: &Seen<'_>) -> Option<Cause> {
    let sentence = "the store is full (NOSPACE): nothing can be written, so that nothing is planned, and what is \
                    shown of instances may be of before";
    let remedy = "compact and defragment etcd, or raise its --quota-backend-bytes; then run `etcdctl alarm disarm`. \
                  `quaestor doctor` shows how full it is";
    let cause = Cause::new(Object::Cluster, Health::Broken, "StoreFull", sentence);
    seen.full.then(|| cause.remedy(remedy))
}

/// Nobody plans.
fn leaderless(seen: &Seen<'_>) -> Option<Cause> {
    if seen.led {
        return None;
    }
    let last = status(seen).filter(|status| !status.leader.is_empty());
    let last = last.map_or(String::new(), |status| {
        format!("; {} led last", status.leader)
    });
    let sentence = format!(
        "no controller leads{last}: what runs goes on and is restarted where it is, and nothing else is done"
    );
    let remedy = "start one: `quaestor controller`, or `systemctl start quaestor-controller` where it is installed";
    let cause = Cause::new(Object::Cluster, Health::Broken, "NoController", sentence);
    Some(cause.remedy(remedy))
}

/// The store was restored from a backup.
fn restored(seen: &Seen<'_>) -> Option<Cause> {
    let condition = broken(seen, STORE_IN_TIME)?;
    let cause = Cause::new(
        Object::Cluster,
        Health::Broken,
        &condition.reason,
        condition.message.clone(),
    );
    let remedy = "look whether what the store says is what is wanted; then `quaestor cluster confirm restore`";
    Some(cause.since(condition.last_transition_time).remedy(remedy))
}

/// So many nodes are away that nothing is moved.
fn mass_loss(seen: &Seen<'_>) -> Option<Cause> {
    let tally = seen.cluster.tally();
    if !tally.is_mass_loss() {
        return None;
    }
    let sentence = format!(
        "{} of {} nodes are away: no instance is moved while it may be the network or the store that fails",
        tally.away, tally.known
    );
    let since = broken(seen, NODES_PRESENT).map(|condition| condition.last_transition_time);
    let cause = Cause::new(Object::Cluster, Health::Broken, "MassLoss", sentence);
    let remedy = "bring nodes back, or `quaestor delete node NAME` those that are gone for good";
    Some(cause.since(since).remedy(remedy))
}

fn status<'a>(seen: &Seen<'a>) -> Option<&'a ClusterStatus> {
    seen.cluster.status.as_ref()?.value.as_ref()
}

/// A condition that does not hold.
fn broken<'a>(seen: &Seen<'a>, r#type: &str) -> Option<&'a Condition> {
    let condition = conditions::find(&status(seen)?.conditions, r#type)?;
    (condition.status == ConditionStatus::False).then_some(condition)
}
