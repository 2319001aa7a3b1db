//! Keeps the store's history short.

use std::time::Duration;

use crate::{host::Clock, model::Moment, store::Store};

/// How often the store is compacted, and how much of its history stays at least: those who follow it and were
/// cut off for less long need not read everything anew.
const EVERY: Duration = Duration::from_secs(300);

/// When the store is compacted next, and up to where.
#[derive(Debug)]
pub(super) struct Compaction {
    due: Moment,
    /// The revision at the last time; none while it is not known.
    upto: Option<i64>,
}

impl Compaction {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            due: now + EVERY,
            upto: None,
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Compacts the store if it is time: up to `revision` as it was the last time.
    pub(super) async fn advance(&mut self, store: &Store, clock: &dyn Clock, revision: i64) {
        if clock.now() < self.due {
            return;
        }
        self.due = clock.now() + EVERY;
        let Some(upto) = self.upto.replace(revision).filter(|upto| *upto > 0) else {
            return;
        };
        match store.compact(upto).await {
            Ok(()) => tracing::debug!(upto, "the store is compacted"),
            // Perhaps somebody else does it; if nobody does, the store will say that it is full.
            Err(error) => tracing::debug!(%error, "the store is not compacted"),
        }
    }
}
