//! `quaestor balancer --static FILE` in the real program: no etcd, no agent.
//!
//! - [`it_asks_the_endpoints_itself_and_follows_its_file`]
//! - [`a_service_of_agents_is_refused_in_its_place_before_anything_is_served`]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use std::{fs, process::Command};

use support::{
    balancer::{Balancer, Worker},
    cluster::QUAESTOR,
    eventually, python, signal,
};

/// A manifest of the endpoints of `service`.
fn manifest(service: &str, places: &[&str]) -> String {
    let places = places.join(", ");
    format!(
        "apiVersion: quaestor/v1
kind: Service
metadata: {{name: worker}}
spec:
  external: [{places}]
  serviceNames: [{service}]
  health: {{grpc: {{}}, interval: 100ms, timeout: 1s}}
  load: {{reportLoad: {{}}, interval: 100ms}}
"
    )
}

#[test]
fn it_asks_the_endpoints_itself_and_follows_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    let (mut first, second) = (Worker::start(&[]), Worker::start(&["--capacity", "4"]));
    let third = Worker::start(&[]);
    fs::write(&file, manifest("Worker", &[&first.place, &second.place])).unwrap();
    let balancer = Balancer::start(&["--static", file.to_str().unwrap()]);
    let places = |workers: &[&Worker]| -> Vec<String> {
        workers.iter().map(|worker| worker.place.clone()).collect()
    };
    balancer.await_places("Worker", &places(&[&first, &second]));

    // Every way to ask is there, load and all; an age of the view that means something as well.
    eventually("the load is known", || {
        let (_, json) = balancer.ask("/v1/services/Worker/endpoints").unwrap();
        let endpoints = json["endpoints"].as_array().unwrap();
        let capacity = |endpoint: &serde_json::Value| endpoint["load"]["capacity"].as_i64();
        let known: Vec<_> = endpoints.iter().filter_map(capacity).collect();
        known.contains(&1) && known.contains(&4)
    });
    let top = python::top(&balancer.grpc, "Worker", 2);
    assert_eq!(top.len(), 2);
    assert_eq!(
        python::health(&balancer.grpc, "ServiceDiscoveryGrpc"),
        "SERVING"
    );
    let (status, pick) = balancer.ask("/v1/services/Worker/pick").unwrap();
    assert_eq!(
        (status, pick["endpoints"][0]["node"].as_str()),
        (200, Some("static"))
    );
    eventually("the view is young", || {
        let (_, pick) = balancer.ask("/v1/services/Worker/pick").unwrap();
        pick["viewAgeMillis"].as_u64().unwrap() < 1_000
    });

    // Who hangs or dies is not answered, and comes back.
    signal(second.pid(), "STOP");
    balancer.await_places("Worker", &places(&[&first]));
    signal(second.pid(), "CONT");
    balancer.await_places("Worker", &places(&[&first, &second]));
    first.kill();
    balancer.await_places("Worker", &places(&[&second]));

    // A new version of the file holds without a restart; a broken one changes nothing, and is told.
    fs::write(&file, manifest("Worker", &[&third.place, &second.place])).unwrap();
    balancer.await_places("Worker", &places(&[&second, &third]));
    fs::write(&file, "kind: Service\nspec: {external: [x]}").unwrap();
    eventually("the broken file is told of", || {
        balancer
            .log()
            .contains("what was taken before stays in force")
    });
    assert!(
        balancer.log().contains("services.yaml:2"),
        "{}",
        balancer.log()
    );
    balancer.await_places("Worker", &places(&[&second, &third]));
    fs::write(&file, manifest("Worker", &[&third.place])).unwrap();
    balancer.await_places("Worker", &places(&[&third]));
}

#[test]
fn a_service_of_agents_is_refused_in_its_place_before_anything_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    let text =
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {name: a}\nspec:\n  command: [a]\n";
    fs::write(&file, text).unwrap();
    let start = |flags: &[&str]| {
        let mut command = Command::new(QUAESTOR);
        command.args(["balancer", "--listen", "127.0.0.1:0", "--static"]);
        let output = command.arg(&file).args(flags).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), errors)
    };
    let (code, errors) = start(&[]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("`a` is run by agents"), "{errors}");
    assert!(errors.contains("services.yaml:5:3"), "{errors}");
    let (code, errors) = start(&["--view-cache", "x"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("cannot be used with"), "{errors}");
    fs::remove_file(&file).unwrap();
    let (code, errors) = start(&[]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("there is no file or directory"), "{errors}");
}
