//! What is asked of the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{Counters, labels};
use crate::model::Moment;

/// Requests to the store, and what came of them.
#[derive(Clone, Debug)]
pub struct Requests {
    attempts: Counters<1>,
    seconds: Histogram,
    commits: Counters<1>,
    breaks: Counter,
    listings: Counter,
    /// When any of the followed prefixes was last heard of, in milliseconds since the clock's origin; 0: never.
    heard: Arc<AtomicU64>,
    revision: Arc<AtomicI64>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            attempts: Counters::default(),
            // 0.5 ms to 8 s: within one host, and as long as a request may take.
            seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            commits: Counters::default(),
            breaks: Counter::default(),
            listings: Counter::default(),
            heard: Arc::default(),
            revision: Arc::default(),
        }
    }
}

impl Requests {
    /// One endpoint was asked once.
    pub fn asked(&self, outcome: &'static str, took: Duration) {
        let labels = labels([("outcome", outcome)]);
        self.attempts.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A transaction came to its end.
    pub fn committed(&self, outcome: &'static str) {
        let labels = labels([("outcome", outcome)]);
        self.commits.get_or_create(&labels).inc();
    }

    /// A stream of changes broke.
    pub fn broke(&self) {
        self.breaks.inc();
    }

    /// Everything that is followed was listed, as it is at `revision`.
    pub fn listed(&self, revision: i64) {
        self.listings.inc();
        // A restored store is behind what it was.
        self.revision.store(revision, Relaxed);
    }

    /// A stream of changes told something, or that nothing is new.
    pub fn heard(&self, now: Moment) {
        let millis = now.since(Moment::default()).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX).max(1);
        self.heard.fetch_max(millis, Relaxed);
    }

    /// A change of `revision` was seen.
    pub fn saw(&self, revision: i64) {
        self.revision.fetch_max(revision, Relaxed);
    }

    /// For how long nothing was heard; none before the first time.
    pub(super) fn silence(&self, now: Moment) -> Option<Duration> {
        let heard = self.heard.load(Relaxed);
        (heard > 0).then(|| now.since(Moment::new(Duration::from_millis(heard))))
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision.load(Relaxed)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "store_requests",
            "Attempts to have a request answered by an endpoint of the store, by what came of them",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "store_request",
            "How long such an attempt took",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "store_commits",
            "Transactions, by what came of them",
            self.commits.clone(),
        );
        registry.register(
            "store_watch_breaks",
            "Streams of changes that broke and were built anew",
            self.breaks.clone(),
        );
        registry.register(
            "store_listings",
            "Times that everything followed was read as a whole",
            self.listings.clone(),
        );
    }
}
