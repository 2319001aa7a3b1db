//! How much memory the real balancer takes for a hundred thousand endpoints with load, read from a real etcd:
//! [`a_hundred_thousand_endpoints_with_load_take_at_most_150_mebibytes`]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use quaestor::{
    host::Host,
    store::{Config, Outcome, Store, Txn, Write},
};
use serde_json::{Value, json};
use support::{balancer::Balancer, etcd::Etcd, eventually};

const NODES: usize = 1_000;
const INSTANCES: usize = 100;

/// The keys of a node: its session, what its instances do, and their load.
fn keys(node: usize) -> Vec<(String, Value)> {
    let session = json!({
        "uuid": "0b9c7a52-6d3e-4a0f-9d28-5f0c3f1f7a11", "nodeUuid": "7e0a4a36-2f7e-4c39-8c1e-90ad1e8f4f43",
        "address": format!("node-{node}.example.com"), "version": "0",
        "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        "labels": {"rack": format!("r{}", node % 40), "pool": "qa"},
    });
    let instance = |slot: usize| format!("worker-{}", node * INSTANCES + slot);
    let state = |slot: usize| {
        let state = json!({
            "instance": instance(slot), "node": format!("node-{node}"), "phase": "Running", "ready": true,
            "pid": 10_000 + slot, "endpoint": {"host": format!("node-{node}.example.com"), "port": 20_000 + slot},
            "ports": {"grpc": 20_000 + slot}, "restarts": 0, "startedAt": "2026-01-01T00:00:00Z",
            "observedGeneration": 1, "revision": "0123456789", "epoch": 1,
        });
        (format!("state/node-{node}/{}", instance(slot)), state)
    };
    let report = |slot: usize| {
        let stats = json!({
            "requestCapacity": 4, "currentRequests": slot % 5,
            "serverUtilization": 0.3, "serverMemoryUsagePercent": 40.0,
        });
        (instance(slot), json!({"stats": stats}))
    };
    let load: serde_json::Map<_, _> = (0..INSTANCES).map(report).collect();
    let load = json!({"at": "2026-01-01T00:00:00Z", "instances": load});
    let mut keys: Vec<_> = (0..INSTANCES).map(state).collect();
    keys.push((format!("session/node-{node}"), session));
    keys.push((format!("load/node-{node}"), load));
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_endpoints_with_load_take_at_most_150_mebibytes() {
    let etcd = Etcd::start();
    let store = Store::new(Config::new([etcd.endpoint()]), Host::system()).unwrap();
    let put = |(key, value): (String, Value)| {
        Write::put(format!("/quaestor/default/{key}"), value.to_string())
    };
    for node in 0..NODES {
        let txn = keys(node).into_iter().map(put).fold(Txn::new(), Txn::then);
        assert!(matches!(
            store.commit(txn).await.unwrap(),
            Outcome::Committed(_)
        ));
    }
    let route =
        json!({"service": "worker", "names": ["Worker"], "published": true, "generation": 1});
    let txn = Txn::new().then(put(("route/worker".to_owned(), route)));
    assert!(matches!(
        store.commit(txn).await.unwrap(),
        Outcome::Committed(_)
    ));

    let balancer = Balancer::start(&["--etcd", &etcd.endpoint()]);
    eventually("all endpoints are known", || {
        let services = balancer.ask("/v1/services");
        services.is_some_and(|(_, json)| json["services"][0]["endpoints"] == NODES * INSTANCES)
    });
    let (status, pick) = balancer.ask("/v1/services/Worker/pick").unwrap();
    assert_eq!(
        (status, &pick["endpoints"][0]["load"]["capacity"]),
        (200, &json!(4))
    );
    let mebibytes = balancer.resident() >> 20;
    println!(
        "{mebibytes} MiB for {} endpoints with load",
        NODES * INSTANCES
    );
    assert!(mebibytes <= 150, "{mebibytes} MiB");
}
