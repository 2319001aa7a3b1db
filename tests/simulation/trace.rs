//! What happened in a world, line by line, with virtual time; and the first thing that must not happen.

use std::{
    hash::{Hash as _, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::machine::Clock;

/// So many of the last lines are shown with a violation.
const SHOWN: usize = 80;

/// The record of a world. Cheap to clone.
#[derive(Clone)]
pub struct Trace {
    clock: Clock,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    lines: Vec<String>,
    violation: Option<Violation>,
    closed: bool,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// The invariant: `I1` to `I18`, `L1`; `role`: a role ended by itself; or `panic`.
    pub invariant: String,
    /// What was seen.
    pub what: String,
}

impl Trace {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            record: Arc::default(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something.
    pub fn note(&self, what: impl AsRef<str>) {
        let millis = self.clock.elapsed().as_millis();
        let line = format!(
            "{:>4}.{:03} {}",
            millis / 1000,
            millis % 1000,
            what.as_ref()
        );
        let mut record = self.record();
        if !record.closed {
            record.lines.push(line);
        }
    }

    /// Nothing is noted any more.
    pub fn close(&self) {
        self.record().closed = true;
    }

    /// Notes what must not happen. Only the first counts: the others may follow from it.
    pub fn violation(&self, invariant: &str, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("VIOLATION of {invariant}: {what}"));
        self.record().violation.get_or_insert_with(|| Violation {
            invariant: invariant.to_owned(),
            what,
        });
    }

    pub fn first_violation(&self) -> Option<Violation> {
        self.record().violation.clone()
    }

    /// A number that is the same for the same record.
    pub fn hash(&self) -> u64 {
        // The default hasher, unlike a map's, has fixed keys.
        let mut hasher = std::hash::DefaultHasher::new();
        self.record().lines.hash(&mut hasher);
        hasher.finish()
    }

    pub fn len(&self) -> usize {
        self.record().lines.len()
    }

    /// The last lines, or all.
    pub fn lines(&self, all: bool) -> Vec<String> {
        let lines = &self.record().lines;
        let first = if all {
            0
        } else {
            lines.len().saturating_sub(SHOWN)
        };
        lines[first..].to_vec()
    }
}
