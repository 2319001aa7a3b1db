//! How fast a one-machine cluster reacts, as a stock client sees it: `cargo bench --bench reactions`.
//!
//! Times are of this machine and this moment; the last column is what each should stay below.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use support::{
    cluster::{Cluster, Kind, demo_workers},
    python::Client,
    signal,
};

const ROUNDS: usize = 10;

fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "{:<10} {:<44} {:>9} {:>9} {:>9}  below",
        "store", "what", "min", "median", "max"
    );
    for kind in [Kind::Embedded, Kind::Etcd] {
        Reactions::of(kind).print(kind);
    }
}

#[derive(Default)]
struct Reactions {
    start: Vec<Duration>,
    out: Vec<Duration>,
    back: Vec<Duration>,
    hung: Vec<Duration>,
}

impl Reactions {
    fn of(kind: Kind) -> Self {
        let mut client = Client::start();
        let mut reactions = Self::default();
        for _ in 0..3 {
            let manifest = demo_workers(4, "");
            let start = Instant::now();
            let cluster = Cluster::start(kind, &manifest);
            let mut count = || {
                client
                    .top(cluster.balancer(), "Worker", 0)
                    .map_or(0, |found| found.len())
            };
            reactions.start.push(until(start, || count() == 4));
        }
        let cluster = Cluster::start(kind, &demo_workers(4, ""));
        let mut count = || {
            client
                .top(cluster.balancer(), "Worker", 0)
                .map_or(0, |found| found.len())
        };
        until(Instant::now(), || count() == 4);
        for round in 0..ROUNDS {
            let pid = cluster
                .instance(&format!("worker-{}", round % 4))
                .pid
                .unwrap();
            let start = Instant::now();
            signal(pid, "KILL");
            reactions.out.push(until(start, || count() == 3));
            reactions.back.push(until(start, || count() == 4));
        }
        let pid = cluster.instance("worker-0").pid.unwrap();
        let start = Instant::now();
        signal(pid, "STOP");
        reactions.hung.push(until(start, || count() == 3));
        until(start, || count() == 4);
        reactions
    }

    fn print(mut self, kind: Kind) {
        for (what, times, below) in [
            ("dev to 4 workers answered", &mut self.start, "5 s"),
            ("kill -9 to out of the answers", &mut self.out, "100 ms"),
            (
                "kill -9 to answered again",
                &mut self.back,
                "2 s + start-up",
            ),
            (
                "SIGSTOP to out of the answers (1 s checks)",
                &mut self.hung,
                "2 s + 100 ms",
            ),
        ] {
            times.sort();
            let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
            println!(
                "{:<10} {what:<44} {:>9} {:>9} {:>9}  {below}",
                format!("{kind:?}"),
                millis(times[0]),
                millis(times[times.len() / 2]),
                millis(times[times.len() - 1]),
            );
        }
    }
}

/// The time from `start` until `condition` holds.
fn until(start: Instant, mut condition: impl FnMut() -> bool) -> Duration {
    while !condition() {
        assert!(start.elapsed() < support::PATIENCE, "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}
