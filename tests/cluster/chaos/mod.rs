//! Faults of all kinds, drawn by chance, while clients call: `scripts/chaos --minutes N --seed S`.
//!
//! - `kind`: the faults there are, and what each needs for itself
//! - `strike`: how one is brought about, and ended
//! - `stage`: the cluster, and when it is whole
//! - `clients`: who calls all the time
//! - `causes`: whether what ended was to end
//! - `report`: what came of it
//!
//! Faults overlap, but only so far that a cluster can serve through them: at most one host's copy of the service that is
//! called is hit at a time, one member of the store (or its quorum, for seconds), one balancer. So no call may fail that is
//! made again once.

mod causes;
mod clients;
mod kind;
mod report;
mod stage;
mod strike;

use std::time::{Duration, Instant};

use self::{
    kind::{Fault, Kind},
    report::Report,
    stage::Stage,
    strike::Open,
};
use crate::{dice::Dice, support::number};

/// Of a fault that waits until it can be struck beside those that are open.
const TURN: Duration = Duration::from_millis(50);

/// So many faults are struck between two times of rest.
const BETWEEN_RESTS: usize = 12;

/// How long a fault may last in a run that has the time for it: longer than any session.
const LONGEST: Duration = Duration::from_secs(26);

#[test]
fn no_call_fails_and_nothing_stops_without_a_cause_whatever_chance_breaks() {
    // `scripts/chaos` asks for more.
    let lasts = Duration::from_secs(number("QUAESTOR_TEST_CHAOS_SECONDS", 25) as u64);
    let seed = number("QUAESTOR_TEST_CHAOS_SEED", 8) as u64;
    let mut dice = Dice::new(seed);
    let mut stage = Stage::start();
    let mut report = Report::new(seed);
    let longest = LONGEST.min(lasts / 8);
    let begun = Instant::now();
    let mut deck: Vec<Kind> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut struck = 0;
    while begun.elapsed() < lasts {
        if deck.is_empty() {
            deck = Kind::deck(stage.has_small_disks());
        }
        let at = dice.below(deck.len() as u64) as usize;
        let fault = Fault::draw(deck.swap_remove(at), longest, &mut dice);
        while open.iter().any(|other| other.fault.excludes(&fault)) {
            stage.tend(&mut open, &mut report);
            std::thread::sleep(TURN);
        }
        report.strikes(&fault);
        open.push(stage.strike(fault));
        struck += 1;
        if struck % BETWEEN_RESTS == 0 {
            stage.rest(&mut open, &mut report);
        }
        let pause = Instant::now() + Duration::from_millis(dice.below(2_000));
        while Instant::now() < pause {
            stage.tend(&mut open, &mut report);
            std::thread::sleep(TURN);
        }
    }
    stage.rest(&mut open, &mut report);
    stage.check_quiet();
    report.ends(begun.elapsed());
    let tally = stage.end_clients();
    let wrong = stage.check(&tally, &mut report);
    println!("{report}");
    assert!(tally.calls > 50, "{} calls", tally.calls);
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
}
