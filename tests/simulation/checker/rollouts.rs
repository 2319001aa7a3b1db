//! Invariants of rollouts (I13): as many as the manifest asks for serve while another is replaced, and no more
//! stand-ins are started than it allows.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::history::{History, Version};
use crate::{cast::AGENTS, operators::budget};

/// The leader may act on what was true so long ago.
const NEWS: Duration = Duration::from_secs(10);

/// What is wrong with `value`, written to the assignment of `seat` (node and instance) at `at`: an instance
/// that serves is replaced while fewer others do than its manifest asks for, as far as the leader can know.
pub fn leaves_enough(
    history: &History,
    seat: &str,
    value: &Value,
    at: Duration,
) -> Option<(&'static str, String)> {
    let before = history.value(&format!("assign/{seat}"))?;
    let replaced = present(before) && present(value) && before["revision"] != value["revision"];
    let name = service(seat)?;
    let news = at.saturating_sub(NEWS);
    let state = format!("state/{seat}");
    // One that does not serve costs nobody anything, and the leader may not know yet that it does.
    let served = history.lasts(&state, news)
        && (history.in_force(&state, news)).all(|state| state["ready"] == true);
    if !replaced || !served {
        return None;
    }
    let objects = readable(history, name, news);
    let least = objects.map(|object| least(history, name, &object["spec"], news));
    let least = least.min()?;
    let states = history.all_below("state/");
    let others = states.filter(|other| {
        *other != seat && service(other) == Some(name) && serves(history, other, news)
    });
    let others = others.count() as u64;
    (others < least).then(|| {
        let what = format!("{seat} is replaced although only {others} others of {least} serve");
        ("I13", what)
    })
}

/// What is wrong with `value`, written to the assignment of `seat` at `at`: more instances are started than are
/// wanted and may stand in, as far as the leader can know.
pub fn starts_few(
    history: &History,
    seat: &str,
    value: &Value,
    at: Duration,
) -> Option<(&'static str, String)> {
    let before = history.value(&format!("assign/{seat}"));
    // What runs already is not started, but taken up again.
    let runs = history.value(&format!("state/{seat}")).is_some();
    if !present(value) || before.is_some_and(present) || runs {
        return None;
    }
    let name = service(seat)?;
    let news = at.saturating_sub(NEWS);
    let objects = readable(history, name, news);
    let wanted = objects.map(|object| match object["spec"]["onePerNode"] == true {
        true => AGENTS.len() as u64,
        false => object["spec"]["replicas"].as_u64().unwrap_or(1),
    });
    let wanted = wanted.max()?;
    let most = wanted + budget(name, wanted).surge;
    // One that moves is on two nodes until it serves where it is to be; one whose node was lost has its
    // successor elsewhere, and is not started again.
    let assigned = history.below("assign/").filter(|(other, value)| {
        service(other) == Some(name) && present(value) && value["replaced"] != true
    });
    let assigned = assigned.map(|(other, _)| instance(other));
    let instances: BTreeSet<&str> = assigned.chain([instance(seat)]).collect();
    let count = instances.len() as u64;
    (count > most).then(|| {
        let what =
            format!("{seat} is started as number {count}; {wanted} are wanted, at most {most}");
        ("I13", what)
    })
}

/// So many have to serve, at least, as `spec` says.
fn least(history: &History, name: &str, spec: &Value, news: Duration) -> u64 {
    let wanted = match spec["onePerNode"] == true {
        // What becomes of a node that is away is not known: the others go on without it.
        true => {
            let assigned = history.below("assign/");
            let assigned = assigned.filter(|(seat, value)| {
                let node = seat.split('/').next().unwrap_or_default();
                let present = service(seat) == Some(name) && present(value);
                present && history.lasts(&format!("session/{node}"), news)
            });
            assigned.count() as u64
        }
        false => spec["replicas"].as_u64().unwrap_or(1),
    };
    wanted.saturating_sub(budget(name, wanted).unavailable)
}

/// Whether the instance served at some time since `news`, by the template that it is to have.
fn serves(history: &History, seat: &str, news: Duration) -> bool {
    let mut assignments = history.in_force(&format!("assign/{seat}"), news).peekable();
    // Somebody may have deleted its assignment, which tells nothing of the instance.
    let adopted = assignments.peek().is_none();
    let revisions: Vec<&Value> = assignments
        .filter(|value| present(value))
        .map(|value| &value["revision"])
        .collect();
    let mut states = history.in_force(&format!("state/{seat}"), news);
    states.any(|state| {
        let ready = state["ready"] == true && state["settling"] != true;
        let wanted = adopted || revisions.contains(&&state["revision"]);
        wanted && (ready || state["phase"] == "Completed")
    })
}

fn present(assignment: &Value) -> bool {
    assignment["desired"] == "present"
}

/// The specs of a service since `news`. While one cannot be read the last one that could stays in force.
fn readable<'a>(
    history: &'a History,
    name: &str,
    news: Duration,
) -> impl Iterator<Item = &'a Value> + use<'a> {
    let versions = history.versions(&format!("spec/service/{name}"));
    let readable = |value: &Value| value["spec"].is_object();
    let (old, new) = versions.split_at(versions.partition_point(|version| version.at <= news));
    let values = |versions: &'a [Version]| versions.iter().map(|version| version.value.as_ref());
    let last = values(old).flatten().rev().find(|value| readable(value));
    last.into_iter()
        .chain(values(new).flatten().filter(move |value| readable(value)))
}

/// The instance of a seat.
fn instance(seat: &str) -> &str {
    seat.rsplit('/').next().unwrap_or_default()
}

/// The service of a seat.
fn service(seat: &str) -> Option<&str> {
    let (service, _) = instance(seat).rsplit_once('-')?;
    Some(service)
}
