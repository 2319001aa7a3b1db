//! What came of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    clients::Tally,
    kind::{Fault, Kind},
};
use crate::recorder::{Life, Process};

pub(super) struct Report {
    seed: u64,
    lasted: Duration,
    /// How many of each kind, and the longest time until all was whole again.
    faults: BTreeMap<Kind, (u32, Duration)>,
    /// How long it took until all was at rest, each time.
    rests: Vec<Duration>,
    starts: u32,
    /// Why processes ended.
    ends: BTreeMap<&'static str, u32>,
    tally: Tally,
    /// The longest time for which an endpoint was answered whose process had ended.
    stalest: Duration,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            lasted: Duration::ZERO,
            faults: BTreeMap::new(),
            rests: Vec::new(),
            starts: 0,
            ends: BTreeMap::new(),
            tally: Tally::default(),
            stalest: Duration::ZERO,
        }
    }

    pub(super) fn strikes(&mut self, fault: &Fault) {
        eprintln!("{} {fault}", jiff::Timestamp::now());
        self.faults.entry(fault.kind).or_default().0 += 1;
    }

    pub(super) fn recovered(&mut self, fault: &Fault, took: Duration) {
        let (_, longest) = self.faults.entry(fault.kind).or_default();
        *longest = took.max(*longest);
    }

    pub(super) fn rested(&mut self, took: Duration) {
        eprintln!("{} at rest after {took:.1?}", jiff::Timestamp::now());
        self.rests.push(took);
    }

    pub(super) fn ends(&mut self, lasted: Duration) {
        self.lasted = lasted;
    }

    pub(super) fn started(&mut self) {
        self.starts += 1;
    }

    pub(super) fn ended(&mut self, cause: &'static str) {
        *self.ends.entry(cause).or_default() += 1;
    }

    pub(super) fn calls(&mut self, tally: &Tally, lives: &BTreeMap<Process, Life>) {
        self.tally = tally.clone();
        for (at, node, instance) in &tally.missed {
            let own = lives.iter().filter(|(one, life)| {
                one.node == *node && one.instance == *instance && life.from <= *at
            });
            let last = own.map(|(_, life)| life.until).max();
            // Of one that lives on the last look came later.
            let stale = last.map(|last| Duration::try_from(at.duration_since(last)));
            if let Some(Ok(stale)) = stale {
                self.stalest = self.stalest.max(stale);
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u32 = self.faults.values().map(|(count, _)| count).sum();
        writeln!(
            f,
            "seed {}: {count} faults of {} kinds in {:.0?}",
            self.seed,
            self.faults.len(),
            self.lasted
        )?;
        for (kind, (count, longest)) in &self.faults {
            let name = format!("{kind:?}");
            writeln!(
                f,
                "  {name:20} {count:3}, felt for {longest:.1?} at most after it was over"
            )?;
        }
        let rest = self.rests.iter().max().copied().unwrap_or_default();
        writeln!(
            f,
            "at rest {} times, after {rest:.1?} at most",
            self.rests.len()
        )?;
        writeln!(
            f,
            "{} processes of workers were started; why they ended:",
            self.starts
        )?;
        for (cause, count) in &self.ends {
            writeln!(f, "  {cause:45} {count:4}")?;
        }
        let tally = &self.tally;
        writeln!(
            f,
            "{} calls were answered, {} failed; longest time without an answer {:.1?}",
            tally.calls,
            tally.failed.len(),
            tally.longest_gap
        )?;
        writeln!(f, "made again, as at first:")?;
        for (why, count) in &tally.retried {
            writeln!(f, "  {why:45} {count:4}")?;
        }
        writeln!(
            f,
            "oldest view {:.1?}; an endpoint was answered for up to {:.1?} after its process had ended",
            tally.oldest_view, self.stalest
        )
    }
}
