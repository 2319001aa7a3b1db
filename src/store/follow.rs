//! List, then watch, for good.
//!
//! ```text
//!            +-----------------------------------------+
//!            v                compacted                |
//!   --> Listing --------> Opening --------> Watching --+
//!         ^  | fails          | fails         | ^  | breaks, silent
//!         |  v                v               | |  v
//!         Pausing <-----------+---------------+-+--+
//!                                    relist ^ | every 5 to 10 min, over the same stream
//! ```
//!
//! A stream that was lost is followed by a listing, as the store may have been restored from a backup meanwhile: by
//! its revision that cannot be told, once it has come further than before ([`Ledger`]).
//!
//! Nothing runs by itself: the machine moves while [`Follow::next`] is polled, and all its state is
//! in [`Follow`], so that `next` may be dropped at any time.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};

use super::{
    Entry, Error, Listing, Store,
    failure::Failure,
    ledger::Ledger,
    range::{self, Range},
    watch::{Heard, Watch},
};
use crate::{model::Moment, retry::Retry};

/// A quiet stream is asked for a sign of life so often: etcd 3.4 gives one by itself only every ten
/// minutes.
const ASK: Duration = Duration::from_secs(10);

/// A stream that gives no sign of life for so long is built anew, at another endpoint.
const SILENT: Duration = Duration::from_secs(30);

/// Everything is listed again after this time, and up to twice of it at random: etcd 3.4 may lose
/// changes around a compaction.
const RELIST: Duration = Duration::from_secs(300);

/// Streams that break again and again are not each followed by a listing: so much time is between two. What
/// changes meanwhile is heard from the new stream.
const RELIST_PACE: Duration = Duration::from_secs(10);

/// No store ends, is restored and begins again within this time: between a listing and its stream.
const BLIND: Duration = Duration::from_millis(100);

/// The first and the longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// From so many changes on, an update is said before it is seen whether more have come.
const MANY: usize = 1000;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put(Entry),
    /// The key was deleted, at this revision or (when a relist found it missing) before it.
    Delete {
        /// The key.
        key: String,
        /// The revision.
        revision: i64,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes that came together.
///
/// Those of one prefix come in the order in which they happened, and all that a transaction changed
/// there is in one update. Different prefixes may run ahead of each other by milliseconds, even within
/// one transaction, because the server sends each by itself and does not say which part is the last:
/// to wait for it would delay everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// By revision; per key never older than what was said before. (Until the store is restored from
    /// a backup: then the update has everything there is.)
    pub changes: Vec<Change>,
    /// The revision of the listing that the changes come from, or of the last of them.
    pub revision: i64,
    /// The revision that the store had reached before it was restored from a backup, where this is the first
    /// update after that; it may have come further since. A revision below that of another update alone says
    /// nothing: prefixes run ahead of each other.
    pub restored_from: Option<i64>,
}

/// A followed set of prefixes.
///
/// The first update holds everything under all of them, at one revision; each later one only what
/// changed. Broken streams, silent servers and compacted revisions are handled inside: after a relist
/// the difference to what was said before is reported, deletions included.
pub struct Follow {
    store: Store,
    /// What is followed, each with the revision up to which it is known.
    ranges: Vec<(Range, i64)>,
    ledger: Ledger,
    stage: Stage,
    watch: Option<Watch>,
    retry: Retry,
    /// When the store was last heard.
    heard: Moment,
    /// When the stream is next asked for a sign of life.
    ask_at: Moment,
    relist_at: Moment,
    /// When everything was last listed; none: it never was.
    listed_at: Option<Moment>,
    /// Whether something failed since the last success: what follows is no news.
    failing: bool,
}

