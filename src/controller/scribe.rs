//! Writes plans in guarded transactions, and knows which writes it has not seen yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    host::Clock,
    keys::{Key, Keys},
    model::Moment,
    plan::controller::{Intent, Step},
    store::{Error, Guard, Leadership, Outcome, Store, Txn, Write},
};

/// Writes in one transaction. The store allows 128 comparisons: two for the leadership, and one or two
/// for each write.
const MOST_WRITES: usize = 60;

/// Bytes in one transaction. The store allows 1.5 MiB.
const MOST_BYTES: usize = 512 * 1024;

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it is in the store.
    All,
    /// Some is not, or it is not known: plan again when more is known.
    NotAll,
}

/// Writes as the leader.
pub(super) struct Scribe {
    keys: Keys,
    store: Store,
    leadership: Leadership,
    /// Keys written and not seen yet, with the revision of the write.
    outstanding: BTreeMap<String, i64>,
    /// Keys written since it was last asked.
    fresh: BTreeSet<Key>,
    /// When the last write was made.
    written_at: Moment,
}

/// A step of a plan, or as much of one as fits a transaction.
struct Piece<'a> {
    about: &'a str,
    intents: Vec<&'a Intent>,
    guards: Vec<Guard>,
    writes: Vec<Write>,
    bytes: usize,
}

/// What became of a transaction.
enum Fate {
    Committed,
    /// The store will never do it.
    Refused(String),
    /// Not written as far as is known.
    Open,
}

impl Scribe {
    pub(super) fn new(keys: Keys, store: Store, leadership: Leadership) -> Self {
        Self {
            keys,
            store,
            leadership,
            outstanding: BTreeMap::new(),
            fresh: BTreeSet::new(),
            written_at: Moment::default(),
        }
    }

    /// Whether own writes have not come back through the follow yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// The keys that were written since this was last asked.
    pub(super) fn take_fresh(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.fresh)
    }

    /// `key` was seen as it is at `revision`.
    pub(super) fn seen(&mut self, key: &str, revision: i64) {
        if self
            .outstanding
            .get(key)
            .is_some_and(|own| revision >= *own)
        {
            self.outstanding.remove(key);
        }
    }

    /// Stops waiting for writes older than `patience`. Whether there were any.
    pub(super) fn give_up(&mut self, now: Moment, patience: Duration) -> bool {
        let late = self.is_waiting() && now.since(self.written_at) >= patience;
        if late {
            tracing::warn!(
                writes = self.outstanding.len(),
                "own writes were not seen in time"
            );
            self.outstanding.clear();
        }
        late
    }

    /// Writes `steps`, several to a transaction. What the store refuses for good is set aside, so that
    /// one service's trouble is not everybody's.
    pub(super) async fn write(&mut self, steps: Vec<Step>, clock: &dyn Clock) -> Written {
        for batch in batches(steps.iter().flat_map(|step| self.pieces(step))) {
            let fate = self.commit(&batch, clock).await;
            let singly: Vec<&[Piece<'_>]> = match fate {
                Fate::Committed => continue,
                Fate::Open => return Written::NotAll,
                Fate::Refused(_) if batch.len() > 1 => batch.chunks(1).collect(),
                Fate::Refused(cause) => {
                    set_aside(&batch, &cause);
                    continue;
                }
            };
            for piece in singly {
                match self.commit(piece, clock).await {
                    Fate::Committed => {}
                    Fate::Open => return Written::NotAll,
                    Fate::Refused(cause) => set_aside(piece, &cause),
                }
            }
        }
        Written::All
    }

    async fn commit(&mut self, pieces: &[Piece<'_>], clock: &dyn Clock) -> Fate {
        let parts = pieces.iter();
        let txn = Txn {
            guards: (self.leadership.guards().into_iter())
                .chain(parts.clone().flat_map(|piece| piece.guards.iter().cloned()))
                .collect(),
            writes: parts
                .flat_map(|piece| piece.writes.iter().cloned())
                .collect(),
        };
        match self.store.commit(txn).await {
            Ok(Outcome::Committed(revision)) => {
                self.written_at = clock.now();
                for intent in pieces.iter().flat_map(|piece| &piece.intents) {
                    let key = self.keys.of(&intent.key);
                    log(intent, &key, revision);
                    let metrics = &self.store.host().metrics.controller;
                    metrics.wrote(intent.decision());
                    self.fresh.insert(intent.key.clone());
                    self.outstanding.insert(key, revision);
                }
                Fate::Committed
            }
            Ok(Outcome::Conflict) => {
                tracing::debug!("something changed since it was planned on; planning again");
                Fate::Open
            }
            Err(Error::Refused { cause, .. }) => Fate::Refused(cause),
            Err(error) => {
                tracing::warn!(%error, "a plan could not be written; planning again");
                Fate::Open
            }
        }
    }

    /// The step as guarded writes, cut where it is too long for one transaction.
    fn pieces<'a>(&self, step: &'a Step) -> Vec<Piece<'a>> {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        for intent in &step.writes {
            let one = match self.piece(&step.about, intent) {
                Ok(one) => one,
                Err(error) => {
                    tracing::error!(step.about, %error, "a value has no JSON form");
                    return Vec::new();
                }
            };
            match pieces.last_mut() {
                Some(last)
                    if last.writes.len() < MOST_WRITES && last.bytes + one.bytes < MOST_BYTES =>
                {
                    last.extend(one);
                }
                _ => pieces.push(one),
            }
        }
        pieces
    }

    fn piece<'a>(
        &self,
        about: &'a str,
        intent: &'a Intent,
    ) -> Result<Piece<'a>, serde_json::Error> {
        let key = self.keys.of(&intent.key);
        let mut guards = vec![match intent.expects {
            Some(revision) => Guard::ModRevision(key.clone(), revision),
            None => Guard::Absent(key.clone()),
        }];
        guards.extend(
            intent
                .unless
                .iter()
                .map(|other| Guard::Absent(self.keys.of(other))),
        );
        let json = intent
            .value
            .as_ref()
            .map(|value| value.to_json())
            .transpose()?;
        Ok(Piece {
            about,
            intents: vec![intent],
            guards,
            bytes: key.len() + json.as_ref().map_or(0, Vec::len),
            writes: vec![match json {
                Some(json) => Write::put(key, json),
                None => Write::delete(key),
            }],
        })
    }
}

