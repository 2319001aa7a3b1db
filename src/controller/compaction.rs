//! Keeps the store's history short.

use std::time::Duration;

use crate::{host::Clock, model::Moment, store::Store};

/// When the store is compacted next, and up to where.
#[derive(Debug)]
pub(super) struct Compaction {
    /// How often the store is compacted, and how much of its history stays at least: those who follow it and were
    /// cut off for less long need not read everything anew.
    every: Duration,
    due: Moment,
    /// The revision at the last time; none while it is not known.
    upto: Option<i64>,
}

impl Compaction {
    pub(super) fn new(every: Duration, now: Moment) -> Self {
        Self {
            every,
            due: now + every,
            upto: None,
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Moment {
        self.due
    }

    /// Compacts the store if it is time: up to `revision` as it was the last time.
    pub(super) async fn advance(&mut self, store: &Store, clock: &dyn Clock, revision: i64) {
        let Some(upto) = self.upto(clock.now(), revision) else {
            return;
        };
        match store.compact(upto).await {
            Ok(()) => tracing::debug!(upto, "the store is compacted"),
            // Perhaps somebody else does it; if nobody does, the store will say that it is full.
            Err(error) => tracing::debug!(%error, "the store is not compacted"),
        }
    }

    /// Up to where the store is to be compacted at `now`, at which it has reached `revision`.
    fn upto(&mut self, now: Moment, revision: i64) -> Option<i64> {
        if now < self.due {
            return None;
        }
        self.due = now + self.every;
        self.upto.replace(revision).filter(|upto| *upto > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_cut_off_for_less_than_five_minutes_reads_on_where_it_was() {
        let start = Moment::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut compaction = Compaction::new(Duration::from_secs(300), start);
        let upto = [
            // What the last leader saw at which moment this one does not know.
            (299, 10),
            (300, 11),
            (301, 12),
            (599, 13),
            // Late: the next is due five minutes after this one.
            (650, 14),
            (900, 15),
            (950, 16),
        ]
        .map(|(seconds, revision)| compaction.upto(at(seconds), revision));
        let wanted = [None, None, None, None, Some(11), None, Some(14)];
        assert_eq!(upto, wanted);
        assert_eq!(compaction.due(), at(1_250));
    }
}
