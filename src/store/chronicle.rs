//! Writes events: beside everything else, few at a time, and never in the way of anything.
//!
//! Events are noted in memory and written together, at most one transaction per [`PACE`]. They are bound to a lease
//! that is granted about once an hour and never renewed, so that they end by themselves. Each write depends on
//! its writer's guards; while there are none, events wait, as many as the journal has room for.

use std::time::Duration;

use futures::future::BoxFuture;

use super::{Entry, Error, Guard, Listing, Outcome, Store, Txn, Write};
use crate::{
    keys::{Key, Keys},
    model::{
        Moment, Timestamp,
        event::{Event, Note, Object, Recorder},
    },
    plan::journal::{Journal, KEPT, Line},
    retry::Retry,
};

/// The time between two writes: what happens meanwhile is written together.
const PACE: Duration = Duration::from_secs(2);

/// Events per write: with the guards well below etcd's limit of 128 operations.
const BATCH: usize = 64;

/// After this time another lease is taken.
const LEASE_USED: Duration = Duration::from_secs(3_600);

/// So long a lease lasts: what is written at the end of its use is kept as long as it should be.
const LEASE_TTL: Duration = LEASE_USED.saturating_add(KEPT);

/// Pauses after a write failed.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// What came of something that was under way.
pub enum Done {
    /// What the store held at first.
    Recalled(Result<Listing, Error>),
    /// A write under this lease.
    Wrote {
        /// What was to be written.
        lines: Vec<Line>,
        /// The lease, if there is one.
        lease: Option<i64>,
        /// What came of it.
        result: Result<Outcome, Error>,
    },
}

/// Records what happens.
pub struct Chronicle {
    store: Store,
    keys: Keys,
    recorder: Recorder,
    journal: Journal,
    /// What every write depends on; none: nothing may be written now.
    guards: Option<Vec<Guard>>,
    /// Whether it is known what the store held at first.
    recalled: bool,
    lease: Option<i64>,
    lease_until: Moment,
    under_way: Option<BoxFuture<'static, Done>>,
    not_before: Moment,
    retry: Retry,
    /// The last write failed.
    troubled: bool,
}

impl Chronicle {
    /// What `recorder`, which calls itself `by`, records; at most `most` events are kept.
    pub fn new(store: Store, keys: Keys, recorder: Recorder, by: String, most: usize) -> Self {
        let own = match &recorder {
            Recorder::Leader => Object::Cluster,
            Recorder::Agent(node) => Object::Node(node.clone()),
        };
        Self {
            journal: Journal::new(by, own, most),
            store,
            keys,
            recorder,
            guards: None,
            recalled: false,
            lease: None,
            lease_until: Moment::default(),
            under_way: None,
            not_before: Moment::default(),
            retry: Retry::new(RETRY.0, RETRY.1),
            troubled: false,
        }
    }

    /// What writes depend on from now on.
    pub fn guard(&mut self, guards: Option<Vec<Guard>>) {
        self.guards = guards;
    }

    /// Whether anything may be written now.
    pub fn may_write(&self) -> bool {
        self.guards.is_some()
    }

    /// Records that something happened.
    pub fn note(&mut self, notes: impl IntoIterator<Item = Note>) {
        let was_idle = !self.journal.is_unwritten();
        self.journal.note(notes, self.now());
        if was_idle && self.journal.is_unwritten() {
            // What follows from it is written with it.
            let soon = self.store.host().clock.now() + PACE / 2;
            self.not_before = self.not_before.max(soon);
        }
    }

    /// Whether nothing is left that could be written now.
    pub fn is_settled(&self) -> bool {
        let nothing = !self.journal.is_unwritten() && self.under_way.is_none();
        nothing || self.guards.is_none() || self.troubled
    }

    /// Writes what there is without waiting for more.
    pub fn hurry(&mut self) {
        self.not_before = Moment::default();
    }

