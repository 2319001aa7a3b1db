//! A cluster under a fixed load, for as long as one likes: nothing grows. `scripts/soak --minutes N` asks for long; in CI it
//! shows that the load can be borne and that nothing grows fast.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs and waits in real time"
)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use quaestor::proto::{
    demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
    v1::{PickRequest, balancer_client::BalancerClient},
};
use support::{
    cluster::demo_workers, eventually, hosts::Hosts, http, number, ports::free_port, signal,
};
use tonic::transport::{Channel, Endpoint};

const CLIENTS: u64 = 4;

/// Between two calls of a client, and between two kills of a worker.
const PAUSE: Duration = Duration::from_millis(40);
const KILLS: Duration = Duration::from_secs(4);

const REPLICAS: u16 = 6;

/// By so much a measure may be larger in the second half than in the first: what it is, and beside a share of it. Memory is
/// never quite still: allocators keep what they had, and libraries warm up.
const SLACK: [(&str, f64, f64); 4] = [
    ("process_resident_memory_bytes", 3e6, 0.05),
    ("process_open_fds", 3.0, 0.05),
    ("quaestor_tasks", 4.0, 0.05),
    ("etcd's database in use", 300e3, 0.10),
];

/// Everything that was measured, by whom and what.
type Measured = BTreeMap<(String, &'static str), Vec<f64>>;

/// Clients that ask for a worker and call it, each so many times a second.
struct Load {
    over: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(balancer: &str) -> Self {
        let mut load = Self {
            over: Arc::default(),
            calls: Arc::default(),
            failed: Arc::default(),
            thread: None,
        };
        let place = Endpoint::from_shared(format!("http://{balancer}")).unwrap();
        let (over, calls, failed) = (load.over.clone(), load.calls.clone(), load.failed.clone());
        load.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let client = async || {
                    let balancer = place.connect_lazy();
                    while !over.load(Ordering::Relaxed) {
                        let count = match call(balancer.clone()).await {
                            Some(()) => &calls,
                            None => &failed,
                        };
                        count.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(PAUSE).await;
                    }
                };
                futures::future::join_all((0..CLIENTS).map(|_| client())).await;
            });
        }));
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn call(balancer: Channel) -> Option<()> {
    let request = PickRequest {
        service: "Worker".to_owned(),
        ..PickRequest::default()
    };
    let answer = BalancerClient::new(balancer).pick(request).await.ok()?;
    let picked = answer.into_inner().endpoints.pop()?.address?;
    let place = format!("http://{}:{}", picked.host, picked.port);
    let worker = Endpoint::from_shared(place).ok()?.connect().await.ok()?;
    let work = WorkRequest {
        millis: 20,
        ..WorkRequest::default()
    };
    DemoWorkerClient::new(worker).work(work).await.ok()?;
    Some(())
}

/// A cluster whose roles tell their metrics, each at its place.
fn cluster() -> (Hosts, BTreeMap<String, String>, String) {
    let mut hosts = Hosts::empty();
    let place = || format!("127.0.0.1:{}", free_port());
    let (controller, balancer, grpc) = (place(), place(), place());
    // The store forgets its history often enough for that to be seen.
    let flags = [
        "controller",
        "--http",
        &controller,
        "--compact-every",
        "10s",
    ];
    hosts.role("controller", &flags);
    hosts.role(
        "balancer",
        &["balancer", "--listen", &grpc, "--http", &balancer],
    );
    let mut metrics = BTreeMap::from([
        ("controller".to_owned(), controller.clone()),
        ("balancer".to_owned(), balancer.clone()),
    ]);
    for node in ["a", "b"] {
        let http = place();
        hosts.agent_of(support::cluster::QUAESTOR, node, &["--http", &http]);
        metrics.insert(format!("agent {node}"), http);
    }
    hosts.until_ready(2);
    (hosts, metrics, grpc)
}

fn measure(hosts: &Hosts, metrics: &BTreeMap<String, String>, measured: &mut Measured) {
    for (role, place) in metrics {
        let Some((200, text)) = http::get(place, "/metrics") else {
            panic!("{role} tells no metrics");
        };
        for (name, _, _) in &SLACK[..3] {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix("{} "));
            let value = value.unwrap_or_else(|| panic!("{role} does not tell {name}"));
            let key = (role.clone(), *name);
            measured
                .entry(key)
                .or_default()
                .push(value.parse().unwrap());
        }
    }
    let in_use = hosts
        .etcd
        .counter("etcd_mvcc_db_total_size_in_use_in_bytes");
    let key = ("etcd".to_owned(), SLACK[3].0);
    measured.entry(key).or_default().push(in_use as f64);
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn under_a_fixed_load_nothing_grows() {
    let seconds = number("QUAESTOR_TEST_SOAK_SECONDS", 50) as u64;
    let lasts = Duration::from_secs(seconds);
    let (hosts, metrics, grpc) = cluster();
    let manifest = demo_workers(REPLICAS, "  restart: {delay: 50ms, maxDelay: 500ms}\n")
        .replace("demo-worker,", "demo-worker, --capacity, \"8\",");
    let file = hosts.manifest("worker", &manifest);
    hosts.ok(&["apply", "-f", &file, "--wait", "--timeout", "2m"]);
    let load = Load::start(&grpc);
    let called = || load.calls.load(Ordering::Relaxed);
    eventually("workers are called", || called() > 100);

    // What is filled once is full after a third of it.
    let (begun, warm) = (Instant::now(), lasts / 3);
    let (mut measured, mut kills, mut killed) = (Measured::new(), 0, Instant::now());
    while begun.elapsed() < lasts {
        if killed.elapsed() > KILLS {
            let pids = hosts.pids("worker", None);
            if let Some(pid) = pids.get(kills % pids.len().max(1)) {
                signal(*pid, "KILL");
                kills += 1;
            }
            killed = Instant::now();
        }
        if begun.elapsed() > warm {
            measure(&hosts, &metrics, &mut measured);
        }
        std::thread::sleep(Duration::from_millis(500).max(lasts / 1000));
    }
    let (calls, failed) = (called(), load.failed.load(Ordering::Relaxed));
    drop(load);
    println!("{seconds} s, {calls} calls, {failed} failed, {kills} workers killed");
    let mut grown = Vec::new();
    for ((who, what), values) in &measured {
        let (first, second) = values.split_at(values.len() / 2);
        let (first, second) = (median(first), median(second));
        println!("  {who:12} {what:32} {first:>12.0} {second:>12.0}");
        let slack = SLACK.iter().find(|(name, _, _)| name == what);
        let (_, most, share) = slack.unwrap();
        if second > first + most.max(first * share) {
            grown.push(format!("{what} of {who}: {first} to {second}"));
        }
    }
    assert!(grown.is_empty(), "{grown:?}");
    // A worker that is killed has calls to lose, on a busy machine for a while: the load is borne all the same.
    assert!(failed < calls / 4, "{failed} of {calls}");
    eventually("all workers are ready", || {
        hosts.pids("worker", None).len() == usize::from(REPLICAS)
    });
}
