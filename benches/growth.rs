//! How a cluster comes to what it is asked, by its size, and how its agents come back all at once: `scripts/bench growth`.
//!
//! The real controller on a real etcd, and simulated agents that do at once what they are asked. The limit beside it is
//! what cannot be saved: the same assignments and reports written by a client that has nothing to decide, in batches.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "support/fleet.rs"]
mod fleet;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use fleet::{Fleet, Statuses};
use futures::future::join_all;
use quaestor::store::{Follow, Lease, Write};
use serde_json::json;
use support::{etcd::Etcd, figures, hosts::Hosts};
use tokio::sync::mpsc;

const NODES: [usize; 3] = [1, 10, 100];
const INSTANCES: [u32; 3] = [10, 100, 1_000];

/// Of so many turns the median is taken.
const TURNS: usize = 5;

/// Agents that lose their etcd together, for how long, and for how long their leases last.
const AGENTS: usize = 1_000;
const AWAY: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "from the write of a service until all of it is reported ready, median of {TURNS}, and beside the limit:"
    );
    for nodes in NODES {
        grow(nodes).await;
    }
    come_back().await;
}

/// Services of each size, on a cluster of `nodes`.
async fn grow(nodes: usize) {
    let mut hosts = Hosts::empty();
    let fleet = Fleet::new(hosts.etcd.endpoint());
    let sessions = (0..nodes).map(|at| fleet.session(at));
    fleet.put(sessions.collect()).await;
    let (seen, mut sights) = mpsc::unbounded_channel();
    tokio::spawn(fleet.clone().simulate(seen));
    tokio::spawn(async move { while sights.recv().await.is_some() {} });
    let mut statuses = Statuses::of(&fleet);
    hosts.role("controller", &["controller", "--node-grace", "1h"]);
    let mut services = 0;
    let mut cells = Vec::new();
    for instances in INSTANCES {
        let (mut took, mut limit) = (Vec::new(), Vec::new());
        // The first is for the controller to lead and to have read everything.
        for turn in 0..=TURNS {
            let start = Instant::now();
            fleet.put(vec![fleet.service(services, instances, 1)]).await;
            services += 1;
            statuses.until(services, 1).await;
            let (ours, start) = (start.elapsed(), Instant::now());
            write_alone(&fleet, instances).await;
            if turn > 0 {
                took.push(ours);
                limit.push(start.elapsed());
            }
        }
        let (took, limit) = (median(took), median(limit));
        let beside = took.as_secs_f64() / limit.as_secs_f64();
        println!("{nodes:4} nodes {instances:5} instances {took:9.1?} {beside:6.1} x {limit:9.1?}");
        let millis = took.as_secs_f64() * 1e3;
        cells.push((format!("{instances} instances"), millis, "ms"));
        cells.push((format!("{instances}, beside the limit"), beside, "x"));
    }
    let cells: Vec<_> = cells
        .iter()
        .map(|(name, figure, unit)| (name.as_str(), *figure, *unit))
        .collect();
    figures::row("growth", &format!("{nodes} nodes"), &cells);
}

/// As many assignments, and then as many reports, as `instances` need, of the size that they have.
async fn write_alone(fleet: &Fleet, instances: u32) {
    for (kind, size) in [("assign", 600), ("state", 400)] {
        let value = "x".repeat(size);
        let writes =
            (0..instances).map(|at| Write::put(format!("/limit/{kind}/{at}"), value.clone()));
        fleet.put(writes.collect()).await;
    }
}

/// What an agent has of the store: its session's lease, and the assignments that it follows.
struct Agent {
    lease: Lease,
    follow: Follow,
}

/// All agents lose their etcd at once, and are back.
async fn come_back() {
    let mut etcd = Etcd::start();
    let mut agents = Vec::new();
    for at in 0..AGENTS {
        let fleet = Fleet::new(etcd.endpoint());
        let lease = fleet.store.grant(LEASE).await.unwrap();
        tokio::spawn({
            let lease = lease.clone();
            async move { lease.keep().await }
        });
        let mut follow = fleet.store.follow(vec![format!("/limit/assign/{at}/")]);
        follow.next().await;
        agents.push(Agent { lease, follow });
    }
    let fleet = Fleet::new(etcd.endpoint());
    etcd.kill();
    tokio::time::sleep(AWAY).await;
    let deadlines: Vec<_> = agents.iter().map(|agent| agent.lease.deadline()).collect();
    etcd.restart();
    let start = Instant::now();
    let told =
        (0..AGENTS).map(|at| Write::put(format!("/limit/assign/{at}/i"), json!({}).to_string()));
    fleet.put(told.collect()).await;
    let back = join_all(
        agents
            .iter_mut()
            .zip(deadlines)
            .map(|(agent, deadline)| async move {
                while agent.follow.next().await.changes.is_empty() {}
                let told = start.elapsed();
                agent.lease.renewed_since(deadline).await;
                (told, start.elapsed())
            }),
    )
    .await;
    let told = back.iter().map(|(told, _)| *told).max().unwrap();
    let renewed = back.iter().map(|(_, renewed)| *renewed).max().unwrap();
    println!(
        "{AGENTS} agents, etcd away for {AWAY:?}: all are told of changes {told:.2?} after it is back, leases renewed {renewed:.2?}"
    );
    let cells = [
        ("told of changes", told.as_secs_f64(), "s"),
        ("leases renewed", renewed.as_secs_f64(), "s"),
    ];
    figures::row(
        "back",
        &format!("{AGENTS} agents, etcd away for {} s", AWAY.as_secs()),
        &cells,
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
