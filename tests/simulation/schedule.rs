//! What goes wrong when: a seed gives a schedule of faults.

use std::time::Duration;

use super::{
    cast::{AGENTS, BALANCERS, CONTROLLERS, STORE},
    chance::Dice,
    network::HostId,
    operators::SERVICES,
};

/// Faults of a schedule.
pub const FAULTS: usize = 20;

/// When the first fault comes: everything is up by then, mostly.
const FIRST: u64 = 8_000;

/// Which faults there are. A seed that failed once is kept, so that worlds have to stay as they were when more is
/// thought of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// Seeds below 1 000.
    First,
    /// Restored stores, hosts that are booted anew, and processes that are replaced because they are old, as well.
    Second,
}

/// Its first seed.
pub const SECOND_EDITION: u64 = 1_000;

impl Edition {
    pub fn of(seed: u64) -> Self {
        match seed {
            ..SECOND_EDITION => Self::First,
            _ => Self::Second,
        }
    }
}

/// One thing that goes wrong, or that an operator does. `span`: until it is put right.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A role ends without a word and is started again; with `silent` its host vanishes as in a power cut.
    Crash {
        host: HostId,
        silent: bool,
        span: Duration,
    },
    /// A role is asked to end, and started again.
    Restart {
        host: HostId,
        span: Duration,
    },
    /// Whoever leads crashes.
    CrashLeader {
        span: Duration,
    },
    /// A role stands still.
    Freeze {
        host: HostId,
        span: Duration,
    },
    /// Nothing passes between two hosts.
    Cut {
        a: HostId,
        b: HostId,
        span: Duration,
    },
    /// Everything between two hosts takes longer.
    Slow {
        a: HostId,
        b: HostId,
        by: Duration,
        span: Duration,
    },
    /// All connections between two hosts break.
    Reset {
        a: HostId,
        b: HostId,
    },
    /// The store ends, and comes back with what it held.
    StoreDown {
        span: Duration,
    },
    /// The store stands still.
    StorePause {
        span: Duration,
    },
    /// The store has no space left.
    StoreFull {
        span: Duration,
    },
    /// The store forgets its past.
    Compact,
    /// The answer to the next write is lost.
    LoseAnswer,
    /// Many writes and answers are lost.
    Flaky {
        span: Duration,
    },
    /// The disk of a node is full.
    DiskFull {
        host: HostId,
        span: Duration,
    },
    /// A process crashes, hangs, says it is unhealthy, or does not hear SIGTERM; which one: `nth` of those
    /// that live.
    ProcessCrashes {
        nth: u64,
    },
    ProcessHangs {
        nth: u64,
    },
    ProcessSickens {
        nth: u64,
    },
    ProcessIsDeaf {
        nth: u64,
    },
    /// An operator changes a service's template, or how many there are of it.
    ChangeTemplate {
        service: usize,
    },
    /// An operator gives a service a template whose processes end at once.
    BadTemplate {
        service: usize,
    },
    /// An operator asks for new processes.
    Renew {
        service: usize,
    },
    Scale {
        service: usize,
        replicas: u64,
    },
    /// An operator lets a node take no new instances for a while; with `drains` it has to give up those that it
    /// has.
    Close {
        host: HostId,
        drains: bool,
        span: Duration,
    },
    /// An operator deletes a service, and applies it again after a while.
    Delete {
        service: usize,
        span: Duration,
    },
    /// Somebody writes garbage over a spec, or deletes it, by hand; an operator applies it again.
    Garbage {
        service: usize,
        span: Duration,
    },
    Vanish {
        service: usize,
        span: Duration,
    },
    /// The store ends and is restored from a backup that is older than `age`; an operator confirms it `later`.
    Restore {
        age: Duration,
        span: Duration,
        later: Duration,
    },
    /// A host of an agent is booted anew.
    Reboot {
        host: HostId,
        span: Duration,
    },
    /// An operator asks for another process of one instance.
    RenewOne {
        service: usize,
        slot: u64,
    },
    /// Somebody deletes a key that is not theirs by hand: the `nth` of those below `prefix`.
    Tamper {
        prefix: &'static str,
        nth: u64,
    },
}

/// Where somebody may tamper.
const TAMPERED: [&str; 7] = [
    "assign/", "state/", "session/", "load/", "route/", "status/", "leader",
];

/// A fault and its moment.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Duration,
    pub fault: Fault,
}

