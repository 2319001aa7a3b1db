//! What an idle cluster writes, by etcd's own counters; `scripts/bench writes` asks for a large one and minutes.
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
    store::{Config, Follow, Store},
};
use support::{
    cluster::demo_workers,
    figures::{self, Bar},
    hosts::Hosts,
    number,
    ports::free_port,
};

/// Nothing but load records for so long is rest: what follows a start, such as events and what is due for having
/// been connected for a while, comes sooner.
const REST: Duration = Duration::from_secs(12);

/// Of a node that idles, one load record is written in this time at most.
const LOAD: u64 = 10;

/// What etcd counts that a write changes: puts, deletions, leases, and all that its members agree on.
const COUNTERS: [&str; 4] = [
    "etcd_mvcc_put_total",
    "etcd_mvcc_delete_total",
    "etcd_debugging_lease_granted_total",
    "etcd_server_proposals_committed_total",
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

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_idles_writes_nothing_but_a_load_record_per_node_and_ten_seconds() {
    let count = number("QUAESTOR_TEST_NODES", 3);
    let each = number("QUAESTOR_TEST_INSTANCES", 3);
    let seconds = number("QUAESTOR_TEST_SECONDS", 30) as u64;
    let nodes: Vec<String> = (0..count).map(|at| format!("n{at}")).collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let mut hosts = Hosts::start(&nodes, &[]);
    let listen = format!("127.0.0.1:{}", free_port());
    hosts.role("balancer", &["balancer", "--listen", &listen]);
    // Health and load are asked for every second; a machine that is busy with other tests is no change of either.
    let manifest = demo_workers(u16::try_from(count * each).unwrap(), "")
        .replace("timeout: 1s", "timeout: 20s");
    let file = hosts.manifest("worker", &manifest);
    hosts.ok(&["apply", "-f", &file, "--wait", "--timeout", "5m"]);

    let store = Store::new(Config::new([hosts.etcd.endpoint()]), Host::system()).unwrap();
    let mut follow = store.follow(vec!["/quaestor/default/".to_owned()]);
    follow.next().await;
    let (mut before, patience) = (Seen::default(), Instant::now() + 3 * support::PATIENCE);
    before.take(&mut follow, patience, REST).await;
    assert!(Instant::now() < patience, "no rest: {before:?}");

    let counters = || COUNTERS.map(|name| hosts.etcd.counter(name));
    let (start, mut seen) = (counters(), Seen::default());
    let end = Instant::now() + Duration::from_secs(seconds);
    seen.take(&mut follow, end, Duration::from_secs(seconds))
        .await;
    let counted = counters();
    println!("{count} nodes x {each} instances, idle for {seconds} s:");
    for (name, (after, before)) in COUNTERS.iter().zip(counted.iter().zip(&start)) {
        println!("  {name:40} {}", after - before);
    }
    println!("  seen, by what they are about: {:?}", seen.0);
    let [puts, deletions, leases, proposals] = std::array::from_fn(|at| counted[at] - start[at]);
    let bar = |name: &str, most: u64, figure: u64| {
        let name = format!("{count} nodes x {each} instances idle for {seconds} s: {name}");
        figures::bar(&name, figure as f64, "", Bar::AtMost(most as f64));
    };
    let budget = count as u64 * (seconds / LOAD + 1);
    assert!(seen.0.keys().all(|kind| kind == "load"), "{seen:?}");
    bar("writes to etcd", budget, puts);
    bar("what its members have to agree on", budget, proposals);
    assert!(puts <= budget, "{puts} of {budget}");
    assert_eq!((deletions, leases), (0, 0));
    // Renewals of leases are none of them, and refused writes are.
    assert!(proposals <= budget, "{proposals} of {budget}");
}