    /// Begins what is due. Returns when to ask again, if that is known.
    pub fn advance(&mut self, now: Moment) -> Option<Moment> {
        let guards = self.guards.clone()?;
        if self.under_way.is_some() || !self.journal.is_unwritten() {
            return None;
        }
        if now < self.not_before {
            return Some(self.not_before);
        }
        let store = self.store.clone();
        if !self.recalled {
            let prefix = self.keys.events_of(&self.recorder);
            self.under_way = Some(Box::pin(async move {
                Done::Recalled(store.list(&prefix).await)
            }));
            return None;
        }
        let lines = self.journal.unwritten(BATCH);
        let key = |id: &str| {
            self.keys
                .of(&Key::Event(self.recorder.clone(), id.to_owned()))
        };
        let keys: Vec<String> = lines.iter().map(|(id, _)| key(id)).collect();
        if now >= self.lease_until {
            self.lease = None;
            self.lease_until = now + LEASE_USED;
        }
        let lease = self.lease;
        self.under_way = Some(Box::pin(async move {
            let (lease, result) = write(&store, guards, &keys, &lines, lease).await;
            Done::Wrote {
                lines,
                lease,
                result,
            }
        }));
        None
    }

    /// Waits for what is under way; for good if nothing is. Cancel-safe.
    pub async fn done(&mut self) -> Done {
        match &mut self.under_way {
            Some(under_way) => {
                let done = under_way.await;
                self.under_way = None;
                done
            }
            None => std::future::pending().await,
        }
    }

    /// Takes in what was done. What failed is written later: a write of an event can be repeated, as nobody
    /// else writes it.
    pub fn absorb(&mut self, done: Done, now: Moment) {
        let failure = match done {
            Done::Recalled(Ok(listing)) => {
                let event = |entry: &Entry| {
                    let Some(Key::Event(_, id)) = self.keys.parse(&entry.key) else {
                        return None;
                    };
                    Some((id, serde_json::from_slice(&entry.value).ok()?))
                };
                let events: Vec<(String, Event)> =
                    listing.entries.iter().filter_map(event).collect();
                self.journal.recall(events, self.now());
                self.recalled = true;
                None
            }
            Done::Recalled(Err(error)) => Some(error.to_string()),
            Done::Wrote {
                lines,
                lease,
                result,
            } => {
                self.lease = lease;
                match result {
                    Ok(Outcome::Committed(_)) => {
                        self.journal.written(lines);
                        self.journal.expire(LEASE_TTL, self.now());
                        None
                    }
                    Ok(Outcome::Conflict) => Some("it is no longer ours to write".to_owned()),
                    Err(error) => {
                        if matches!(error, Error::LeaseEnded) {
                            self.lease = None;
                        }
                        Some(error.to_string())
                    }
                }
            }
        };
        self.troubled = failure.is_some();
        self.not_before = now
            + match failure {
                None => {
                    self.retry.reset();
                    PACE
                }
                Some(error) => {
                    tracing::debug!(error, "events could not be written now");
                    self.retry.pause(&*self.store.host().entropy)
                }
            };
    }

    fn now(&self) -> Timestamp {
        self.store.host().clock.timestamp()
    }
}

/// Writes `lines` under `keys`, with `lease` or else another one. Which, and what came of it.
async fn write(
    store: &Store,
    guards: Vec<Guard>,
    keys: &[String],
    lines: &[Line],
    lease: Option<i64>,
) -> (Option<i64>, Result<Outcome, Error>) {
    let lease = match lease {
        Some(lease) => lease,
        None => match store.grant(LEASE_TTL).await {
            Ok(lease) => lease.id(),
            Err(error) => return (None, Err(error)),
        },
    };
    let write = |(key, (_, event)): (&String, &Line)| match event {
        // Plain data with text keys cannot fail to become JSON.
        Some(event) => Write::put_leased(key, serde_json::to_vec(event).unwrap_or_default(), lease),
        None => Write::delete(key),
    };
    let writes = keys.iter().zip(lines).map(write).collect();
    let result = store.commit(Txn { guards, writes }).await;
    (Some(lease), result)
}

impl Drop for Chronicle {
    fn drop(&mut self) {
        let lost = self.journal.unwritten(usize::MAX).len();
        if lost > 0 {
            tracing::info!(lost, "events were not written");
        }
    }
}
