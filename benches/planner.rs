//! What planning costs, without a store: `scripts/bench planner`.
//!
//! A cluster in memory as the leader knows it, and agents that do at once what they are asked: 100, then 1 000 nodes
//! with 50 instances each, in services of 50 and one of 1 000. Measured are the first plan of all, a pass over everything
//! that finds nothing to do, and what is planned after one instance's report, after a change of the template of a service
//! of 50, and of the one of 1 000. `scripts/bench controller` has the same with the real program on an etcd.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/support/figures.rs"]
#[allow(dead_code, unreachable_pub, reason = "each bench uses a part")]
mod figures;
#[path = "support/leader.rs"]
mod leader;

use std::{fs, time::Duration};

use leader::World;
use quaestor::plan::scope::Scope;

const PER_NODE: usize = 50;
const REPLICAS: usize = 50;
/// Instances of one large service.
const LARGE: usize = 1_000;

/// The bars of a cluster of 1 000 nodes.
const CHANGE: Duration = Duration::from_millis(50);
const FULL_PASS: Duration = Duration::from_secs(2);
const MEMORY: f64 = 1024.0;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Memory of this process, in MiB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "{:>6}  {:>9}  {:>11}  {:>11}  {:>11}  {:>11}  {:>11}  {:>9}",
        "nodes",
        "instances",
        "first plan",
        "full pass",
        "one report",
        "change: 50",
        "1 000",
        "resident"
    );
    for nodes in [100, 1_000] {
        let mut world = World::default();
        (0..nodes).for_each(|at| world.node(at));
        let services = nodes * PER_NODE / REPLICAS;
        (0..services).for_each(|at| world.service(at, REPLICAS, 1));
        world.service(services, LARGE, 1);
        let all = Scope::everything();
        let (first, first_took) = world.plan(&all);
        world.carry_out(&first);
        world.settle();
        let passes = (0..5).map(|_| {
            let (plan, took) = world.plan(&all);
            assert!(plan.steps.is_empty(), "nothing was to be done");
            took
        });
        let pass = median(passes.collect());
        let reports = (30..51).map(|at| {
            world.ail(at);
            world.react()
        });
        let report = median(reports.collect());
        world.settle();
        let changes = (0..21).map(|at| {
            world.service(at, REPLICAS, 2);
            world.react()
        });
        let change = median(changes.collect());
        world.settle();
        world.service(services, LARGE, 2);
        let large = world.react();
        println!(
            "{nodes:>6}  {:>9}  {first_took:>11.1?}  {pass:>11.1?}  {report:>11.1?}  {change:>11.1?}  {large:>11.1?}  \
             {:>5.0} MiB",
            nodes * PER_NODE + LARGE,
            resident()
        );
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let cells = [
            ("first plan of all", millis(first_took), "ms"),
            ("a pass over all that finds nothing", millis(pass), "ms"),
            ("one instance reports", millis(report), "ms"),
            ("a service of 50 changes", millis(change), "ms"),
            ("the one of 1 000", millis(large), "ms"),
            ("memory", resident(), "MiB"),
        ];
        let instances = nodes * PER_NODE + LARGE;
        figures::row(
            "planning",
            &format!("{nodes} nodes, {instances} instances"),
            &cells,
        );
        if nodes == 1_000 {
            let bar = |name, figure, unit, most| {
                let name = format!("planning for 1 000 nodes: {name}");
                figures::bar(&name, figure, unit, figures::Bar::AtMost(most));
            };
            bar("a pass over all", millis(pass), "ms", millis(FULL_PASS));
            bar("a service changes", millis(change), "ms", millis(CHANGE));
            bar("memory", resident(), "MiB", MEMORY);
        }
    }
    println!(
        "bars at 1 000 nodes: full pass < {FULL_PASS:?}, one change < {CHANGE:?}, < {MEMORY} MiB"
    );
}
