//! Invariants of single writes: who may write what (I8), under which right (I7), saying what (I15); and that
//! nothing is moved while most nodes are away (I12).

use std::time::Duration;

use serde_json::Value;

use super::{
    history::{History, Version},
    rollouts,
};
use crate::cast::{AGENTS, Cast, Role, node as node_of};

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
    if let (Some(Role::Controller), Some(seat), None) =
        (&role, key.strip_prefix("state/"), &version.value)
    {
        return gives_up_few(history, seat, version);
    }
    if let (Some(seat), Some(value)) = (key.strip_prefix("assign/"), &version.value) {
        return rollouts::leaves_enough(history, seat, value, version.at)
            .or_else(|| rollouts::starts_few(history, seat, value, version.at));
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
                || (below("state/") && version.value.is_none())
                || below("route/")
                || below("status/")
                || below("revision/")
                || below("event/controller/")
                || key == "leader"
                || key == "meta/identity"
        }
        Some(Role::Agent(node)) => {
            below(&format!("state/{node}/"))
                || below(&format!("event/agent/{node}/"))
                || key == format!("load/{node}")
                || key == format!("session/{node}")
        }
        Some(Role::Balancer) => below("balancer/"),
        Some(Role::Client) => false,
        None => {
            let leased = ["session/", "load/", "event/", "balancer/"]
                .into_iter()
                .any(below);
            version.value.is_none() && (leased || key == "leader")
        }
    }
}

/// I12: what a node has is given up only while the node is away, and most others are not.
fn gives_up_few(
    history: &History,
    seat: &str,
    version: &Version,
) -> Option<(&'static str, String)> {
    let (node, _) = seat.split_once('/')?;
    let away = |node: &str| history.value(&format!("session/{node}")).is_none();
    let nodes = AGENTS.map(node_of);
    let missing = nodes.iter().filter(|node| away(node)).count();
    // Of what has come back in the last moments the leader may not know yet, but the store does.
    let recent = |node: &String| {
        let versions = history.versions(&format!("session/{node}"));
        versions
            .last()
            .is_some_and(|last| last.at + NEWS >= version.at)
    };
    let sure = nodes
        .iter()
        .filter(|node| away(node) && !recent(node))
        .count();
    if !away(node) {
        return Some((
            "I12",
            format!("{seat} is given up although its node is there"),
        ));
    }
    (sure * 100 >= nodes.len() * 55).then(|| {
        (
            "I12",
            format!(
                "{seat} is given up while {missing} of {} nodes are away",
                nodes.len()
            ),
        )
    })
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