/// What the follower is doing.
enum Stage {
    /// Reads everything. A stream that is open meanwhile waits.
    Listing(BoxFuture<'static, Result<Listing, Error>>),
    /// Opens a stream at the endpoint with this index.
    Opening(usize, BoxFuture<'static, Result<Watch, Failure>>),
    /// Takes what the stream brings.
    Watching,
    /// Waits before the next attempt.
    Pausing(BoxFuture<'static, ()>),
}

impl Follow {
    pub(super) fn new(store: Store, prefixes: &[String]) -> Self {
        let covered = |prefix: &String| {
            let contains = |other: &&String| {
                *other != prefix
                    && (other.is_empty() || other.ends_with('/'))
                    && prefix.starts_with(other.as_str())
            };
            prefixes.iter().any(|other| contains(&other))
        };
        let mut distinct: Vec<_> = prefixes.iter().filter(|prefix| !covered(prefix)).collect();
        distinct.sort();
        distinct.dedup();
        let ranges: Vec<_> = distinct
            .iter()
            .map(|prefix| (Range::of(prefix), 0))
            .collect();
        let now = store.host().clock.now();
        Self {
            ledger: Ledger::default(),
            stage: Stage::Pausing(std::future::ready(()).boxed()),
            watch: None,
            retry: Retry::new(PAUSES.0, PAUSES.1),
            heard: now,
            ask_at: now,
            relist_at: now,
            listed_at: None,
            failing: false,
            ranges,
            store,
        }
    }

    /// The next update. Waits for good when nothing changes or the store is away. Cancel-safe.
    pub async fn next(&mut self) -> Update {
        loop {
            // After each wait the machine moves on without another one: a dropped `next` has either
            // changed nothing or everything.
            match &mut self.stage {
                Stage::Listing(listing) => {
                    let result = listing.await;
                    if let Some(update) = self.listed(result) {
                        return update;
                    }
                }
                Stage::Opening(endpoint, opening) => {
                    let (endpoint, result) = (*endpoint, opening.await);
                    match result {
                        Ok(watch) => self.opened(watch),
                        Err(failure) => self.broken(endpoint, failure),
                    }
                }
                Stage::Watching => {
                    if let Some(heard) = self.watch_on().await
                        && let Some(update) = self.take_in(heard)
                    {
                        return update;
                    }
                }
                Stage::Pausing(pause) => {
                    pause.await;
                    self.proceed();
                }
            }
        }
    }

    /// For how long nothing has been heard from the store; small while all is well and `next` is
    /// being awaited.
    pub fn silence(&self) -> Duration {
        self.now().since(self.heard)
    }

    fn now(&self) -> Moment {
        self.store.host().clock.now()
    }

    /// The last revision that was heard of.
    fn revision(&self) -> i64 {
        self.ranges.iter().map(|(_, seen)| *seen).max().unwrap_or(0)
    }

    /// Begins what is to be done next.
    fn proceed(&mut self) {
        let store = self.store.clone();
        self.stage = if self.listed_at.is_none() || self.now() >= self.relist_at {
            let ranges: Vec<_> = self.ranges.iter().map(|(range, _)| range.clone()).collect();
            Stage::Listing(async move { range::list(&store, &ranges).await }.boxed())
        } else if self.watch.is_none() {
            let endpoint = store.preferred();
            let opening = Watch::open(store, endpoint, self.ranges.clone());
            Stage::Opening(endpoint, opening.boxed())
        } else {
            Stage::Watching
        };
    }

    /// Takes a listing in; the difference to what was said, unless there is none.
    fn listed(&mut self, result: Result<Listing, Error>) -> Option<Update> {
        let listing = match result {
            Ok(listing) => listing,
            Err(error) => {
                let pause = self.failed(&error.to_string());
                if self.watch.is_some() {
                    // The stream may well go on.
                    self.relist_at = self.now() + pause;
                    self.stage = Stage::Watching;
                }
                return None;
            }
        };
        self.succeeded();
        let metrics = &self.store.host().metrics.store;
        metrics.listed(listing.revision);
        metrics.heard(self.heard);
        let now = self.now();
        let first = self.listed_at.replace(now).is_none();
        let update = self.ledger.compare(listing, self.revision());
        let revision = update.revision;
        if let Some(known) = update.restored_from {
            tracing::warn!(
                revision,
                known,
                "the store has another past than it had: it was restored from a backup"
            );
            // Its watchers may wait for revisions that are far away.
            self.watch = None;
        }
        for (_, seen) in &mut self.ranges {
            *seen = revision;
        }
        let jitter = RELIST.mul_f64(self.store.host().entropy.fraction());
        self.relist_at = now + RELIST + jitter;
        self.proceed();
        (first || update.restored_from.is_some() || !update.changes.is_empty()).then_some(update)
    }

    /// The store may have been restored meanwhile.
    fn doubt(&mut self) {
        let now = self.now();
        let due = self.listed_at.map_or(now, |at| now.max(at + RELIST_PACE));
        self.relist_at = self.relist_at.min(due);
    }

    fn opened(&mut self, watch: Watch) {
        self.watch = Some(watch);
        let now = self.now();
        if now.since(self.heard) >= BLIND {
            self.doubt();
        }
        self.heard = now;
        self.ask_at = now + ASK;
        self.stage = Stage::Watching;
    }

    /// Waits for the stream, or does what it is time for.
    async fn watch_on(&mut self) -> Option<Result<Heard, Failure>> {
        let silent_at = self.heard + SILENT;
        let Some(watch) = &mut self.watch else {
            self.proceed();
            return None;
        };
        let wake = self.ask_at.min(silent_at).min(self.relist_at);
        tokio::select! {
            // What has come counts even if the follower was not polled for a long time.
            biased;
            heard = watch.next() => return Some(heard),
            () = self.store.host().clock.sleep_until(wake) => {}
        }
        let now = self.store.host().clock.now();
        if now >= silent_at {
            let failure = Failure::Lost(format!("the stream is silent for {SILENT:?}"));
            return Some(Err(failure));
        }
        if now >= self.relist_at {
            self.proceed();
        } else if now >= self.ask_at {
            watch.ask();
            self.ask_at = now + ASK;
        }
        None
    }

    /// Takes in what was heard, and what has come meanwhile: a burst is said at once.
    fn take_in(&mut self, heard: Result<Heard, Failure>) -> Option<Update> {
        let mut changes = Vec::new();
        let mut next = Some(heard);
        while let (Some(heard), Some(watch)) = (next, &self.watch) {
            match heard {
                Ok(heard) => changes.extend(self.news(heard)),
                Err(failure) => self.broken(watch.endpoint(), failure),
            }
            let watch = self.watch.as_mut().filter(|_| changes.len() < MANY);
            next = watch.and_then(|watch| watch.next().now_or_never());
        }
        changes.sort_by_key(Change::revision);
        let revision = changes.last()?.revision();
        Some(Update {
            changes,
            revision,
            restored_from: None,
        })
    }

    /// The changes in an answer that are to be said.
    fn news(&mut self, heard: Heard) -> Vec<Change> {
        let now = self.now();
        self.ask_at = now + ASK;
        match heard {
            Heard::Created(revision) => {
                self.succeeded();
                if revision < self.revision() {
                    // A member that lags behind, or a store restored from a backup, whose watchers
                    // would stay silent. A listing tells which.
                    self.relist_at = now;
                }
                Vec::new()
            }
            Heard::Changes(range, mut changes) => {
                self.heard = now;
                let seen = self.ranges[range].1;
                let newest = changes.last().map_or(seen, Change::revision);
                let metrics = &self.store.host().metrics.store;
                metrics.heard(now);
                metrics.saw(newest);
                self.ranges[range].1 = seen.max(newest);
                // What a listing has said already is not news.
                changes.retain(|change| change.revision() > seen && self.ledger.note(change));
                changes
            }
            Heard::Alive => {
                self.heard = now;
                self.store.host().metrics.store.heard(now);
                Vec::new()
            }
        }
    }

    /// Leaves a stream that is of no use, or could not be opened.
    fn broken(&mut self, endpoint: usize, failure: Failure) {
        self.watch = None;
        if matches!(failure, Failure::Compacted | Failure::TooLarge) {
            // No stream brings what is missing; a listing does.
            if matches!(failure, Failure::Compacted) {
                tracing::info!("what has changed meanwhile is compacted: everything is read anew");
            }
            self.relist_at = self.now();
            return self.proceed();
        }
        match &failure {
            // A stream does not renew a login that has run out; a listing does.
            Failure::Refused(_) => self.relist_at = self.now(),
            _ => self.doubt(),
        }
        self.store.host().metrics.store.broke();
        self.store.avoid(endpoint);
        let cause = self.store.error(failure, "to be watched").to_string();
        self.failed(&cause);
    }

    /// Pauses before the next attempt; for how long.
    fn failed(&mut self, cause: &str) -> Duration {
        let pause = self.retry.pause(&*self.store.host().entropy);
        if self.failing {
            tracing::debug!(cause, ?pause, "the store still cannot be followed");
        } else {
            tracing::warn!(cause, "the store cannot be followed; trying again");
        }
        self.failing = true;
        self.stage = Stage::Pausing(self.store.host().clock.sleep(pause));
        pause
    }

    fn succeeded(&mut self) {
        if self.failing {
            let silence = self.silence();
            tracing::info!(?silence, "the store is followed again");
        }
        self.failing = false;
        self.heard = self.now();
        self.retry.reset();
    }
}
