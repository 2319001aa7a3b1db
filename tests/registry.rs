//! Beside quaestor-mini-cluster, on a real etcd: the keys of its registry, byte by byte.
//!
//! - [`what_balancers_answer_is_registered_for_the_ancestors_balancers`]
//! - [`workers_that_the_ancestor_registered_are_found_and_our_own_are_not_found_twice`]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{
    balancer::{Balancer, Worker},
    cluster::{Cluster, Kind, demo_workers},
    eventually, signal,
};

/// Runs etcdctl on the cluster's store; what it printed.
fn etcdctl(cluster: &Cluster, arguments: &[&str]) -> Vec<u8> {
    let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let mut command = Command::new(program);
    command.env("ETCDCTL_API", "3");
    command
        .args(["--endpoints", cluster.store()])
        .args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

/// Keys and values below `prefix`, each with whether it has a lease.
fn registry(cluster: &Cluster, prefix: &str) -> Vec<(String, String, bool)> {
    let json = etcdctl(cluster, &["get", "--prefix", prefix, "-w", "json"]);
    let json: Value = serde_json::from_slice(&json).unwrap();
    let text = |value: &Value| {
        let decoded = decode(value.as_str().unwrap());
        String::from_utf8(decoded).unwrap()
    };
    let entry = |kv: &Value| {
        (
            text(&kv["key"]),
            text(&kv["value"]),
            kv["lease"].is_number(),
        )
    };
    json["kvs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(entry)
        .collect()
}

/// Base 64, as etcdctl writes bytes in JSON.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| -> u32 {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let position = alphabet.iter().position(|letter| *letter == byte);
        u32::try_from(position.unwrap()).unwrap()
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').collect();
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let word = chunk.iter().fold(0, |word, byte| word << 6 | digit(*byte));
        let word = word << (6 * (4 - chunk.len()));
        word.to_be_bytes()[1..chunk.len()].to_vec()
    });
    bytes.collect()
}

#[test]
fn what_balancers_answer_is_registered_for_the_ancestors_balancers() {
    let cluster = Cluster::start(Kind::Etcd, &demo_workers(2, "  restart: {delay: 1m}\n"));
    let workers = cluster.await_ready("worker", 2);
    let flags = ["--etcd", cluster.store(), "--mirror-registry"];
    let (mut first, second) = (Balancer::start(&flags), Balancer::start(&flags));
    let key = |port: u16| format!("services//Worker/127.0.0.1/{port}/http");
    let entry = |port: u16| (key(port), "Worker".to_owned(), true);
    let ports: Vec<u16> = workers.iter().map(|worker| worker.ports["grpc"]).collect();
    let mut both: Vec<_> = ports.iter().map(|port| entry(*port)).collect();
    both.sort();
    eventually("both workers are registered", || {
        registry(&cluster, "services/") == both
    });

    // An old balancer that missed one answer deletes the key.
    etcdctl(&cluster, &["del", &key(ports[0])]);
    eventually("the key is back", || {
        registry(&cluster, "services/") == both
    });

    // Whoever wrote it goes; the other one takes its place.
    signal(first.pid(), "TERM");
    assert!(first.wait());
    eventually("the other one has written it", || {
        registry(&cluster, "services/") == both
    });

    // What is not healthy any more is taken back. What others registered is left alone.
    let other = "services//Worker/10.0.0.9/5201/http";
    etcdctl(&cluster, &["put", other, "Worker"]);
    signal(workers[0].pid.unwrap(), "KILL");
    let left = vec![
        (other.to_owned(), "Worker".to_owned(), false),
        entry(ports[1]),
    ];
    eventually("the dead one is gone", || {
        registry(&cluster, "services/") == left
    });
    drop(second);
}

#[test]
fn workers_that_the_ancestor_registered_are_found_and_our_own_are_not_found_twice() {
    let cluster = Cluster::start(Kind::Etcd, &demo_workers(1, ""));
    let own = cluster.await_ready("worker", 1).remove(0);
    let own = format!("127.0.0.1:{}", own.ports["grpc"]);
    let mut old = Worker::start(&["--capacity", "7"]);
    let key = |place: &str, scope: &str| {
        let place = place.replace(':', "/");
        format!("services/{scope}/Worker/{place}/http")
    };
    etcdctl(&cluster, &["put", &key(&old.place, ""), "Worker"]);
    // Our own as well, as a mirror elsewhere would; and what must not be found.
    etcdctl(&cluster, &["put", &key(&own, ""), "Worker"]);
    etcdctl(&cluster, &["put", &key(&old.place, "lab"), "Worker"]);
    etcdctl(&cluster, &["put", "services//Broken/x", "Broken"]);
    etcdctl(
        &cluster,
        &["put", "services//Closed/127.0.0.1/1/http", "Closed"],
    );

    let flags = [
        "--etcd",
        cluster.store(),
        "--import-registry",
        "--mirror-registry",
    ];
    let balancer = Balancer::start(&flags);
    balancer.await_places("Worker", &[old.place.clone(), own.clone()]);
    let nodes = || {
        let (_, json) = balancer.ask("/v1/services/Worker/endpoints").unwrap();
        let endpoints = json["endpoints"].as_array().unwrap().iter();
        let mut nodes: Vec<_> = endpoints
            .map(|endpoint| endpoint["node"].as_str().unwrap().to_owned())
            .collect();
        nodes.sort();
        nodes
    };
    assert_eq!(nodes(), ["local", "registry"]);
    eventually("its load is known", || {
        let (_, json) = balancer.ask("/v1/services/Worker/endpoints").unwrap();
        json.to_string().contains("\"capacity\":7")
    });
    assert_eq!(balancer.places("Closed"), [""; 0]);
    let (status, problem) = balancer.ask("/v1/services/Closed/pick").unwrap();
    assert_eq!(
        (status, problem["reason"].as_str()),
        (503, Some("NothingHealthy"))
    );
    let (status, _) = balancer.ask("/v1/services/Broken/pick").unwrap();
    assert_eq!(status, 404);

    // What is only registered is not registered by us; and what is gone from there is not found any more.
    let registered = |place: &str| {
        let all = registry(&cluster, "services//Worker/");
        all.into_iter().find(|(other, ..)| *other == key(place, ""))
    };
    assert!(!registered(&old.place).unwrap().2, "it has no lease");
    etcdctl(&cluster, &["del", &key(&old.place, "")]);
    balancer.await_places("Worker", std::slice::from_ref(&own));
    etcdctl(&cluster, &["put", &key(&old.place, ""), "Worker"]);
    balancer.await_places("Worker", &[old.place.clone(), own.clone()]);
    old.kill();
    balancer.await_places("Worker", &[own]);
}
