//! What Prometheus is told at `/metrics`, read as strictly as its own tools do, and those who use it.
//!
//! - [`every_role_tells_metrics_that_a_strict_reader_takes`]
//! - [`what_happens_is_counted`]
//! - [`alerts_and_panels_name_only_metrics_that_there_are`]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "a test that starts programs")]
#![allow(unreachable_pub, reason = "a test")]

mod strict;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use strict::Metrics;
use support::{
    cluster::{QUAESTOR, demo_workers},
    eventually,
    ports::free_port,
    signal,
};

/// A role of the real program; ended when dropped.
struct Role {
    child: Child,
    http: String,
    _directory: tempfile::TempDir,
}

impl Role {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let http = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(QUAESTOR);
        command.args(arguments).args(["--http", &http]);
        if ["dev", "agent"].contains(&arguments[0]) {
            command.arg("--state-dir").arg(directory.path());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        Self {
            child,
            http,
            _directory: directory,
        }
    }

    /// What is answered to a `GET` of `path`; none while nobody answers.
    fn get(&self, path: &str) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(&self.http).ok()?;
        let patience = Duration::from_secs(10);
        stream.set_read_timeout(Some(patience)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    }

    fn metrics(&self) -> Option<Metrics> {
        let (head, body) = self.get("/metrics")?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("application/openmetrics-text"), "{head}");
        Some(Metrics::read(&body))
    }

    /// Waits until the sum of the samples of that name whose text contains `labels` is at least `least`.
    #[track_caller]
    fn await_count(&self, sample: &str, labels: &[&str], least: f64) {
        let mut last = None;
        eventually(&format!("{sample} {labels:?} is {least} or more"), || {
            last = self.metrics();
            let sum = |metrics: &Metrics| metrics.sum(sample, labels);
            last.as_ref().is_some_and(|metrics| sum(metrics) >= least)
        });
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let _ = self.child.wait();
    }
}

/// A whole cluster in one process, with two workers; and where its store is.
fn dev() -> (Role, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("worker.yaml");
    std::fs::write(&file, demo_workers(2, "")).unwrap();
    let [store, balancer] = [(), ()].map(|()| format!("127.0.0.1:{}", free_port()));
    let file = file.to_str().unwrap();
    let places = ["--store-listen", &store, "--balancer-listen", &balancer];
    let role = Role::start(&[&["dev", "-f", file], &places[..]].concat());
    role.await_count("quaestor_agent_instances", &["ready=\"true\""], 2.0);
    (role, format!("http://{store}"))
}

/// Asks for a worker until the balancer knows one.
fn await_pick(dev: &Role) {
    eventually("a pick is answered", || {
        let answer = dev.get("/v1/services/Worker/pick");
        answer.is_some_and(|(head, _)| head.starts_with("HTTP/1.1 200"))
    });
}

/// Kills a worker of `cluster` once, as a crash does.
fn kill_one(store: &str) {
    let mut pid = None;
    eventually("a worker is reported", || {
        let listed = Command::new(QUAESTOR)
            .args(["get", "instances", "-o", "json", "--etcd", store])
            .output()
            .unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        pid = listed[0]["pid"].as_u64();
        pid.is_some()
    });
    signal(pid.unwrap().try_into().unwrap(), "KILL");
}

