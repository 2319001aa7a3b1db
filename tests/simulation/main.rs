//! Whole clusters in one thread on virtual time, with faults, checked after every step.
//!
//! - the world: [`world`], of [`network`], [`machine`], [`gate`] (the store), [`processes`], [`operators`]
//! - what goes wrong: [`schedule`]; bugs put in on purpose: [`planted`]
//! - what must hold: [`checker`], which learns from [`cast`] who is who
//! - what comes out: [`trace`]; running, replaying and shrinking many: [`seeds`]
//!
//! A seed gives the same world every time ([`chance`]). Each runs in a process of its own, so that nothing of
//! an earlier one is left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test, which starts programs and tasks of its own"
)]
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "a test's modules are read whole"
)]

mod cast;
mod chance;
mod checker;
mod gate;
mod machine;
mod network;
mod operators;
mod planted;
mod processes;
mod schedule;
mod seeds;
mod trace;
mod world;

use planted::Planted;
use seeds::{Task, failures, report, run_all};

/// Seeds that every test run tries.
const FEW: u64 = 16;

/// So many seeds may be needed to find a planted bug.
const PATIENCE: u64 = 500;

/// Worlds that went wrong once: they are tried always.
const KEPT: &str = include_str!("kept-seeds.txt");

#[test]
fn clusters_keep_their_invariants_whatever_goes_wrong() {
    let kept = KEPT.lines().filter(|line| !line.starts_with('#'));
    let kept = kept.filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let seeds: Vec<u64> = kept.chain(1..=FEW).collect();
    let failed = failures(&seeds);
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn a_seed_gives_the_same_world_every_time() {
    let told = Task {
        verbose: true,
        ..Task::of(3)
    };
    let reports = run_all(&[Task::of(3), Task::of(3), told]);
    assert!(reports[0].count > 100, "a world tells a story");
    assert_eq!(reports[0], reports[1]);
    // Whoever looks at it sees the same.
    assert_eq!(
        (reports[0].hash, reports[0].elapsed),
        (reports[2].hash, reports[2].elapsed)
    );
}

#[test]
fn a_schedule_is_shrunk_until_nothing_can_be_left_out() {
    let all_of = |needed: &'static [usize]| {
        move |kept: &[usize]| {
            let there = needed.iter().all(|it| kept.contains(it));
            there.then(|| kept.to_vec())
        }
    };
    const NEEDED: [&[usize]; 5] = [&[3, 11], &[0], &[19], &[0, 1, 2, 17], &[]];
    for needed in NEEDED {
        let (kept, found) = seeds::fewest(20, all_of(needed));
        assert_eq!((kept.as_slice(), found), (needed, Some(needed.to_vec())));
    }
    // The second is only needed while the last is there.
    let either = |kept: &[usize]| {
        let has = |one| kept.contains(&one);
        (has(4) && (!has(9) || has(5))).then_some(())
    };
    assert_eq!(seeds::fewest(10, either).0, [4]);
    assert_eq!(seeds::fewest(20, |_| None::<()>).0.len(), 20);
}

#[test]
fn the_checker_finds_every_planted_bug() {
    let found = seeds::hunt(&Planted::ALL.map(|(planted, _)| planted), PATIENCE);
    println!("invariant  planted bug   seeds until found");
    for ((planted, invariant), (tried, violation)) in Planted::ALL.into_iter().zip(found) {
        println!("{invariant:<10} {:<13} {tried}", format!("{planted:?}"));
        let violation = violation.unwrap_or_else(|| panic!("{planted:?} was not found"));
        assert_eq!(
            invariant, violation.invariant,
            "{planted:?} was taken for something else: {}",
            violation.what
        );
    }
}

/// Not a test by itself: the world that the others start as a process ([`seeds::Task::run`]).
#[test]
#[ignore = "one world, started by the other tests"]
fn one_world() {
    report();
}

/// `scripts/simulate`.
#[test]
#[ignore = "as many worlds as scripts/simulate asks for"]
fn many_worlds() {
    assert!(seeds::simulate(), "some seeds failed");
}
