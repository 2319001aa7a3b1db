//! The life of an instance between its start and its end, on the real program and real processes.
//!
//! - stops that no client notices: `no_call_fails_...`
//! - old processes: `an_old_worker_...`; busy ones: `a_busy_worker_...`
//! - what comes first: `a_service_is_started_after_...`
//! - new processes on an operator's word: `a_restart_...`
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use quaestor::proto::{
    demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
    service_discovery::{
        DiscoverServicesRequest, service_discovery_grpc_client::ServiceDiscoveryGrpcClient,
    },
};
use support::{
    cluster::{Cluster, Instance, Kind, demo_workers_at},
    eventually,
    figures::{self, Bar},
    number,
    ports::free_range,
};
use tonic::transport::{Channel, Endpoint};

/// Clients that pick a worker, call it, and pick again, until they are ended.
struct Clients {
    end: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Clients {
    /// Starts `count` clients of the service `Worker`, whose calls take `millis`.
    async fn start(balancer: &str, count: usize, millis: u32) -> Self {
        let mut clients = Self {
            end: Arc::default(),
            calls: Arc::default(),
            failures: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..count {
            let target = Endpoint::from_shared(format!("http://{balancer}")).unwrap();
            let channel = target.connect().await.unwrap();
            let (end, calls) = (Arc::clone(&clients.end), Arc::clone(&clients.calls));
            let failures = Arc::clone(&clients.failures);
            clients.tasks.push(tokio::spawn(async move {
                while !end.load(Relaxed) {
                    match call(channel.clone(), millis).await {
                        Ok(()) => calls.fetch_add(1, Relaxed),
                        Err(failure) => {
                            failures.lock().unwrap().push(failure);
                            0
                        }
                    };
                }
            }));
        }
        clients
    }

    /// Ends them: how many calls there were, and what went wrong.
    async fn end(self) -> (u32, Vec<String>) {
        self.end.store(true, Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        (self.calls.load(Relaxed), failures)
    }
}

/// Picks the least busy worker and lets it work.
async fn call(balancer: Channel, millis: u32) -> Result<(), String> {
    let request = DiscoverServicesRequest {
        service_name: "Worker".to_owned(),
        max_count: 1,
        ..DiscoverServicesRequest::default()
    };
    let mut discovery = ServiceDiscoveryGrpcClient::new(balancer);
    let answer = discovery.discover_top_services(request).await;
    let answer = answer.map_err(|status| format!("the balancer: {status}"))?;
    let picked = answer.into_inner().service_locations.pop();
    let picked = picked.ok_or("the balancer knows no worker")?;
    let address = format!("http://{}:{}", picked.host_name, picked.port);
    let failed = |what: String| format!("{address}: {what}");
    let worker = Endpoint::from_shared(address.clone()).unwrap();
    let worker = worker.connect().await;
    let worker = worker.map_err(|error| failed(format!("{error:?}")))?;
    let work = WorkRequest {
        millis,
        ..WorkRequest::default()
    };
    let worked = DemoWorkerClient::new(worker).work(work).await;
    worked
        .map(drop)
        .map_err(|status| failed(status.to_string()))
}

/// `replicas` demo workers with room for eight calls, with `more` lines in their spec.
fn roomy_workers(replicas: u16, more: &str) -> String {
    let (first, last) = free_range(replicas);
    demo_workers_at(replicas, &format!("range: {first}-{last}"), more)
        .replace("demo-worker,", "demo-worker, --capacity, \"8\",")
}

/// A cluster of these workers, all of them ready and answered.
fn cluster_of(kind: Kind, replicas: u16, more: &str) -> (Cluster, Vec<u32>) {
    let cluster = Cluster::start(kind, &roomy_workers(replicas, more));
    let ready = cluster.await_ready("worker", replicas.into());
    eventually("all are answered", || {
        let picked = cluster.run(&["pick", "Worker", "-n", "99"]);
        let picked = String::from_utf8(picked.stdout).unwrap();
        picked.lines().count() == usize::from(replicas)
    });
    (cluster, pids(&ready))
}

fn pids(instances: &[Instance]) -> Vec<u32> {
    instances.iter().filter_map(|found| found.pid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_all_workers_are_restarted_again_and_again() {
    // scripts/graceful asks for more.
    let restarts = number("QUAESTOR_TEST_RESTARTS", 20);
    let (cluster, mut before) = cluster_of(Kind::Etcd, 4, "  stop: {drain: 30s}\n");
    let clients = Clients::start(cluster.balancer(), 4, 20).await;
    let mut done = 0;
    while done < restarts {
        cluster.ok(&["restart", "worker", "--wait"]);
        let after = pids(&cluster.await_ready("worker", 4));
        assert!(after.iter().all(|pid| !before.contains(pid)));
        before = after;
        done += 4;
    }
    let (calls, failures) = clients.end().await;
    println!("{calls} calls, {done} restarts");
    assert!(calls > 100, "{calls}");
    let name = format!("failed calls through {done} graceful restarts");
    figures::bar(&name, failures.len() as f64, "", Bar::AtMost(0.0));
    assert_eq!(failures, [""; 0], "of {calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_ten_workers_are_updated_again_and_again() {
    // scripts/rollouts asks for more.
    let rollouts = number("QUAESTOR_TEST_ROLLOUTS", 2);
    let (first, last) = free_range(12);
    let more = "  stop: {drain: 30s}\n  rollout: {maxUnavailable: 2, maxSurge: 2}\n";
    let manifest = demo_workers_at(10, &format!("range: {first}-{last}"), more)
        .replace("demo-worker,", "demo-worker, --capacity, \"8\",");
    let cluster = Cluster::start(Kind::Etcd, &manifest);
    cluster.await_ready("worker", 10);
    eventually("all are answered", || {
        let picked = cluster.run(&["pick", "Worker", "-n", "99"]);
        String::from_utf8(picked.stdout).unwrap().lines().count() == 10
    });
    let clients = Clients::start(cluster.balancer(), 4, 20).await;
    for rollout in 0..rollouts {
        let env = format!("  env: {{ROLLOUT: \"{rollout}\"}}\n  rollout:");
        cluster.apply(&manifest.replace("  rollout:", &env), &["--wait"]);
    }
    let (calls, failures) = clients.end().await;
    println!("{calls} calls, {rollouts} rollouts");
    assert!(calls > 100, "{calls}");
    let name = format!("failed calls through {rollouts} updates of ten workers");
    figures::bar(&name, failures.len() as f64, "", Bar::AtMost(0.0));
    assert_eq!(failures, [""; 0], "of {calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_worker_finishes_what_it_works_on() {
    let more = "  stop: {drain: 1m, grace: 1ms}\n";
    let (cluster, _) = cluster_of(Kind::Embedded, 1, more);
    let target = format!("http://{}", cluster.balancer());
    let balancer = Endpoint::from_shared(target).unwrap().connect().await;
    let balancer = balancer.unwrap();
    // Much longer than it takes to be seen at it, and to be told to go.
    let working = tokio::spawn(call(balancer, 15_000));
    eventually("it works", || {
        let load = cluster.ok(&["get", "instances", "-o", "json"]);
        load.replace(' ', "").contains(r#""currentRequests":1,"#)
    });
    cluster.ok(&["delete", "worker"]);
    eventually("it drains", || {
        cluster.instances().iter().any(|found| {
            found.phase.as_deref() == Some("Draining") && !found.ready && found.pid.is_some()
        })
    });
    // The signal comes after the work, though the grace is too short for it.
    assert_eq!(working.await.unwrap(), Ok(()));
    eventually("it is gone", || cluster.instances().is_empty());
}

#[test]
fn a_restart_of_one_instance_leaves_the_others_alone() {
    let (cluster, before) = cluster_of(Kind::Embedded, 3, "");
    let said = cluster.ok(&["restart", "worker-1", "--wait"]);
    assert_eq!(said.trim(), "instance/worker-1 restarts (generation 2)");
    let after = pids(&cluster.await_ready("worker", 3));
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    assert_ne!(after[1], before[1]);

    let refused = cluster.run(&["restart", "worker-7"]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        words.contains("neither a service nor an instance `worker-7`"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_worker_is_replaced_while_others_serve_and_no_call_fails() {
    let more = "  recycle: {every: 3s, jitter: 20%, when: idle}\n";
    let (cluster, before) = cluster_of(Kind::Embedded, 2, more);
    let clients = Clients::start(cluster.balancer(), 1, 20).await;
    eventually("both are replaced, one at a time", || {
        let now = cluster.instances();
        assert!(now.iter().any(|found| found.ready), "{now:?}");
        let fresh = now.iter().filter(|found| found.restarts > 0);
        fresh.count() == 2
    });
    let (calls, failures) = clients.end().await;
    assert_eq!(failures, [""; 0], "of {calls} calls");
    let after = pids(&cluster.instances());
    assert!(after.iter().all(|pid| !before.contains(pid)));
    assert!(cluster.log().contains("and is recycled"));
}

#[test]
fn a_busy_worker_is_not_restarted_before_its_deadline() {
    let (first, _) = free_range(1);
    let manifest = demo_workers_at(1, &format!("port: {first}"), "")
        .replace("demo-worker,", "demo-worker, --unhealthy-after, 6s,")
        .replace(
            "interval: 1s, timeout: 20s",
            "interval: 200ms, timeout: 20s, busyDeadline: 10s",
        );
    let cluster = Cluster::start(Kind::Embedded, &manifest);
    let mut before = None;
    eventually("it runs", || {
        before = cluster.instances().pop().and_then(|found| found.pid);
        before.is_some()
    });
    // Its checks fail, but its load reports go on. For how long it was ready before is nobody's business.
    eventually("it is busy", || {
        let now = cluster.instance("worker-0");
        assert_eq!((now.pid, now.restarts), (before, 0), "{now:?}");
        now.reason == "Busy" && !now.ready
    });
    eventually("it is restarted at the deadline", || {
        cluster.instance("worker-0").restarts >= 1
    });
}

#[test]
fn a_service_is_started_after_those_that_it_needs() {
    let manifest = "
apiVersion: quaestor/v1
kind: Service
metadata: {name: second}
spec: {command: [sleep, \"1000\"], after: [first]}
";
    let cluster = Cluster::start(Kind::Embedded, manifest);
    eventually("it waits", || {
        let services = serde_json::to_string(&cluster.services()).unwrap();
        services.contains("second-0 waits for first, which does not exist")
    });
    assert_eq!(cluster.instances(), []);
    let first = "---
apiVersion: quaestor/v1
kind: Service
metadata: {name: first}
spec: {command: [sleep, \"1000\"]}
";
    cluster.apply(&format!("{manifest}{first}"), &[]);
    cluster.await_ready("second", 1);
    cluster.await_ready("first", 1);
}
