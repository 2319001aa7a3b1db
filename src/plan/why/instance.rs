//! Why an instance is as it is: whether it is wanted, has a node, and what became of it there.

use std::cmp::Reverse;

use super::{Cause, Health, Seen, cluster, node, placement::Placing, process, service};
use crate::{
    model::{
        Assignment, Desired, Instance, Name, ServiceSpec, Timestamp, event::Object,
        quantity::Period,
    },
    plan::{
        cluster::{Cluster, Seat, Service, Wish},
        placement, roster,
    },
};

/// The reason of one that waits for its turn in a rollout.
pub(super) const OUTDATED: &str = "Outdated";

/// Whether there is, or is to be, such an instance.
pub(super) fn is_known(cluster: &Cluster, who: &Instance) -> bool {
    let Some(service) = cluster.services().get(&who.service) else {
        return false;
    };
    let is_there = roster::places(service).any(|place| place.slot == who.slot);
    let is_wanted = match service.wish() {
        Wish::Run(object) if !object.spec.one_per_node => {
            (who.slot as usize) < service::replicas(&object.spec)
        }
        _ => false,
    };
    is_there || is_wanted
}

/// Why an instance is as it is; none for one that nothing is known of.
pub(super) fn of(seen: &Seen<'_>, who: &Instance) -> Option<Cause> {
    let service = seen.cluster.services().get(&who.service)?;
    let places = roster::places(service)
        .filter(|place| place.slot == who.slot && !roster::has_left(place.seat));
    let mut places: Vec<_> = places.collect();
    // By rights there is one place. The one that is to stay is what the question is about.
    places.sort_by_key(|place| {
        let replaced = place.seat.asked().is_some_and(|asked| asked.replaced);
        let is_live = seen.cluster.is_live(place.node);
        Reverse((roster::is_kept(place.seat), !replaced, is_live))
    });
    let mut causes = places
        .into_iter()
        .map(|place| on(seen, who, place.node, place.seat));
    match causes.next() {
        Some(main) => Some(main.because(causes)),
        None => is_known(seen.cluster, who).then(|| unplaced(seen, who, service, &[])),
    }
}

/// Why an instance is as it is on a node.
pub(super) fn on(seen: &Seen<'_>, who: &Instance, name: &Name, seat: &Seat) -> Cause {
    let about =
        |health, reason: &str, sentence: String| Cause::of_instance(who, health, reason, sentence);
    if let Some(problem) = seat.assignment.as_ref().and_then(|it| it.problem.as_ref()) {
        let sentence = format!(
            "what is asked of node {name} cannot be read, and the last that could be stays in \
                                force: {problem}"
        );
        let remedy = "a controller writes it anew; look who else writes into the store";
        return about(Health::Broken, "AssignmentUnreadable", sentence)
            .remedy(remedy)
            .because(cluster::troubles(seen));
    }
    if !seen.cluster.is_live(name) {
        return on_absent(seen, who, name, seat);
    }
    let Some(asked) = seat.asked() else {
        let sentence =
            format!("runs on node {name} although nothing asks for it: its assignment vanished");
        let remedy = format!(
            "apply the manifest of {0} to keep it, or `quaestor delete {0}`",
            who.service
        );
        return about(Health::Broken, "Orphaned", sentence)
            .remedy(remedy)
            .because(cluster::troubles(seen));
    };
    if asked.desired == Desired::Absent {
        return stopping(seen, who, name, seat);
    }
    if let Some(problem) = seat.state.as_ref().and_then(|it| it.problem.as_ref()) {
        let sentence =
            format!("what the agent of node {name} says of it cannot be read: {problem}");
        let remedy =
            format!("update this program, or restart the agent on {name}: it writes it anew");
        return about(Health::Broken, "StateUnreadable", sentence).remedy(remedy);
    }
    let Some(state) = seat.observed() else {
        let troubles = cluster::troubles(seen);
        let stock = node::stock(seen, name);
        let sentence = format!("is assigned to node {name}, whose agent has not taken it up yet");
        return about(Health::Waiting, "NotTakenUp", sentence)
            .because(troubles)
            .because(stock);
    };
    let cause = process::of(seen, who, asked, state);
    let old = (cause.health == Health::Fine)
        .then(|| behind(seen, who, asked))
        .flatten();
    match old {
        Some(old) => Cause {
            health: Health::Waiting,
            ..cause
        }
        .because([old]),
        None => cause,
    }
}

/// Of an instance whose node is away nothing is known.
fn on_absent(seen: &Seen<'_>, who: &Instance, name: &Name, seat: &Seat) -> Cause {
    let about = |health, reason: &str, sentence: String| {
        let absence = node::absence(seen, name);
        Cause::of_instance(who, health, reason, sentence)
            .because(absence)
            .because(cluster::troubles(seen))
    };
    let asked = seat.asked();
    if asked.is_some_and(|asked| asked.replaced) {
        let sentence = format!("has been replaced elsewhere, and may still run on node {name}");
        return about(Health::Waiting, "Replaced", sentence);
    }
    let spec = service::spec(seen, &who.service);
    let is_singleton = spec.map_or_else(
        || asked.is_some_and(|asked| asked.singleton),
        |spec| spec.singleton,
    );
    let since = node::away_since(seen, name);
    if !is_singleton {
        let sentence = "may or may not run: its node is away".to_owned();
        let until = replaced_at(spec, since);
        return about(Health::Broken, "NodeAway", sentence).until(until);
    }
    match seat.stops_within() {
        Some(bound) => {
            let patience = spec.and_then(|spec| spec.placement.replace_after);
            let patience = patience.map_or(bound, |patience| bound.max(patience.get()));
            let sentence = format!(
                "is a singleton on node {name}, which is away: it is started elsewhere once it is sure to have \
                 stopped by itself there (`onPartition: stop`), {} after the node was cut off",
                Period(bound)
            );
            about(Health::Waiting, "AwaitsSelfStop", sentence).until(since.map(|at| at + patience))
        }
        None => {
            let sentence = format!(
                "is a singleton that may still run on node {name}, which is away: it is not started twice, and so \
                 nowhere else"
            );
            let remedy = format!(
                "bring {name} back, or, if nothing runs there any more, `quaestor delete node {name}`. With \
                 `onPartition: stop` it would be replaced by itself"
            );
            about(Health::Broken, "MayStillRun", sentence).remedy(remedy)
        }
    }
}

