//! Why a node is as it is: whether its agent is there, and whether it takes instances.

use super::{Cause, Health, Seen, cluster, counted, folded, instance};
use crate::{
    model::{Condition, ConditionStatus, Instance, Name, Timestamp, event::Object},
    plan::{
        cluster::Seat,
        conditions::{self, READY},
        node::Node,
        overview::{LOST, SCHEDULABLE},
    },
};

/// Why a node is as it is; none for one that nothing is known of.
pub(super) fn of(seen: &Seen<'_>, name: &Name) -> Option<Cause> {
    let node = seen.cluster.nodes().get(name)?;
    if let Some(absence) = absence(seen, name) {
        let troubles = cluster::troubles(seen);
        return Some(absence.because(troubles));
    }
    let seats = seats(seen, name, node);
    let ready = (seats.iter())
        .filter(|(_, seat)| seat.observed().is_some_and(|state| state.ready))
        .count();
    let ready = format!(
        "{ready} of {} on it ready",
        counted(seats.len(), "instance")
    );
    if let Some(closed) = closed(seen, name) {
        let is_draining = node.is_draining();
        let left = match (is_draining, seats.len()) {
            (true, 0) => "nothing is left on it".to_owned(),
            (true, left) => format!("{} still to leave it", counted(left, "instance")),
            (false, _) => ready,
        };
        let because = seats.iter().map(|(who, seat)| match is_draining {
            true => instance::leaving(seen, who, name, seat),
            false => instance::on(seen, who, name, seat),
        });
        let because = because.filter(|cause| cause.health != Health::Fine);
        let health = match is_draining && !seats.is_empty() {
            true => Health::Waiting,
            false => closed.health,
        };
        let sentence = format!("{}; {left}", closed.sentence);
        let troubles = cluster::troubles(seen);
        return Some(
            Cause {
                sentence,
                health,
                ..closed
            }
            .because(troubles)
            .because(folded(because)),
        );
    }
    let session = node.live()?;
    let others = seats
        .iter()
        .map(|(who, seat)| instance::on(seen, who, name, seat));
    let others = folded(others.filter(|cause| cause.health != Health::Fine));
    let cause = stock(seen, name).unwrap_or_else(|| {
        let sentence = format!(
            "its agent ({}) is connected, and it takes new instances; {ready}",
            session.version
        );
        let cause = Cause::new(
            Object::Node(name.clone()),
            Health::Fine,
            "Connected",
            sentence,
        );
        cause.since(session.started_at)
    });
    let troubles = cluster::troubles(seen);
    Some(cause.because(troubles).because(others))
}

/// What is on a node and has not left it.
fn seats<'a>(seen: &Seen<'a>, name: &Name, node: &Node) -> Vec<(Instance, &'a Seat)> {
    let cluster = seen.cluster;
    let seat = |who: &Instance| {
        let service = cluster.services().get(&who.service)?;
        let seat = service.seats.get(&(who.slot, name.clone()))?;
        Some((who.clone(), seat))
    };
    let seats = node.assigned.iter().filter_map(seat);
    seats
        .filter(|(_, seat)| !crate::plan::roster::has_left(seat))
        .collect()
}

/// Why nothing can be asked of a node; none where its agent is there.
pub(super) fn absence(seen: &Seen<'_>, name: &Name) -> Option<Cause> {
    let object = || Object::Node(name.clone());
    let Some(node) = seen.cluster.nodes().get(name) else {
        let cause = Cause::new(
            object(),
            Health::Broken,
            "NoSuchNode",
            "there is no such node",
        );
        return Some(cause.remedy("`quaestor get nodes` lists them"));
    };
    if let Some(problem) = node.session.as_ref().and_then(|it| it.problem.as_ref()) {
        let sentence = format!("its agent's session cannot be read: {problem}");
        let cause = Cause::new(object(), Health::Broken, "SessionUnreadable", sentence);
        return Some(cause.remedy(format!(
            "restart the agent on {name}: it writes its session anew"
        )));
    }
    if node.live().is_some() {
        return None;
    }
    if node.is_deleted() {
        let sentence = "an operator has deleted it, and what was assigned to it is given up";
        return Some(Cause::new(object(), Health::Fine, "Deleted", sentence));
    }
    let ready = condition(node, READY).filter(|it| it.status != ConditionStatus::True);
    let is_lost = ready.is_some_and(|it| it.reason == LOST);
    let (reason, sentence) = match (ready, is_lost) {
        (_, true) => (
            "NodeLost",
            "its agent has been away for so long that its instances are replaced elsewhere",
        ),
        (Some(_), false) => (
            "AgentAway",
            "its agent is not connected: nothing is known of what runs there, and nothing is moved yet",
        ),
        (None, false) if node.is_known() => (
            "AgentAway",
            "its agent is not connected, and no controller has said so yet",
        ),
        (None, false) => ("NeverSeen", "no agent of that name has ever been connected"),
    };
    let remedy = format!(
        "look whether host {name} is up and reaches the store, and whether its agent runs: `systemctl status \
         quaestor-agent` there. If it is gone for good: `quaestor delete node {name}`"
    );
    let cause = Cause::new(object(), Health::Broken, reason, sentence);
    Some(
        cause
            .since(ready.map(|it| it.last_transition_time))
            .remedy(remedy),
    )
}

/// Why a node takes no new instances although its agent is there; none where it does.
pub(super) fn closed(seen: &Seen<'_>, name: &Name) -> Option<Cause> {
    let node = seen.cluster.nodes().get(name)?;
    let why = node.closed()?;
    let reason = match node.is_draining() {
        true => "Drained",
        false => "Cordoned",
    };
    let closing = node.closing();
    let by = closing.map_or(String::new(), |closing| format!(", by {}", closing.by));
    let since = closing.map(|closing| closing.at).or_else(|| {
        let told = condition(node, SCHEDULABLE)?;
        (told.status == ConditionStatus::False).then_some(told.last_transition_time)
    });
    let cause = Cause::new(
        Object::Node(name.clone()),
        Health::Fine,
        reason,
        format!("{why}{by}"),
    );
    let remedy = format!("`quaestor uncordon {name}` lets it take instances again");
    Some(cause.since(since).remedy(remedy))
}

/// That an agent has just come.
pub(super) fn stock(seen: &Seen<'_>, name: &Name) -> Option<Cause> {
    let session = seen.cluster.nodes().get(name)?.live()?;
    let sentence = "its agent has just come, and looks at what runs before it starts anything";
    let cause = Cause::new(
        Object::Node(name.clone()),
        Health::Waiting,
        "TakesStock",
        sentence,
    );
    (!session.reconciled).then(|| cause.since(session.started_at))
}

/// Since when the agent of a node is away, as far as a controller has said.
pub(super) fn away_since(seen: &Seen<'_>, name: &Name) -> Option<Timestamp> {
    let ready = condition(seen.cluster.nodes().get(name)?, READY)?;
    (ready.status != ConditionStatus::True).then_some(ready.last_transition_time)
}

fn condition<'a>(node: &'a Node, r#type: &str) -> Option<&'a Condition> {
    let status = node.status.as_ref()?.value.as_ref()?;
    conditions::find(&status.conditions, r#type)
}
