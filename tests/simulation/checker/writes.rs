//! Invariants of single writes: who may write what (I8), under which right (I7), saying what (I15); and
//! that a rollout leaves enough available (I13).

use std::time::Duration;

use serde_json::Value;

use super::history::{History, Version};
use crate::cast::{Cast, Role};

/// The leader may act on what was true so long ago.
const NEWS: Duration = Duration::from_secs(10);

/// What is wrong with a write, as (invariant, words). `history` does not hold it yet.
pub fn check(
    history: &History,
    cast: &Cast,
    key: &str,
    version: &Version,
) -> Option<(&'static str, String)> {
    let role = version.by.and_then(|program| cast.role(program));
    let who = || match (&role, version.by) {
        (Some(role), Some(program)) => format!("{role:?} (program {program})"),
        _ => "nobody (a lease ended)".to_owned(),
    };
    if !may_write(role.as_ref(), key, version) {
        let how = if version.value.is_some() {
            "wrote"
        } else {
            "deleted"
        };
        return Some((
            "I8",
            format!("{} {how} {key} at revision {}", who(), version.revision),
        ));
    }
    let fence = match &role {
        Some(Role::Controller) if key != "leader" && key != "meta/identity" => "leader".to_owned(),
        Some(Role::Agent(node)) if key != format!("session/{node}") => format!("session/{node}"),
        _ => String::new(),
    };
    if !fence.is_empty() {
        let holder = history.current(&fence).and_then(|fence| fence.by);
        if holder != version.by {
            return Some((
                "I7",
                format!(
                    "{} wrote {key} at revision {} while {fence} was held by program {holder:?}",
                    who(),
                    version.revision
                ),
            ));
        }
    }
    if let (Some(seat), Some(value)) = (key.strip_prefix("assign/"), &version.value) {
        return leaves_enough(history, seat, value, version);
    }
    let service = key.strip_prefix("status/service/")?;
    reports_truly(history, service, version.value.as_ref()?)
}

fn may_write(role: Option<&Role>, key: &str, version: &Version) -> bool {
    let below = |prefix: &str| key.starts_with(prefix);
    match role {
        Some(Role::Operator) => below("spec/"),
        Some(Role::Hand) => true,
        Some(Role::Controller) => {
            below("assign/")
                || below("route/")
                || below("status/")
                || below("revision/")
                || key == "leader"
                || key == "meta/identity"
        }
        Some(Role::Agent(node)) => {
            below(&format!("state/{node}/"))
                || key == format!("load/{node}")
                || key == format!("session/{node}")
        }
        Some(Role::Balancer | Role::Client) => false,
        None => version.value.is_none() && (below("session/") || below("load/") || key == "leader"),
    }
}

/// I15: no status speaks of a generation that never was, or of an older one than before.
fn reports_truly(
    history: &History,
    service: &str,
    status: &Value,
) -> Option<(&'static str, String)> {
    let observed = status["observedGeneration"].as_u64()?;
    let generations = |key: String| {
        let versions = history.versions(&key).iter();
        versions
            .filter_map(|version| version.value.as_ref()?["generation"].as_u64())
            .max()
    };
    let highest = generations(format!("spec/service/{service}"))
        .max(generations(format!("spec/deleted/{service}")))
        .unwrap_or(0);
    if observed > highest {
        return Some((
            "I15",
            format!("status of {service} observed generation {observed}, the highest is {highest}"),
        ));
    }
    let before = history.value(&format!("status/service/{service}"));
    let before = before
        .and_then(|status| status["observedGeneration"].as_u64())
        .unwrap_or(0);
    (observed < before).then(|| {
        (
            "I15",
            format!("observedGeneration of {service} fell from {before} to {observed}"),
        )
    })
}

/// I13: an instance that serves is replaced only while as many others do as its manifest asks. Of what has
/// become of them in the last seconds the leader may not know yet.
fn leaves_enough(
    history: &History,
    seat: &str,
    value: &Value,
    version: &Version,
) -> Option<(&'static str, String)> {
    let present = |value: &Value| value["desired"] == "present";
    let before = history.value(&format!("assign/{seat}"))?;
    let replaced = present(before) && present(value) && before["revision"] != value["revision"];
    // One that does not run yet costs nobody anything.
    if !replaced || history.value(&format!("state/{seat}"))?["ready"] != true {
        return None;
    }
    let service = |seat: &str| {
        let instance = seat.rsplit('/').next().unwrap_or_default();
        instance
            .rsplit_once('-')
            .map(|(service, _)| service.to_owned())
    };
    let name = service(seat)?;
    let spec = &history.value(&format!("spec/service/{name}"))?["spec"];
    let siblings = || {
        let all = history.below("assign/");
        all.filter(|(other, value)| service(other) == service(seat) && present(value))
    };
    let wanted = match spec["onePerNode"] == true {
        true => siblings().count() as u64,
        false => spec["replicas"].as_u64().unwrap_or(1),
    };
    let least = wanted.saturating_sub(most_unavailable(&spec["rollout"], wanted));
    let serves = |seat: &str, assignment: &Value| {
        let states = history.versions(&format!("state/{seat}"));
        let settled = |state: &Value| {
            let ready = state["ready"] == true && state["settling"] != true;
            state["revision"] == assignment["revision"] && (ready || state["phase"] == "Completed")
        };
        states.iter().enumerate().any(|(index, state)| {
            let until = states.get(index + 1).map(|next| next.at);
            until.is_none_or(|until| until + NEWS >= version.at)
                && state.value.as_ref().is_some_and(settled)
        })
    };
    let others =
        siblings().filter(|(other, assignment)| *other != seat && serves(other, assignment));
    let others = others.count() as u64;
    (others < least).then(|| {
        (
            "I13",
            format!("{seat} is replaced although only {others} others of {least} serve"),
        )
    })
}

/// `rollout.maxUnavailable` of `wanted`.
fn most_unavailable(rollout: &Value, wanted: u64) -> u64 {
    let number = |field: &str, otherwise: u64| match &rollout[field] {
        Value::String(part) => {
            let part: u64 = part.trim_end_matches('%').parse().unwrap_or(0);
            (wanted * part, 100)
        }
        value => (value.as_u64().unwrap_or(otherwise), 1),
    };
    let (unavailable, of) = number("maxUnavailable", 1);
    let (surge, _) = number("maxSurge", 0);
    (unavailable / of).max(u64::from(surge == 0))
}