impl Piece<'_> {
    fn extend(&mut self, other: Self) {
        self.intents.extend(other.intents);
        self.guards.extend(other.guards);
        self.writes.extend(other.writes);
        self.bytes += other.bytes;
    }
}

/// Puts as many pieces together as fit one transaction, in their order.
fn batches<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> Vec<Vec<Piece<'a>>> {
    let mut batches: Vec<Vec<Piece<'a>>> = Vec::new();
    let (mut writes, mut bytes) = (0, 0);
    for piece in pieces {
        writes += piece.writes.len();
        bytes += piece.bytes;
        match batches.last_mut() {
            Some(last) if writes <= MOST_WRITES && bytes <= MOST_BYTES => last.push(piece),
            _ => {
                (writes, bytes) = (piece.writes.len(), piece.bytes);
                batches.push(vec![piece]);
            }
        }
    }
    batches
}

/// Tells of a write: decisions are news for operators, reports are not.
fn log(intent: &Intent, key: &str, revision: i64) {
    let cause = &intent.cause;
    match (intent.decision(), &intent.key) {
        (Some(decision), Key::Assignment(node, instance)) => {
            tracing::info!(%node, %instance, "{decision}: {cause}");
        }
        (Some(decision), _) => tracing::info!(key, "{decision}: {cause}"),
        (None, _) => tracing::debug!(key, revision, "written: {cause}"),
    }
}

fn set_aside(pieces: &[Piece<'_>], cause: &str) {
    for piece in pieces {
        tracing::error!(
            piece.about,
            cause,
            "the store refuses what is planned; set aside"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(writes: usize, bytes: usize) -> Piece<'static> {
        Piece {
            about: "",
            intents: Vec::new(),
            guards: Vec::new(),
            writes: vec![Write::delete("key"); writes],
            bytes,
        }
    }

    #[test]
    fn transactions_hold_as_much_as_the_store_allows_in_order() {
        let pieces = [
            piece(40, 1),
            piece(20, 1),
            piece(1, 1),
            piece(1, MOST_BYTES),
            piece(1, 2 * MOST_BYTES),
            piece(60, 1),
        ];
        let batches = batches(pieces.into_iter());
        let writes = |batch: &Vec<Piece<'_>>| batch.iter().map(|p| p.writes.len()).collect();
        let writes: Vec<Vec<usize>> = batches.iter().map(writes).collect();
        assert_eq!(writes, [vec![40, 20], vec![1], vec![1], vec![1], vec![60]]);
    }
}