/// When an instance is replaced elsewhere, where its manifest says.
fn replaced_at(spec: Option<&ServiceSpec>, since: Option<Timestamp>) -> Option<Timestamp> {
    let after = spec?.placement.replace_after?;
    Some(since? + after.get())
}

/// Why an instance ends.
fn stopping(seen: &Seen<'_>, who: &Instance, name: &Name, seat: &Seat) -> Cause {
    let state = seat.observed();
    let doing = state.map_or(String::new(), |state| match state.message.as_str() {
        "" => String::new(),
        message => format!(": {message}"),
    });
    let sentence = format!("is being stopped on node {name}{doing}");
    let cause = Cause::of_instance(who, Health::Waiting, "Stopping", sentence);
    cause.because(unwanted(seen, who, name))
}

/// Why an instance is not to be on a node.
fn unwanted(seen: &Seen<'_>, who: &Instance, name: &Name) -> Option<Cause> {
    let service = seen.cluster.services().get(&who.service)?;
    let about = |reason: &str, sentence: String| {
        let object = Object::Service(who.service.clone());
        Cause::new(object, Health::Fine, reason, sentence)
    };
    match service.wish() {
        Wish::Delete(tombstone) => {
            let cause = about("Deleted", "an operator has deleted it".to_owned());
            Some(cause.since(tombstone.deleted_at))
        }
        Wish::Run(object) => {
            let spec = &object.spec;
            let wanted = service::replicas(spec);
            if !spec.one_per_node && who.slot as usize >= wanted {
                return Some(about(
                    "ScaledDown",
                    format!("{wanted} instances are wanted"),
                ));
            }
            let node = seen.cluster.nodes().get(name)?;
            let objection = placement::objection(&spec.placement, node)?;
            let closed = node::closed(seen, name);
            let sentence = format!("node {name} does not take it any more: {objection}");
            Some(closed.unwrap_or_else(|| about("Unfit", sentence)))
        }
        Wish::Unreadable(_) | Wish::Vanished => None,
    }
}

/// What an instance on a node that is drained waits for.
pub(super) fn leaving(seen: &Seen<'_>, who: &Instance, name: &Name, seat: &Seat) -> Cause {
    let is_asked_to = seat
        .asked()
        .is_some_and(|asked| asked.desired == Desired::Absent);
    let now = on(seen, who, name, seat);
    if is_asked_to || !seen.cluster.is_live(name) {
        return now;
    }
    let held_up = service::held_up(seen, &who.service);
    let sentence = format!("still runs on node {name}, and waits for its turn to go elsewhere");
    Cause::of_instance(who, Health::Waiting, "WaitsToLeave", sentence).because(held_up)
}

/// That a newer revision than the one that is asked for is wanted.
fn behind(seen: &Seen<'_>, who: &Instance, asked: &Assignment) -> Option<Cause> {
    let service = seen.cluster.services().get(&who.service)?;
    let Wish::Run(object) = service.wish() else {
        return None;
    };
    let wanted = crate::plan::blueprint::Blueprint::new(object).revision_of(who.slot);
    if asked.revision == wanted {
        return None;
    }
    let sentence = format!("revision {wanted} is wanted, and comes when it is its turn");
    let cause = Cause::of_instance(who, Health::Waiting, OUTDATED, sentence);
    Some(cause.because(service::held_up(seen, &who.service)))
}

/// Why an instance has no node. `trail`: services whose state is being explained, of which nothing more is said.
pub(super) fn unplaced(
    seen: &Seen<'_>,
    who: &Instance,
    service: &Service,
    trail: &[&Name],
) -> Cause {
    let about =
        |health, reason: &str, sentence: &str| Cause::of_instance(who, health, reason, sentence);
    let Wish::Run(object) = service.wish() else {
        let cause = about(Health::Fine, "NotWanted", "is not to run");
        return cause.because(service::of(seen, &who.service, trail));
    };
    let troubles = cluster::troubles(seen);
    if let Some(first) = service::comes_after(seen, &object.spec) {
        let sentence = format!("waits until {first} has a ready instance (`after`)");
        let first = match trail.contains(&first) {
            true => None,
            false => service::of(seen, first, &[trail, &[&who.service]].concat())
                .or_else(|| Some(service::missing(first))),
        };
        let cause = about(Health::Waiting, "WaitsForOthers", &sentence);
        return cause.because(troubles).because(first);
    }
    match Placing::new(seen, &who.service, service, object).refusals(who.slot) {
        Some(refusals) => about(Health::Broken, "NoNode", "has no node: none takes it")
            .because(troubles)
            .because(refusals),
        None => {
            let sentence = "has no node yet, although one would take it";
            about(Health::Waiting, "NotPlacedYet", sentence).because(troubles)
        }
    }
}
