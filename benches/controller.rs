//! What a large cluster costs its controller: `scripts/bench controller`.
//!
//! The real program on a real etcd. The agents of 1 000 nodes are simulated by one task, which writes what each would
//! report: 50 instances per node, in services of 50. Times are from a write by an operator until the leader's answer is seen
//! in the store, so that etcd's part is in them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use quaestor::{
    host::Host,
    keys::{Key, Keys},
    model::{Assignment, Desired, Instance, Name, ServiceStatus},
    store::{Change, Config, Follow, Outcome, Store, Txn, Write},
};
use serde_json::{Value as Json, json};
use support::{
    figures::{self, Bar},
    hosts::Hosts,
};
use tokio::sync::mpsc;

const NODES: usize = 1_000;
const SERVICES: usize = 1_000;
const REPLICAS: u32 = 50;

/// Writes per transaction, and transactions under way at once, of all simulated agents.
const BATCH: usize = 100;
const WIDTH: usize = 8;

/// Changes whose time is measured.
const CHANGES: usize = 20;

/// How long the leader is watched while nothing happens: it has made a full pass then, at least.
const IDLE: Duration = Duration::from_secs(65);

/// An assignment was seen: of which instance, in which generation, and when.
type Sight = (Instance, u64, Instant);

#[derive(Clone)]
struct Cluster {
    store: Store,
    keys: Keys,
}

impl Cluster {
    async fn put(&self, writes: Vec<Write>) {
        let batches: Vec<Vec<Write>> = writes.chunks(BATCH).map(<[Write]>::to_vec).collect();
        let commit = |batch: Vec<Write>| async move {
            let txn = batch.into_iter().fold(Txn::new(), Txn::then);
            let outcome = self.store.commit(txn).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed(_)));
        };
        stream::iter(batches)
            .map(commit)
            .buffer_unordered(WIDTH)
            .collect::<()>()
            .await;
    }

    fn write(&self, key: &Key, value: &Json) -> Write {
        Write::put(self.keys.of(key), value.to_string())
    }

    fn session(&self, at: usize) -> Write {
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": format!("10.0.{}.{}", at / 250, at % 250), "version": "0",
            "labels": {"zone": format!("z{}", at % 3)}, "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        self.write(&Key::Session(name("n", at)), &session)
    }

    fn service(&self, at: usize, generation: u64) -> Write {
        let spec = json!({
            "replicas": REPLICAS, "command": ["/opt/worker", "--port", "{port}"],
            "env": {"GENERATION": generation.to_string()},
            "ports": [{"name": "grpc"}], "serviceNames": [format!("S{at}")], "placement": {"spreadBy": "zone"},
            "rollout": {"maxUnavailable": "25%"},
        });
        let name = name("s", at);
        let object = json!({"metadata": {"name": name}, "generation": generation, "spec": spec});
        self.write(&Key::ServiceSpec(name), &object)
    }

    /// What an agent does at once with what it is asked.
    fn report(&self, node: Name, asked: &Assignment) -> Write {
        let key = Key::State(node.clone(), asked.instance.clone());
        if asked.desired == Desired::Absent {
            return Write::delete(self.keys.of(&key));
        }
        let state = json!({
            "instance": asked.instance, "node": node, "phase": "Running", "ready": true, "pid": 1,
            "endpoint": {"host": "10.0.0.1", "port": 5000}, "ports": {"grpc": 5000}, "restarts": 0,
            "reason": "", "message": "", "startedAt": "2026-01-01T00:00:00Z",
            "observedGeneration": asked.generation, "revision": asked.revision, "epoch": 1,
        });
        self.write(&key, &state)
    }

    /// All agents.
    async fn simulate(self, seen: mpsc::UnboundedSender<Sight>) {
        let mut follow = self.store.follow(vec![self.keys.assignments()]);
        loop {
            let update = follow.next().await;
            let now = Instant::now();
            let mut reports: BTreeMap<String, Write> = BTreeMap::new();
            for change in &update.changes {
                let Some(Key::Assignment(node, _)) = self.keys.parse(change.key()) else {
                    continue;
                };
                if let Change::Put(entry) = change {
                    let asked: Assignment = serde_json::from_slice(&entry.value).unwrap();
                    let _ = seen.send((asked.instance.clone(), asked.generation, now));
                    reports.insert(entry.key.clone(), self.report(node, &asked));
                }
            }
            self.put(reports.into_values().collect()).await;
        }
    }
}

fn name(kind: &str, at: usize) -> Name {
    format!("{kind}{at}").parse().unwrap()
}

/// How far the services are, as the leader reports them.
struct Statuses {
    keys: Keys,
    follow: Follow,
    done: BTreeMap<Name, u64>,
}

impl Statuses {
    /// Waits until `count` services have all replicas ready and updated in `generation`.
    async fn until(&mut self, count: usize, generation: u64) {
        while self
            .done
            .values()
            .filter(|done| **done >= generation)
            .count()
            < count
        {
            for change in self.follow.next().await.changes {
                let Some(Key::ServiceStatus(name)) = self.keys.parse(change.key()) else {
                    continue;
                };
                if let Change::Put(entry) = change {
                    let status: ServiceStatus = serde_json::from_slice(&entry.value).unwrap();
                    let all = (status.ready, status.updated) == (REPLICAS, REPLICAS);
                    if all {
                        self.done.insert(name, status.observed_generation);
                    }
                }
            }
        }
    }
}

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
    let store = Store::new(Config::new([hosts.etcd.endpoint()]), Host::system()).unwrap();
    let keys = Keys::new(&"default".parse().unwrap());
    let cluster = Cluster {
        store: store.clone(),
        keys: keys.clone(),
    };
    cluster
        .put((0..NODES).map(|at| cluster.session(at)).collect())
        .await;
    cluster
        .put((0..SERVICES).map(|at| cluster.service(at, 1)).collect())
        .await;
    let (seen, mut sights) = mpsc::unbounded_channel();
    tokio::spawn(cluster.clone().simulate(seen));
    let mut statuses = Statuses {
        follow: store.follow(vec![keys.statuses()]),
        keys,
        done: BTreeMap::new(),
    };

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
        cluster.put(vec![cluster.service(at, 2)]).await;
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
    print("writes meanwhile", puts as f64, "", "");

    // The next one leads once the lease of the last has ended, 10 s later at most, and has to read everything.
    hosts.role("heir", &["controller", "--node-grace", "1h"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    hosts.kill("controller");
    let killed = Instant::now();
    cluster.put(vec![cluster.service(SERVICES - 1, 2)]).await;
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
}