/// The schedule of a seed; of its events, only those that are kept. (A shrunk schedule leaves out some.)
pub fn schedule(seed: u64, kept: Option<&[usize]>) -> Vec<Event> {
    let mut dice = Dice::of(seed, "schedule");
    let mut at = FIRST;
    // In some worlds everything comes at once.
    let dense = dice.chance(30);
    let mut newer = Dice::of(seed, "newer faults");
    let mut events = Vec::new();
    for index in 0..FAULTS {
        at += match dense || dice.chance(30) {
            true => dice.between(0, 500),
            false => dice.between(300, 7_000),
        };
        let mut fault = fault(&mut dice);
        if Edition::of(seed) == Edition::Second && newer.chance(25) {
            fault = newer_fault(&mut newer);
        }
        if kept.is_none_or(|kept| kept.contains(&index)) {
            events.push(Event {
                at: Duration::from_millis(at),
                fault,
            });
        }
    }
    events
}

fn fault(dice: &mut Dice) -> Fault {
    let mut span = |low, high| Duration::from_millis(dice.between(low, high));
    let (short, long) = (span(200, 8_000), span(2_000, 40_000));
    let roles: Vec<HostId> = [&AGENTS[..], &CONTROLLERS, &BALANCERS].concat();
    let host = *dice.pick(&roles);
    let nth = dice.bits();
    let service = dice.between(0, SERVICES.len() as u64 - 1) as usize;
    match dice.between(0, 99) {
        0..=8 => Fault::Crash {
            host,
            silent: dice.chance(30),
            span: short,
        },
        9..=12 => Fault::Restart { host, span: short },
        13..=16 => Fault::CrashLeader { span: short },
        17..=22 => Fault::Freeze { host, span: long },
        23..=31 => Fault::Cut {
            a: host,
            b: STORE,
            span: long,
        },
        32..=36 => Fault::Slow {
            a: host,
            b: STORE,
            by: Duration::from_millis(dice.between(50, 1_500)),
            span: long,
        },
        37..=40 => Fault::Reset { a: host, b: STORE },
        41..=45 => Fault::StoreDown {
            span: if dice.chance(70) { short } else { long },
        },
        46..=50 => Fault::StorePause {
            span: if dice.chance(50) { short } else { long },
        },
        51..=52 => Fault::StoreFull { span: short },
        53..=56 => Fault::Compact,
        57..=60 => Fault::LoseAnswer,
        61..=63 => Fault::Flaky { span: short },
        64..=65 => Fault::DiskFull {
            host: *dice.pick(&AGENTS),
            span: long,
        },
        66..=70 => Fault::ProcessCrashes { nth },
        71..=74 => Fault::ProcessHangs { nth },
        75..=77 => Fault::ProcessSickens { nth },
        78..=79 => Fault::ProcessIsDeaf { nth },
        80..=82 => Fault::ChangeTemplate { service },
        83 => Fault::BadTemplate { service },
        84..=85 => Fault::Renew { service },
        86..=87 => Fault::Close {
            host: *dice.pick(&AGENTS),
            drains: dice.chance(70),
            span: long,
        },
        88..=90 => Fault::Scale {
            service,
            replicas: dice.between(0, 4),
        },
        91..=94 => Fault::Delete {
            service,
            span: short,
        },
        95..=96 => Fault::Garbage {
            service,
            span: long,
        },
        97 => Fault::Vanish {
            service,
            span: long,
        },
        _ => Fault::Tamper {
            prefix: dice.pick::<&str>(&TAMPERED),
            nth,
        },
    }
}

/// What the second edition has instead of some faults of the first.
fn newer_fault(dice: &mut Dice) -> Fault {
    let mut span = |low, high| Duration::from_millis(dice.between(low, high));
    let (short, long) = (span(1_000, 8_000), span(15_000, 45_000));
    let later = span(500, 30_000);
    let service = dice.between(0, SERVICES.len() as u64 - 1) as usize;
    match dice.between(0, 99) {
        0..=29 => Fault::Restore {
            age: long,
            span: short,
            later,
        },
        30..=59 => Fault::Reboot {
            host: *dice.pick(&AGENTS),
            span: short,
        },
        60..=74 => Fault::BadTemplate { service },
        75..=84 => Fault::Renew { service },
        _ => Fault::RenewOne {
            service,
            slot: dice.between(0, 2),
        },
    }
}
