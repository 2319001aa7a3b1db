//! What holds once the faults have stopped and the spec rests (L1): what runs is what is wanted, and
//! everybody says so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    answers::{self, Place},
    history::{History, version_of},
};
use crate::{
    cast::{AGENTS, Cast},
    processes::{Record, Table},
};

/// What is not yet as it is to be; none: all is.
pub fn missing(history: &History, table: &Table, cast: &Cast, names: &[String]) -> Option<String> {
    let living = table.living();
    let mut claimed = BTreeSet::new();
    for (service, spec) in history.below("spec/service/") {
        if let Some(missing) = service_missing(history, &living, service, spec, &mut claimed) {
            return Some(format!("{service}: {missing}"));
        }
    }
    if let Some(extra) = living.iter().find(|record| !claimed.contains(&record.pid)) {
        return Some(format!(
            "process {} of {} is wanted by nobody",
            extra.pid, extra.instance
        ));
    }
    for prefix in ["assign/", "state/"] {
        let extra = history.below(prefix).find(|(key, _)| {
            let instance = key.rsplit('/').next().unwrap_or_default();
            let service = instance.rsplit_once('-').map_or("", |(service, _)| service);
            history.value(&format!("spec/service/{service}")).is_none()
        });
        if let Some((key, _)) = extra {
            return Some(format!("{prefix}{key} is of no service"));
        }
    }
    for prefix in ["route/", "status/service/"] {
        let extra = history
            .below(prefix)
            .find(|(service, _)| history.value(&format!("spec/service/{service}")).is_none());
        if let Some((key, _)) = extra {
            return Some(format!("{prefix}{key} is of no service"));
        }
    }
    let ready = answers::ready(history);
    for (_, balancer) in cast.answering() {
        for name in names {
            let Ok(answer) = balancer.directory.random(name, usize::MAX, 0) else {
                return Some(format!(
                    "the balancer on 10.0.0.{} is not synced",
                    balancer.host
                ));
            };
            let answer: BTreeSet<Place> = answer
                .iter()
                .map(|endpoint| (endpoint.host().to_owned(), endpoint.port()))
                .collect();
            let wanted = ready.get(name).cloned().unwrap_or_default();
            if answer != wanted {
                return Some(format!(
                    "the balancer on 10.0.0.{} says {answer:?} for {name}, ready are {wanted:?}",
                    balancer.host
                ));
            }
        }
    }
    None
}

/// What is to run: by the spec, or by the template that came back when the spec's failed. Faults fail good ones
/// as well, and what failed is not tried again by itself.
fn version_in_force(history: &History, service: &str, object: &Value) -> Option<u64> {
    let status = history.value(&format!("status/service/{service}"));
    let failed = status.map(|status| &status["rolledBack"]);
    let failed = failed.filter(|failed| failed["generation"] == object["generation"]);
    match failed.and_then(|failed| failed["to"].as_str()) {
        Some(to) if object["spec"]["rollout"]["autoRollback"] == true => {
            version_of(&history.value(&format!("revision/{service}/{to}"))?["spec"])
        }
        _ => version_of(&object["spec"]),
    }
}

fn service_missing(
    history: &History,
    living: &[Record],
    service: &str,
    object: &Value,
    claimed: &mut BTreeSet<u32>,
) -> Option<String> {
    let Some(version) = version_in_force(history, service, object) else {
        return Some("its spec cannot be read".to_owned());
    };
    let wanted = match object["spec"]["onePerNode"] == true {
        true => AGENTS.len() as u64,
        false => object["spec"]["replicas"].as_u64().unwrap_or(1),
    };
    let mut assigned: BTreeMap<String, String> = BTreeMap::new();
    for (key, assignment) in history.below("assign/") {
        let (node, instance) = key.split_once('/')?;
        if instance
            .rsplit_once('-')
            .is_none_or(|(of, _)| of != service)
        {
            continue;
        }
        if assignment["desired"] != "present" {
            return Some(format!("{key} is still to be stopped"));
        }
        if version_of(&assignment["run"]["process"]) != Some(version) {
            return Some(format!("{key} is not of version {version}"));
        }
        if assigned
            .insert(instance.to_owned(), node.to_owned())
            .is_some()
        {
            return Some(format!("{instance} is assigned twice"));
        }
        let state = history.value(&format!("state/{key}"));
        let Some(state) = state.filter(|state| state["ready"] == true) else {
            return Some(format!("{key} is not ready: {state:?}"));
        };
        let found: Vec<&Record> = living
            .iter()
            .filter(|record| record.instance == instance)
            .collect();
        match found[..] {
            [record] if record.node == node && record.version == version && !record.hung => {
                if state["pid"] != record.pid {
                    return Some(format!(
                        "{key} reports pid {}, not {}",
                        state["pid"], record.pid
                    ));
                }
                claimed.insert(record.pid);
            }
            _ => {
                return Some(format!(
                    "{key} should run once, at version {version}: {found:?}"
                ));
            }
        }
    }
    if assigned.len() as u64 != wanted {
        return Some(format!(
            "{} of {wanted} instances are assigned",
            assigned.len()
        ));
    }
    let status = history.value(&format!("status/service/{service}"))?;
    let ready = status["conditions"].as_array().into_iter().flatten();
    let is_ready = ready
        .clone()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    if status["observedGeneration"] != object["generation"]
        || status["ready"] != wanted
        || !is_ready
    {
        return Some(format!("its status says {status}"));
    }
    let route = history.value(&format!("route/{service}"));
    if route.is_none_or(|route| route["generation"] != object["generation"]) {
        return Some(format!("its route says {route:?}"));
    }
    None
}
