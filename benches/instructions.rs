//! How many instructions the hot functions take: `scripts/bench instructions [--renew]`.
//!
//! Counts repeat where times do not, so that a change that makes one slower is seen in a run of all tests. valgrind runs
//! this program once per function and counts what happens in [`counted`] alone. What it was last is in `instructions.json`
//! beside this file; `--renew` writes that anew. With another compiler the counts are another's: nothing is compared then.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/support/figures.rs"]
#[allow(dead_code, unreachable_pub, reason = "each bench uses a part")]
mod figures;
#[path = "support/leader.rs"]
mod leader;
mod support;

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    process::{Command, ExitCode},
    time::Duration,
};

use quaestor::{
    keys::{Key, Keys},
    model::{
        Assignment,
        manifest::{self, Source},
    },
    plan::scope::Scope,
    view::Question,
};
use serde::{Deserialize, Serialize};
use support::World;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much more than last time is too much. A change elsewhere has been seen to shift a small function by 6 %, as the
/// compiler then inlines in another way; another directory shifts nothing.
const TOLERANCE: f64 = 0.05;

/// Calls of a function of which one is the mean.
const CALLS: u64 = 1_000;

/// A hot function, and how often it is called to be counted.
struct Function {
    name: &'static str,
    calls: u64,
    /// Everything that is to be there before, and then the function.
    ready: fn() -> Box<dyn FnMut(u64)>,
}

impl Function {
    const fn new(name: &'static str, calls: u64, ready: fn() -> Box<dyn FnMut(u64)>) -> Self {
        Self { name, calls, ready }
    }
}

const FUNCTIONS: &[Function] = &[
    Function::new("a pick by leastLoad among 24", CALLS, || pick(24)),
    Function::new("a pick by leastLoad among 10 000", CALLS, || pick(10_000)),
    Function::new("DiscoverTopServices(1) among 10 000", CALLS, || top(10_000)),
    Function::new("a load report among 10 000", CALLS, || report(10_000)),
    Function::new("an instance comes or goes among 1 000", CALLS, || {
        member(1_000)
    }),
    Function::new("a pass of the planner over 500 instances", 10, pass),
    Function::new("planning what one of 500 instances reports", 10, ail),
    Function::new("reading a key", CALLS, key),
    Function::new("reading an assignment", CALLS, assignment),
    Function::new("reading manifests/hello.yaml", 100, manifest),
];

/// What `instructions.json` holds.
#[derive(Serialize, Deserialize)]
struct Baseline {
    /// As `rustc --version` says it.
    compiler: String,
    /// Instructions of one call.
    functions: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let given: Vec<String> = env::args().skip(1).collect();
    // `cargo test --benches` only wants to know whether it compiles.
    if given.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    if let Some(called) = FUNCTIONS
        .iter()
        .find(|function| given.first().is_some_and(|name| name == function.name))
    {
        let mut function = (called.ready)();
        function(0);
        counted(&mut *function, called.calls);
        return ExitCode::SUCCESS;
    }
    let counts = FUNCTIONS
        .iter()
        .map(|function| (function.name.to_owned(), count(function)));
    let now = Baseline {
        compiler: compiler(),
        functions: counts.collect(),
    };
    compare(&now, given.iter().any(|argument| argument == "--renew"))
}

/// All that valgrind counts.
#[inline(never)]
fn counted(function: &mut dyn FnMut(u64), calls: u64) {
    for call in 1..=calls {
        function(call);
    }
}