#[test]
fn every_role_tells_metrics_that_a_strict_reader_takes() {
    let (dev, store) = dev();
    let families = dev.metrics().unwrap().families();
    for part in ["store", "controller", "agent", "balancer"] {
        let prefix = format!("quaestor_{part}_");
        assert!(
            families.iter().any(|name| name.starts_with(&prefix)),
            "{part}: {families:?}"
        );
    }
    assert!(families.contains("process_resident_memory_bytes"));

    let agent = Role::start(&["agent", "--node", "other", "--etcd", &store]);
    agent.await_count("quaestor_agent_connected", &[], 1.0);
    let controller = Role::start(&["controller", "--etcd", &store]);
    controller.await_count("quaestor_store_requests_total", &["answered"], 1.0);
    let standby = controller.metrics().unwrap();
    assert_eq!(standby.sum("quaestor_controller_leading", &[]), 0.0);
    let families = standby.families();
    let foreign = |name: &&String| name.contains("_agent_") || name.contains("_balancer_");
    assert_eq!(
        families.iter().find(foreign),
        None,
        "it is a controller only"
    );
    let listen = format!("127.0.0.1:{}", free_port());
    let balancer = Role::start(&["balancer", "--listen", &listen, "--etcd", &store]);
    balancer.await_count("quaestor_balancer_endpoints", &["name=\"Worker\""], 2.0);
}

#[test]
fn what_happens_is_counted() {
    let (dev, store) = dev();
    await_pick(&dev);
    dev.get("/v1/services/Nobody/pick").unwrap();
    let labels = ["policy=\"leastLoad\"", "result=\"answered\""];
    dev.await_count("quaestor_balancer_picks_total", &labels, 1.0);
    let labels = ["policy=\"none\"", "result=\"NotFound\""];
    dev.await_count("quaestor_balancer_picks_total", &labels, 1.0);
    let labels = ["name=\"Worker\""];
    dev.await_count("quaestor_balancer_answered_picks_total", &labels, 1.0);
    dev.await_count("quaestor_balancer_pick_seconds_count", &[], 2.0);

    kill_one(&store);
    dev.await_count(
        "quaestor_agent_restarts_total",
        &["service=\"worker\""],
        1.0,
    );
    let unready = ["service=\"worker\"", "to=\"unready\""];
    dev.await_count("quaestor_agent_health_transitions_total", &unready, 1.0);
    dev.await_count("quaestor_controller_leading", &[], 1.0);
    dev.await_count("quaestor_controller_nodes", &["connected=\"true\""], 1.0);
    dev.await_count(
        "quaestor_controller_writes_total",
        &["decision=\"assigned\""],
        2.0,
    );
    dev.await_count(
        "quaestor_controller_plan_passes_total",
        &["result=\"written\""],
        1.0,
    );
    dev.await_count(
        "quaestor_store_commits_total",
        &["outcome=\"committed\""],
        3.0,
    );
}

#[test]
fn alerts_and_panels_name_only_metrics_that_there_are() {
    let (dev, store) = dev();
    // Some are told only once there is something to tell.
    await_pick(&dev);
    kill_one(&store);
    dev.await_count("quaestor_agent_restarts_total", &[], 1.0);
    dev.await_count("quaestor_agent_instance_memory_bytes", &[], 1.0);
    let known = dev.metrics().unwrap().samples();

    let read =
        |file: &str| std::fs::read_to_string(format!("manifests/monitoring/{file}")).unwrap();
    let alerts: Value = serde_yaml::from_str(&read("alerts.yaml")).unwrap();
    let panels: Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    collect(&alerts, &mut expressions);
    let alerting = expressions.len();
    collect(&panels, &mut expressions);
    assert!(alerting >= 8 && expressions.len() > alerting + 10);
    for expression in expressions {
        let named = named(&expression);
        assert!(!named.is_empty(), "{expression}");
        for name in named {
            assert!(
                known.contains(&name),
                "there is no {name}: {expression}\n{known:?}"
            );
        }
    }
    for group in alerts["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            for said in ["summary", "description"] {
                assert!(rule["annotations"][said].is_string(), "{rule}");
            }
            assert!(rule["labels"]["severity"].is_string(), "{rule}");
        }
    }
}

/// Every `expr` in a document.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => expressions.push(text.clone()),
                    value => collect(value, expressions),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, expressions)),
        _ => {}
    }
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(|letter| !is_part(letter));
    let ours = words.filter(|word| word.starts_with("quaestor_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}
