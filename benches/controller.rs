//! What a large cluster costs its controller: `scripts/bench controller`.
//!
//! The real program on a real etcd. The agents of 1 000 nodes are simulated by one task, which writes what each would
//! report: 50 instances per node, in services of 50. Times are from a write by an operator until the leader's answer is seen
//! in the store, so that etcd's part is in them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "support/fleet.rs"]
mod fleet;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use fleet::{Fleet, Statuses, name};
use quaestor::{keys::Key, store::Change};
use support::{
    figures::{self, Bar},
    hosts::Hosts,
};
use tokio::sync::mpsc;

const NODES: usize = 1_000;
const SERVICES: usize = 1_000;
const REPLICAS: u32 = 50;

/// Changes whose time is measured.
const CHANGES: usize = 20;

/// How long the leader is watched while nothing happens: it has made a full pass then, at least.
const IDLE: Duration = Duration::from_secs(65);

/// A line of `/proc/PID/status`, in MiB.
fn memory(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: f64 = line
        .unwrap()
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024.0
}

/// The processor time of a process so far, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Prints a figure, with what else is to be said of it.
fn print(what: &str, figure: f64, unit: &str, more: &str) {
    println!("{what:66} {figure:.1} {unit}{more}");
    figures::row("controller", what, &[("", figure, unit)]);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut hosts = Hosts::empty();
    let cluster = Fleet::new(hosts.etcd.endpoint());
    cluster
        .put((0..NODES).map(|at| cluster.session(at)).collect())
        .await;
    cluster
        .put(
            (0..SERVICES)
                .map(|at| cluster.service(at, REPLICAS, 1))
                .collect(),
        )
        .await;
    let (seen, mut sights) = mpsc::unbounded_channel();
    tokio::spawn(cluster.clone().simulate(seen));
    let mut statuses = Statuses::of(&cluster);

    println!(
        "{NODES} nodes x {} instances",
        SERVICES * REPLICAS as usize / NODES
    );
    let start = Instant::now();
    hosts.role("controller", &["controller", "--node-grace", "1h"]);
    statuses.until(SERVICES, 1).await;
    print(
        "from no instance to all ready, with one etcd",
        start.elapsed().as_secs_f64(),
        "s",
        "",
    );
    let pid = hosts.pid("controller");
    print(
        "the most memory until then",
        memory(pid, "VmHWM"),
        "MiB",
        " (bar 1024 MiB)",
    );
    let what = "a controller of 50 000 instances: memory";
    figures::bar(what, memory(pid, "VmHWM"), "MiB", Bar::AtMost(1024.0));

    let mut first = Vec::new();
    let mut whole = Vec::new();
    for at in 0..CHANGES {
        while sights.try_recv().is_ok() {}
        let changed = name("s", at);
        cluster.put(vec![cluster.service(at, REPLICAS, 2)]).await;
        let start = Instant::now();
        loop {
            let (instance, generation, when) = sights.recv().await.unwrap();
            if instance.service == changed && generation == 2 {
                first.push(when.saturating_duration_since(start));
                break;
            }
        }
        statuses.until(at + 1, 2).await;
        whole.push(start.elapsed());
    }
    first.sort_unstable();
    whole.sort_unstable();
    print(
        "a changed service until its first assignment is stored",
        millis(first[CHANGES / 2]),
        "ms",
        &format!(" ({:.1?} at most; bar 50 ms)", first[CHANGES - 1]),
    );
    let what =
        "a changed service among 50 000 instances until its first assignment is stored, median";
    figures::bar(what, millis(first[CHANGES / 2]), "ms", Bar::AtMost(50.0));
    print(
        "the same until all 50 are updated, 25 % at a time",
        millis(whole[CHANGES / 2]),
        "ms",
        &format!(" ({:.1?} at most)", whole[CHANGES - 1]),
    );

    let (before, puts) = (ticks(pid), hosts.etcd.counter("etcd_mvcc_put_total"));
    tokio::time::sleep(IDLE).await;
    let spent = (ticks(pid) - before) as f64 / 100.0 / IDLE.as_secs_f64();
    let puts = hosts.etcd.counter("etcd_mvcc_put_total") - puts;
    print(
        "its share of a core while nothing happens, full passes included",
        100.0 * spent,
        "%",
        "",
    );
    print(
        "writes meanwhile: events of those changes",
        puts as f64,
        "",
        "",
    );

    // The next one leads once the lease of the last has ended, 10 s later at most, and has to read everything.
    hosts.role("heir", &["controller", "--node-grace", "1h"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    hosts.kill("controller");
    let killed = Instant::now();
    cluster
        .put(vec![cluster.service(SERVICES - 1, REPLICAS, 2)])
        .await;
    statuses.until(CHANGES + 1, 2).await;
    print(
        "the leader killed until its heir has carried out a change",
        killed.elapsed().as_secs_f64(),
        "s",
        "",
    );
    let pid = hosts.pid("heir");
    print(
        "the most memory of the heir",
        memory(pid, "VmHWM"),
        "MiB",
        "",
    );

    // One that steps down leaves no lease to be waited for: what is left is reading everything, and planning.
    hosts.stop("heir");
    cluster
        .put(vec![cluster.service(SERVICES - 2, REPLICAS, 2)])
        .await;
    let start = Instant::now();
    hosts.role("third", &["controller", "--node-grace", "1h"]);
    statuses.until(CHANGES + 2, 2).await;
    print(
        "a controller from its start until it has carried out a change",
        start.elapsed().as_secs_f64(),
        "s",
        "",
    );

    let start = Instant::now();
    hosts.agent("fresh");
    let session = cluster.keys.of(&Key::Session("fresh".parse().unwrap()));
    let mut sessions = cluster.store.follow(vec![session]);
    let reconciled = |change: &Change| match change {
        Change::Put(entry) => {
            String::from_utf8_lossy(&entry.value).contains(r#""reconciled":true"#)
        }
        Change::Delete { .. } => false,
    };
    while !sessions.next().await.changes.iter().any(reconciled) {}
    print(
        "an agent from its start until it says that it has taken stock",
        start.elapsed().as_secs_f64(),
        "s",
        "",
    );
}
