//! Events of a whole cluster on a real etcd: what is recorded, by whom, how it is counted and shown.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use support::{
    cluster::{Cluster, Kind, demo_workers, demo_workers_at},
    eventually,
    ports::free_range,
    signal,
};

/// The events of an object, by when they happened last.
fn events(cluster: &Cluster, object: &str) -> Vec<Value> {
    let text = cluster.ok(&["get", "events", "--for", object, "-o", "json"]);
    serde_json::from_str(&text).unwrap()
}

fn find<'a>(events: &'a [Value], reason: &str) -> Option<&'a Value> {
    events.iter().find(|event| event["reason"] == reason)
}

#[test]
fn starts_exits_and_restarts_are_told_with_cause_revision_and_count() {
    let cluster = Cluster::start(Kind::Etcd, &demo_workers(1, ""));
    for kills in 1..=2 {
        let instance = cluster.await_ready("worker", 1).remove(0);
        eventually("the start is told", || {
            find(&events(&cluster, "worker-0"), "Ready").is_some()
        });
        signal(instance.pid.unwrap(), "KILL");
        eventually("the end is counted", || {
            let events = events(&cluster, "worker-0");
            find(&events, "Exited").is_some_and(|event| event["count"] == kills)
                && find(&events, "Restarted").is_some_and(|event| event["count"] == kills)
        });
    }
    let events = events(&cluster, "worker-0");
    let exited = find(&events, "Exited").unwrap();
    assert_eq!(exited["message"], "ended by signal 9 (SIGKILL)");
    assert_eq!(exited["warning"], true);
    assert_eq!(exited["object"], "instance/worker-0");
    assert_ne!(exited["revision"], Value::Null);
    assert!(
        exited["by"].as_str().unwrap().starts_with("agent "),
        "{exited}"
    );
    let assigned = find(&events, "Assigned").unwrap();
    assert!(
        assigned["by"].as_str().unwrap().starts_with("controller "),
        "{assigned}"
    );
    assert_ne!(assigned["message"], "");

    let page = cluster.ok(&["describe", "service", "worker"]);
    let timeline = page.split("Events:").nth(1).unwrap();
    for word in ["TIMES", "instance/worker-0", "! Exited", "SIGKILL"] {
        assert!(timeline.contains(word), "{page}");
    }
}

#[test]
fn who_leads_and_what_becomes_of_nodes_and_services_is_told() {
    let (first, last) = free_range(2);
    let port = format!("range: {first}-{last}");
    let cluster = Cluster::start(Kind::Etcd, &demo_workers_at(1, &port, ""));
    let node = cluster.await_ready("worker", 1).remove(0).node;
    cluster.ok(&["cordon", &node]);
    let object = format!("node/{node}");
    eventually("the node's events", || {
        let events = events(&cluster, &object);
        ["SessionBegan", "Cordoned"]
            .iter()
            .all(|reason| find(&events, reason).is_some())
    });
    eventually("who leads", || {
        find(&events(&cluster, "cluster"), "Leading").is_some()
    });
    // Nothing can be placed any more, and why is said.
    cluster.ok(&["scale", "worker", "--replicas", "2"]);
    eventually("why there is no node for it", || {
        // Before the agent was there it had another reason.
        let events = events(&cluster, "service/worker");
        let mut unplaced = events.iter().filter(|event| event["reason"] == "NoNode");
        unplaced.any(|event| event["message"].as_str().unwrap().contains("cordon"))
    });
    let unknown = cluster.run(&["get", "events", "--for", "pod/worker"]);
    assert!(!unknown.status.success());
}

#[test]
fn events_are_bound_to_leases_and_idle_clusters_write_none() {
    let cluster = Cluster::start(Kind::Etcd, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    eventually("the start is told", || {
        find(&events(&cluster, "worker-0"), "Ready").is_some()
    });
    let key = cluster
        .keys()
        .into_iter()
        .find(|key| key.contains("/event/agent/"))
        .unwrap();
    let etcdctl = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let output = std::process::Command::new(etcdctl)
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", cluster.store(), "get", &key, "-w", "json"])
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        found["kvs"][0]["lease"]
            .as_i64()
            .is_some_and(|lease| lease != 0),
        "{found}"
    );
    // What was told once is not told again, which would count it once more, however often it is looked at. What has
    // happened lately may be told yet.
    let all = || -> Vec<Value> {
        let text = cluster.ok(&["get", "events", "-o", "json"]);
        serde_json::from_str(&text).unwrap()
    };
    let before = all();
    for _ in 0..3 {
        cluster.ok(&["get", "services"]);
    }
    let after = all();
    let told_again: Vec<_> = (before.iter())
        .filter(|event| !after.contains(event))
        .collect();
    assert!(told_again.is_empty(), "{told_again:#?} of {after:#?}");
}
