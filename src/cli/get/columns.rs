//! The tables of `quaestor get`, which `describe` shows as well.

use super::super::output::{age, or_dash, table};
use crate::{
    model::{ConditionStatus, Desired, Timestamp, Usage},
    operator::inventory::{EndpointInfo, InstanceInfo, Node, Service},
};

/// The conditions that do not hold, else what the service is.
pub(in crate::cli) fn summary(service: &Service) -> String {
    if service.deleted {
        return "Deleting".to_owned();
    }
    let broken = service
        .conditions
        .iter()
        .find(|found| found.status != ConditionStatus::True);
    match broken {
        // What is reported is of an older generation: no controller has seen this one.
        _ if service
            .generation
            .is_some_and(|applied| applied > service.observed_generation) =>
        {
            "Pending".to_owned()
        }
        Some(condition) => condition.reason.clone(),
        None if service.conditions.is_empty() => "Pending".to_owned(),
        // Nothing waits for it yet.
        None if service.paused => "Ready,Paused".to_owned(),
        None => "Ready".to_owned(),
    }
}

pub(super) fn services(items: &[Service]) -> String {
    let row = |item: &Service| {
        [
            item.name.to_string(),
            format!(
                "{}/{}",
                item.ready,
                item.replicas
                    .map_or("?".to_owned(), |wanted| wanted.to_string())
            ),
            item.updated.to_string(),
            item.generation
                .map_or("-".to_owned(), |generation| generation.to_string()),
            summary(item),
            or_dash(item.service_names.join(",")),
        ]
    };
    table(
        [
            "NAME",
            "READY",
            "UPDATED",
            "GENERATION",
            "STATUS",
            "FOUND AS",
        ],
        items.iter().map(row),
        "There are no services. `quaestor apply -f FILE` makes some.",
    )
}

/// What an instance is doing, in one word.
pub(in crate::cli) fn phase(item: &InstanceInfo) -> String {
    match item.phase {
        _ if item.external => if item.ready { "Healthy" } else { "Unhealthy" }.to_owned(),
        Some(phase) => format!("{phase:?}"),
        None if item.desired == Some(Desired::Absent) => "Stopping".to_owned(),
        None => "Assigned".to_owned(),
    }
}

/// The columns of an instance.
const INSTANCE: [&str; 9] = [
    "NAME", "NODE", "PHASE", "READY", "PID", "ENDPOINT", "RESTARTS", "AGE", "REASON",
];

pub(in crate::cli) fn instances(items: &[InstanceInfo], now: Timestamp) -> String {
    let rows = items.iter().map(|item| columns(item, now));
    table(INSTANCE, rows, "There are no instances.")
}

/// The same, with what each uses up.
pub(super) fn instances_wide(items: &[InstanceInfo], now: Timestamp) -> String {
    let headers = widened(INSTANCE, ["CPU", "MEMORY", "PROCESSES"]);
    let row = |item: &InstanceInfo| {
        let (cpu, memory) = match &item.usage {
            Some(used) => usage(used),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let processes = item.usage.map(|usage| usage.processes.to_string());
        widened(
            columns(item, now),
            [cpu, memory, or_dash(processes.unwrap_or_default())],
        )
    };
    table(headers, items.iter().map(row), "There are no instances.")
}

/// A row with more before its last column, which is the longest.
fn widened<T>(row: [T; 9], more: [T; 3]) -> [T; 12] {
    let [
        name,
        node,
        phase,
        ready,
        pid,
        endpoint,
        restarts,
        age,
        reason,
    ] = row;
    let [cpu, memory, processes] = more;
    [
        name, node, phase, ready, pid, endpoint, restarts, age, cpu, memory, processes, reason,
    ]
}

/// Processors and memory in use.
pub(in crate::cli) fn usage(usage: &Usage) -> (String, String) {
    let mebibytes = usage.memory >> 20;
    (format!("{:.2}", usage.cpu), format!("{mebibytes}MiB"))
}

fn columns(item: &InstanceInfo, now: Timestamp) -> [String; 9] {
    let endpoint = item
        .endpoint
        .as_ref()
        .map(|found| format!("{}:{}", found.host, found.port));
    [
        item.name.to_string(),
        item.node.to_string(),
        phase(item),
        if item.ready { "yes" } else { "no" }.to_owned(),
        item.pid.map_or("-".to_owned(), |pid| pid.to_string()),
        or_dash(endpoint.unwrap_or_default()),
        item.restarts.to_string(),
        age(item.started_at, now),
        or_dash(item.reason.clone()),
    ]
}

pub(super) fn nodes(items: &[Node], now: Timestamp) -> String {
    let row = |item: &Node| {
        let labels: Vec<String> = item
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        [
            item.name.to_string(),
            match &item.closed {
                Some(closed) => format!("{},{closed}", item.status),
                None => item.status.clone(),
            },
            or_dash(item.address.clone()),
            item.instances.to_string(),
            or_dash(item.version.clone()),
            age(item.started_at, now),
            or_dash(labels.join(",")),
        ]
    };
    table(
        [
            "NAME",
            "STATUS",
            "ADDRESS",
            "INSTANCES",
            "VERSION",
            "AGE",
            "LABELS",
        ],
        items.iter().map(row),
        "There are no nodes. `quaestor agent --node NAME` adds this host.",
    )
}

pub(super) fn endpoints(items: &[EndpointInfo]) -> String {
    let row = |item: &EndpointInfo| {
        [
            item.service.to_string(),
            item.instance.to_string(),
            format!("{}:{}", item.host, item.port),
            if item.ready { "yes" } else { "no" }.to_owned(),
            item.node.to_string(),
        ]
    };
    table(
        ["SERVICE", "INSTANCE", "ENDPOINT", "READY", "NODE"],
        items.iter().map(row),
        "There are no endpoints.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(deleted: bool, paused: bool, status: &str, reason: &str) -> Service {
        let conditions = serde_json::json!([{"type": "Ready", "status": status, "reason": reason,
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        Service {
            name: "a".parse().unwrap(),
            replicas: None,
            ready: 0,
            updated: 0,
            generation: None,
            deleted,
            paused,
            observed_generation: 1,
            conditions: serde_json::from_value(conditions).unwrap(),
            service_names: Vec::new(),
            labels: Default::default(),
        }
    }

    #[test]
    fn only_a_deleted_service_is_said_to_be_deleting() {
        let vanished = service(false, false, "Unknown", "SpecVanished");
        assert_eq!(summary(&vanished), "SpecVanished");
        // The controller has not reported the deletion yet.
        let deleted = service(true, false, "True", "AllReady");
        assert_eq!(summary(&deleted), "Deleting");
    }

    #[test]
    fn a_pause_is_told_also_where_nothing_waits() {
        let idle = service(false, true, "True", "AllReady");
        assert_eq!(summary(&idle), "Ready,Paused");
        let waiting = service(false, true, "False", "Paused");
        assert_eq!(summary(&waiting), "Paused");
        let resumed = service(false, false, "True", "AllReady");
        assert_eq!(summary(&resumed), "Ready");
    }
}