/// The instructions of one call.
fn count(function: &Function) -> u64 {
    let valgrind = env::var_os("VALGRIND").unwrap_or_else(|| "valgrind".into());
    let output = Command::new(&valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=instructions::counted"])
        .arg(env::current_exe().unwrap())
        .arg(function.name)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {valgrind:?}: {error}; run scripts/bench instructions, which fetches it"));
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = said.lines().find_map(|line| {
        line.split_once("Collected : ")?
            .1
            .trim()
            .parse::<u64>()
            .ok()
    });
    let counted = counted
        .filter(|count| *count > 0)
        .unwrap_or_else(|| panic!("{}: nothing was counted:\n{said}", function.name));
    counted / function.calls
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Prints how the counts have changed; fails if one is too high, and they are not to be the baseline from now on.
fn compare(now: &Baseline, renew: bool) -> ExitCode {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
    let before: Option<Baseline> = fs::read(path)
        .ok()
        .map(|json| serde_json::from_slice(&json).unwrap());
    let comparable = before
        .as_ref()
        .filter(|before| before.compiler == now.compiler);
    let mut slower = Vec::new();
    for (name, count) in &now.functions {
        let last = comparable.and_then(|before| before.functions.get(name));
        let more = last.map(|last| *count as f64 / *last as f64 - 1.0);
        let told = more.map_or("new".to_owned(), |more| format!("{:+.1} %", 100.0 * more));
        println!("{name:46} {count:>10} {told:>9}");
        figures::row("instructions", name, &[("instructions", *count as f64, "")]);
        if more.is_none_or(|more| more > TOLERANCE) {
            slower.push(name.as_str());
        }
    }
    if renew {
        fs::write(path, serde_json::to_string_pretty(now).unwrap() + "\n").unwrap();
        return ExitCode::SUCCESS;
    }
    let Some(before) = comparable else {
        println!(
            "nothing to compare with: the counts kept are of {:?}",
            before.map(|before| before.compiler)
        );
        return ExitCode::SUCCESS;
    };
    if slower.is_empty() {
        println!(
            "no more than with {} before, within {} %",
            before.compiler,
            100.0 * TOLERANCE
        );
        return ExitCode::SUCCESS;
    }
    println!(
        "more by over {} %, or not counted before: {}",
        100.0 * TOLERANCE,
        slower.join("; ")
    );
    println!("mend that; if it has to be: scripts/bench instructions --renew");
    ExitCode::FAILURE
}

fn pick(size: usize) -> Box<dyn FnMut(u64)> {
    let world = World::new(size);
    Box::new(move |call| {
        let question = Question::new("Worker", call, world.now);
        black_box(world.directory.pick(&question).unwrap());
    })
}

fn top(size: usize) -> Box<dyn FnMut(u64)> {
    let mut world = World::new(size);
    // The order is kept from the first question on.
    let _ = world.directory.top("Worker", 1, world.now);
    world.pass(Duration::from_secs(1));
    Box::new(move |_| {
        black_box(world.directory.top("Worker", 1, world.now).unwrap());
    })
}

fn report(size: usize) -> Box<dyn FnMut(u64)> {
    let mut world = World::new(size);
    Box::new(move |call| world.set_load(2, (call % 3) as i32))
}

fn member(size: usize) -> Box<dyn FnMut(u64)> {
    let mut world = World::new(size);
    Box::new(move |call| world.set_ready(1, call % 2 == 0))
}

/// Ten services of 50 instances on ten nodes, at rest.
fn cluster() -> leader::World {
    let mut world = leader::World::default();
    (0..10).for_each(|at| world.node(at));
    (0..10).for_each(|at| world.service(at, 50, 1));
    world.settle();
    world
}

fn pass() -> Box<dyn FnMut(u64)> {
    let mut world = cluster();
    Box::new(move |_| {
        black_box(world.plan(&Scope::everything()));
    })
}

fn ail() -> Box<dyn FnMut(u64)> {
    let mut world = cluster();
    Box::new(move |call| {
        world.ail(call as usize % 10);
        black_box(world.consider());
    })
}

fn key() -> Box<dyn FnMut(u64)> {
    let keys = Keys::new(&"default".parse().unwrap());
    let text = keys.of(&Key::State(
        "node-17".parse().unwrap(),
        "worker-42".parse().unwrap(),
    ));
    Box::new(move |_| {
        black_box(keys.parse(&text).unwrap());
    })
}

fn assignment() -> Box<dyn FnMut(u64)> {
    let world = cluster();
    let seats = &world.cluster.services()[&leader::name("s", 0)].seats;
    let asked = seats.first_key_value().unwrap().1.asked().unwrap().clone();
    let json = serde_json::to_vec(&asked).unwrap();
    Box::new(move |_| {
        black_box(serde_json::from_slice::<Assignment>(&json).unwrap());
    })
}

fn manifest() -> Box<dyn FnMut(u64)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/hello.yaml");
    let text = fs::read_to_string(path).unwrap();
    Box::new(move |_| {
        let source = Source {
            name: "hello.yaml".to_owned(),
            text: text.clone(),
        };
        black_box(manifest::read(&[source]).unwrap());
    })
}
