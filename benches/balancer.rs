//! What a pick costs: `cargo bench --bench balancer`.
//!
//! The view alone, without gRPC, at 10 to 100 000 endpoints: time of a pick by the default policy, and of
//! `DiscoverTopServices` for one; before that, allocations per pick, memory per endpoint, and what a change of
//! members costs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(unsafe_code, reason = "counting allocations needs an allocator")]

#[path = "../tests/support/figures.rs"]
#[allow(dead_code, unreachable_pub, reason = "each bench uses a part")]
mod figures;
mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion};
use figures::Bar;
use quaestor::{
    model::{
        Moment,
        service::{BalanceSpec, PreferSpec},
    },
    view::Question,
};
use support::{World, zone};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size() as i64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SIZES: [usize; 5] = [10, 24, 1_000, 10_000, 100_000];

fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "{:>9}  {:>16}  {:>8}  {:>14}  {:>12}",
        "endpoints", "allocations/pick", "MiB", "member change", "load report"
    );
    for size in SIZES {
        costs(size);
    }
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(500))
        .configure_from_args();
    picks(&mut criterion);
    preferences(&mut criterion);
    criterion.final_summary();
}

fn costs(size: usize) {
    let before = BYTES.load(Relaxed);
    let mut world = World::new(size);
    let memory = (BYTES.load(Relaxed) - before) as f64 / f64::from(1 << 20);
    let before = ALLOCATIONS.load(Relaxed);
    for seed in 0..1_000 {
        let question = Question::new("Worker", seed, world.now);
        black_box(world.directory.pick(&question).unwrap());
    }
    let allocations = (ALLOCATIONS.load(Relaxed) - before) as f64 / 1_000.0;
    let median = |mut act: Box<dyn FnMut() + '_>| {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let start = Instant::now();
                act();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[10]
    };
    let mut ready = true;
    let change = median(Box::new(|| {
        ready = !ready;
        world.set_ready(1, ready);
    }));
    let mut current = 0;
    let report = median(Box::new(|| {
        current = (current + 1) % 3;
        world.set_load(2, current);
    }));
    println!("{size:>9}  {allocations:>16.2}  {memory:>8.1}  {change:>14.1?}  {report:>12.1?}");
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let cells = [
        ("allocations of a pick", allocations, ""),
        ("memory", memory, "MiB"),
        ("a member comes or goes", micros(change), "µs"),
        ("a load report", micros(report), "µs"),
    ];
    figures::row("view", &format!("{size} endpoints"), &cells);
    let name = format!("allocations of a pick among {size}");
    figures::bar(&name, allocations, "", Bar::AtMost(1.0));
}

/// Picks for askers who prefer one of three zones, where that has room and where it is full.
fn preferences(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prefer");
    let attributes = [("zone".to_owned(), zone(0))].into();
    for size in SIZES {
        let prefer = PreferSpec {
            label: "zone".to_owned(),
            spill_over: None,
        };
        let balance = BalanceSpec {
            prefer: Some(prefer),
            ..BalanceSpec::default()
        };
        let mut world = World::with(size, i32::MAX, balance);
        let mut seed = 0_u64;
        for (what, current) in [("near", 0), ("spill over", i32::MAX)] {
            world.report_zone(0, size, current);
            group.bench_with_input(BenchmarkId::new(what, size), &size, |bencher, _| {
                bencher.iter(|| {
                    seed += 1;
                    if seed.is_multiple_of(100_000) {
                        world.pass(Duration::from_millis(250));
                    }
                    let question = Question {
                        attributes: Some(&attributes),
                        ..Question::new("Worker", seed, world.now)
                    };
                    black_box(world.directory.pick(&question).unwrap())
                });
            });
        }
    }
    group.finish();
}

fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for size in SIZES {
        let mut world = World::new(size);
        // The clock and the loop go on, as they do in a balancer.
        let mut seed = 0_u64;
        group.bench_with_input(BenchmarkId::new("leastLoad", size), &size, |bencher, _| {
            bencher.iter(|| {
                seed += 1;
                if seed.is_multiple_of(100_000) {
                    world.pass(Duration::from_millis(250));
                }
                let question = Question::new("Worker", seed, world.now);
                black_box(world.directory.pick(&question).unwrap())
            });
        });
        let mut world = World::new(size);
        let _ = world.directory.top("Worker", 1, world.now);
        world.pass(Duration::from_secs(1));
        let mut count = 0_u64;
        group.bench_with_input(BenchmarkId::new("ordered", size), &size, |bencher, _| {
            bencher.iter(|| {
                count += 1;
                if count.is_multiple_of(100_000) {
                    world.pass(Duration::from_millis(250));
                }
                let now: Moment = world.now;
                black_box(world.directory.top("Worker", 1, now).unwrap())
            });
        });
    }
    group.finish();
}
