//! What a cluster writes, idle and busy, by etcd's own counters; `scripts/bench writes` asks for a large one and minutes.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use quaestor::{
    host::Host,
    proto::demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
    store::{Config, Follow, Store},
};
use serde_json::Value as Json;
use support::{
    cluster::demo_workers,
    figures::{self, Bar},
    hosts::Hosts,
    number,
    ports::free_port,
};
use tonic::transport::Endpoint;

/// Nothing but load records for so long is rest: what follows a start, such as events and what is due for having
/// been connected for a while, comes sooner.
const REST: Duration = Duration::from_secs(12);

/// Of a node that idles, one load record is written in this time at most.
const LOAD: u64 = 10;

/// What etcd counts that a write changes: puts, deletions, leases, all that its members agree on, and the bytes put.
const COUNTERS: [&str; 5] = [
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_debugging_lease_granted_total",
    "etcd_server_proposals_committed_total",
    "etcd_debugging_mvcc_total_put_size_in_bytes",
];

/// The changes seen so far, by the first part of their keys below the cluster's.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    /// Takes in what changes until `until`; returns earlier once nothing but load records has come for `rest`.
    async fn take(&mut self, follow: &mut Follow, until: Instant, rest: Duration) {
        let mut noise = Instant::now();
        while noise.elapsed() < rest && Instant::now() < until {
            let end = until.min(noise + rest);
            let Ok(update) = tokio::time::timeout_at(end.into(), follow.next()).await else {
                continue;
            };
            for change in update.changes {
                let kind = change.key().split('/').nth(3).unwrap_or_default();
                if kind != "load" {
                    noise = Instant::now();
                }
                *self.0.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
}

/// Agents with workers whose health and load are asked for every second, and a balancer; at rest.
struct Cluster {
    hosts: Hosts,
    follow: Follow,
    nodes: usize,
    instances: usize,
    /// How long it is watched.
    seconds: u64,
}

impl Cluster {
    async fn at_rest() -> Self {
        let nodes = number("QUAESTOR_TEST_NODES", 3);
        let instances = nodes * number("QUAESTOR_TEST_INSTANCES", 3);
        let names: Vec<String> = (0..nodes).map(|at| format!("n{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut hosts = Hosts::start(&names, &[]);
        let listen = format!("127.0.0.1:{}", free_port());
        hosts.role("balancer", &["balancer", "--listen", &listen]);
        let manifest = demo_workers(u16::try_from(instances).unwrap(), "");
        let file = hosts.manifest("worker", &manifest);
        hosts.ok(&["apply", "-f", &file, "--wait", "--timeout", "5m"]);

        let store = Store::new(Config::new([hosts.etcd.endpoint()]), Host::system()).unwrap();
        let mut follow = store.follow(vec!["/quaestor/default/".to_owned()]);
        follow.next().await;
        let (mut before, patience) = (Seen::default(), Instant::now() + 3 * support::PATIENCE);
        before.take(&mut follow, patience, REST).await;
        assert!(Instant::now() < patience, "no rest: {before:?}");
        Self {
            hosts,
            follow,
            nodes,
            instances,
            seconds: number("QUAESTOR_TEST_SECONDS", 30) as u64,
        }
    }

    /// What is written in the next seconds: as seen, and as counted.
    async fn watch(&mut self) -> (Seen, [u64; COUNTERS.len()]) {
        let counters = || COUNTERS.map(|name| self.hosts.etcd.counter(name));
        let (start, mut seen) = (counters(), Seen::default());
        let watched = Duration::from_secs(self.seconds);
        seen.take(&mut self.follow, Instant::now() + watched, watched)
            .await;
        let end = counters();
        (seen, std::array::from_fn(|at| end[at] - start[at]))
    }

    /// Prints what was written, and writes it down per node.
    fn tell(&self, how: &str, counted: [u64; COUNTERS.len()]) {
        let title = format!("{} nodes, {} instances, {how}", self.nodes, self.instances);
        println!("{title}, in {} s:", self.seconds);
        for (name, count) in COUNTERS.iter().zip(counted) {
            println!("  {name:45} {count}");
        }
        let (seconds, nodes) = (self.seconds as f64, self.nodes as f64);
        let [puts, .., bytes] = counted.map(|count| count as f64 / seconds);
        figures::row(
            "writes",
            &title,
            &[
                ("writes", puts, "/s"),
                ("bytes", bytes, "B/s"),
                ("the same per node", bytes / nodes, "B/s"),
            ],
        );
    }

    /// The endpoints of all workers.
    fn workers(&self) -> Vec<Endpoint> {
        let endpoints = self.hosts.get("endpoints").into_iter();
        let place = |found: Json| {
            let (host, port) = (found["host"].as_str().unwrap(), &found["port"]);
            Endpoint::from_shared(format!("http://{host}:{port}")).unwrap()
        };
        endpoints.map(place).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_idles_writes_nothing_but_a_load_record_per_node_and_ten_seconds() {
    let mut cluster = Cluster::at_rest().await;
    let (seen, counted) = cluster.watch().await;
    cluster.tell("idle", counted);
    // What most heartbeats are: a record of each instance, a second.
    let record = cluster.hosts.get("instances")[0].to_string().len();
    figures::row(
        "writes",
        "a heartbeat per instance and second, computed",
        &[
            ("writes", cluster.instances as f64, "/s"),
            ("bytes", (cluster.instances * record) as f64, "B/s"),
            (
                "the same per node",
                (cluster.instances * record) as f64 / cluster.nodes as f64,
                "B/s",
            ),
        ],
    );
    let [puts, deletions, leases, proposals, _] = counted;
    let bar = |name: &str, most: u64, figure: u64| {
        let (nodes, instances, seconds) = (cluster.nodes, cluster.instances, cluster.seconds);
        let name = format!("{nodes} nodes with {instances} instances idle for {seconds} s: {name}");
        figures::bar(&name, figure as f64, "", Bar::AtMost(most as f64));
    };
    let budget = cluster.nodes as u64 * (cluster.seconds / LOAD + 1);
    assert!(seen.0.keys().all(|kind| kind == "load"), "{seen:?}");
    bar("writes to etcd", budget, puts);
    bar("what its members have to agree on", budget, proposals);
    assert!(puts <= budget, "{puts} of {budget}");
    assert_eq!((deletions, leases), (0, 0));
    // Renewals of leases are none of them, and refused writes are.
    assert!(proposals <= budget, "{proposals} of {budget}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_node_writes_one_load_record_a_second_however_many_instances_it_has() {
    let mut cluster = Cluster::at_rest().await;
    let calls = cluster
        .workers()
        .into_iter()
        .enumerate()
        .map(|(at, worker)| {
            // Each is idle half of the time, and none in step with the next.
            let millis = 400 + 37 * (at as u32 % 16);
            tokio::spawn(async move {
                let mut worker = DemoWorkerClient::new(worker.connect().await.unwrap());
                loop {
                    let work = WorkRequest {
                        millis,
                        ..WorkRequest::default()
                    };
                    let _ = worker.work(work).await;
                    tokio::time::sleep(Duration::from_millis(millis.into())).await;
                }
            })
        });
    let calls: Vec<_> = calls.collect();
    let (seen, counted) = cluster.watch().await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    cluster.tell("busy", counted);
    assert!(seen.0.keys().all(|kind| kind == "load"), "{seen:?}");
    let (puts, seconds, nodes) = (counted[0], cluster.seconds, cluster.nodes as u64);
    // And they do write: half of that is far above an idle node's.
    assert!(puts <= nodes * (seconds + 1), "{puts} writes");
    assert!(puts >= nodes * seconds / 2, "{puts} writes");
}
