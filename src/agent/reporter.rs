//! Writes `state/<node>/`: what is wanted there, compared with what the store is known to hold.
//!
//! One transaction is under way at a time; what changes meanwhile goes into the next. Each compares the
//! session and, per key, the revision last seen. After a conflict or a lost answer the keys are read
//! again before anything is written. Nothing is tried while there is no session.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::BoxFuture;

use super::session::Held;
use crate::{
    host::Host,
    keys::{Key, Keys},
    model::{Instance, InstanceState, Moment, Name, state::Phase},
    retry::Retry,
    store::{Error, Guard, Listing, Outcome, Store, Txn, Write},
};

/// Writes per transaction: with two guards each, and two for the session, below etcd's limit of 128 operations.
const BATCH: usize = 60;

/// Pauses after the store refused or could not be reached.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the store holds under a key, as far as is known.
#[derive(Clone, Debug, PartialEq)]
enum Stored {
    /// Nothing.
    Nothing,
    /// Something that is not a state.
    Garbage,
    /// A state.
    State(Box<InstanceState>),
}

/// The same, with the revision at which it was seen.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    revision: i64,
    stored: Stored,
}

/// What a transaction or a look at the store brought.
pub(super) enum Done {
    /// A transaction with these states; none means a deletion.
    Wrote {
        batch: Vec<(Instance, Option<InstanceState>)>,
        result: Result<Outcome, Error>,
    },
    /// A list of all keys.
    Looked(Result<Listing, Error>),
}

/// Brings what is reported in line with what is.
pub(super) struct Reporter {
    store: Store,
    host: Host,
    keys: Keys,
    node: Name,
    held: Option<Held>,
    known: BTreeMap<Instance, Known>,
    wanted: BTreeMap<Instance, InstanceState>,
    /// Who is announced before it is started: the revision at which its assignment has to be in the store then.
    announced_by: BTreeMap<Instance, i64>,
    /// Whose known state is not the wanted one.
    stale: BTreeSet<Instance>,
    /// Whether the store is to be read before it is written.
    look: bool,
    under_way: Option<BoxFuture<'static, Done>>,
    retry: Retry,
    paused_until: Moment,
    /// The last write failed, which has been said.
    troubled: bool,
}

impl Reporter {
    pub(super) fn new(store: Store, host: Host, keys: Keys, node: Name) -> Self {
        Self {
            store,
            host,
            keys,
            node,
            held: None,
            known: BTreeMap::new(),
            wanted: BTreeMap::new(),
            announced_by: BTreeMap::new(),
            stale: BTreeSet::new(),
            look: false,
            under_way: None,
            retry: Retry::new(RETRY.0, RETRY.1),
            paused_until: Moment::default(),
            troubled: false,
        }
    }

    /// The session under which to write from now on. A new one confirms every state.
    pub(super) fn session(&mut self, held: Option<Held>) {
        self.held = held;
        let all: Vec<_> = self.wanted.keys().cloned().collect();
        all.iter().for_each(|instance| self.compare(instance));
    }

    /// What is to be reported of an instance; none: nothing any more.
    pub(super) fn want(&mut self, instance: &Instance, state: Option<InstanceState>) {
        match state {
            Some(state) => self.wanted.insert(instance.clone(), state),
            None => {
                self.announced_by.remove(instance);
                self.wanted.remove(instance)
            }
        };
        self.compare(instance);
    }

    /// What is to be reported of an instance.
    pub(super) fn wanted(&self, instance: &Instance) -> Option<&InstanceState> {
        self.wanted.get(instance)
    }

    /// The same, or what the store held of it before anything was to be reported.
    pub(super) fn last(&self, instance: &Instance) -> Option<&InstanceState> {
        self.wanted(instance)
            .or_else(|| match &self.known.get(instance)?.stored {
                Stored::State(state) => Some(&**state),
                Stored::Nothing | Stored::Garbage => None,
            })
    }

    /// The first state of an instance under a session is only written while its assignment is the one stored at
    /// this revision; none: whatever it is.
    pub(super) fn announce_by(&mut self, instance: &Instance, assigned_at: Option<i64>) {
        match assigned_at {
            Some(revision) => self.announced_by.insert(instance.clone(), revision),
            None => self.announced_by.remove(instance),
        };
    }

    /// Whether the store holds a state of `instance` that was written under this session.
    pub(super) fn is_announced(&self, instance: &Instance) -> bool {
        let began = self.held.as_ref().map(|held| held.began);
        let known = self.known.get(instance).map(|known| &known.stored);
        match (began, known) {
            (Some(began), Some(Stored::State(state))) => state.epoch >= began,
            _ => false,
        }
    }

    /// A key was seen to hold `value` (none: to be deleted) at `revision`.
    pub(super) fn seen(&mut self, instance: Instance, revision: i64, value: Option<&[u8]>) {
        let stored = match value {
            None => Stored::Nothing,
            Some(value) => serde_json::from_slice(value)
                .map_or(Stored::Garbage, |state| Stored::State(Box::new(state))),
        };
        self.learn(instance, revision, stored);
    }

    /// The store was restored from a backup: nothing is known of it any more, and what is under way was
    /// meant for the one before.
    pub(super) fn restored(&mut self) {
        self.known.clear();
        self.under_way = None;
        self.look = true;
    }

    /// Whether the store holds what is wanted, as far as is known.
    pub(super) fn is_settled(&self) -> bool {
        self.stale.is_empty() && self.under_way.is_none() && !self.look
    }

    /// Whether the store is known to say that `instance` is not ready, and nothing is under way that
    /// could say otherwise.
    pub(super) fn says_unready(&self, instance: &Instance) -> bool {
        let ready = match self.known.get(instance).map(|known| &known.stored) {
            Some(Stored::State(state)) => state.ready,
            Some(Stored::Nothing | Stored::Garbage) | None => false,
        };
        !ready && self.under_way.is_none() && !self.stale.contains(instance)
    }

    /// The revision of a state of `instance` that says that it drains, if that is what the store holds.
    pub(super) fn drains_since(&self, instance: &Instance) -> Option<i64> {
        let known = self.known.get(instance)?;
        match &known.stored {
            Stored::State(state)
                if state.phase == Phase::Draining && self.says_unready(instance) =>
            {
                Some(known.revision)
            }
            _ => None,
        }
    }

    /// Call once everything under the prefix has been [`Self::seen`]. Begins a transaction, or a look at the store, if one is needed and possible. Returns when to
    /// ask again, if that is known.
    pub(super) fn advance(&mut self, now: Moment) -> Option<Moment> {
        let held = self.held.as_ref()?;
        if self.under_way.is_some() || (self.stale.is_empty() && !self.look) {
            return None;
        }
        if now < self.paused_until {
            return Some(self.paused_until);
        }
        let store = self.store.clone();
        if self.look {
            let prefix = self.keys.states_of(&self.node);
            self.under_way = Some(Box::pin(
                async move { Done::Looked(store.list(&prefix).await) },
            ));
            return None;
        }
        let mut txn = Txn {
            guards: held.guards(),
            writes: Vec::new(),
        };
        let mut batch = Vec::new();
        for instance in self.stale.iter().take(BATCH) {
            let key = self
                .keys
                .of(&Key::State(self.node.clone(), instance.clone()));
            txn.guards.push(match self.known.get(instance) {
                Some(known) if known.stored != Stored::Nothing => {
                    Guard::ModRevision(key.clone(), known.revision)
                }
                _ => Guard::Absent(key.clone()),
            });
            let assigned_at = self.announced_by.get(instance);
            if let Some(revision) = assigned_at.filter(|_| !self.is_announced(instance)) {
                let assignment = Key::Assignment(self.node.clone(), instance.clone());
                let assignment = self.keys.of(&assignment);
                txn.guards.push(Guard::ModRevision(assignment, *revision));
            }
            let state = self
                .wanted
                .get(instance)
                .cloned()
                .map(|state| InstanceState {
                    epoch: held.epoch,
                    ..state
                });
            txn.writes.push(match &state {
                // Plain data with text keys cannot fail to become JSON.
                Some(state) => Write::put(key, serde_json::to_vec(state).unwrap_or_default()),
                None => Write::delete(key),
            });
            batch.push((instance.clone(), state));
        }
        self.under_way = Some(Box::pin(async move {
            Done::Wrote {
                batch,
                result: store.commit(txn).await,
            }
        }));
        None
    }

    /// Waits for what is under way; for good if nothing is. Cancel-safe.
    pub(super) async fn done(&mut self) -> Done {
        match &mut self.under_way {
            Some(under_way) => {
                let done = under_way.await;
                self.under_way = None;
                done
            }
            None => std::future::pending().await,
        }
    }

    /// Takes in what was done. False: the store refused the session's right to write.
    pub(super) fn absorb(&mut self, done: Done, now: Moment) -> bool {
        let error = match done {
            Done::Wrote {
                batch,
                result: Ok(Outcome::Committed(revision)),
            } => {
                for (instance, state) in batch {
                    let stored =
                        state.map_or(Stored::Nothing, |state| Stored::State(Box::new(state)));
                    self.learn(instance, revision, stored);
                }
                self.retry.reset();
                if std::mem::take(&mut self.troubled) {
                    tracing::info!(node = %self.node, "instances are reported again");
                }
                return true;
            }
            Done::Wrote {
                result: Ok(Outcome::Conflict),
                ..
            } => {
                // Either a key or the session is not as it was known to be.
                self.look = true;
                self.pause(now);
                return false;
            }
            Done::Looked(Ok(listing)) => {
                self.look = false;
                self.take_listing(listing);
                return true;
            }
            Done::Wrote {
                result: Err(error), ..
            } => {
                self.look |= !error.is_retryable();
                error
            }
            Done::Looked(Err(error)) => error,
        };
        if self.troubled {
            tracing::debug!(node = %self.node, %error, "still no report");
        } else {
            tracing::warn!(node = %self.node, %error, "instances run on, but cannot be reported now");
        }
        self.troubled = true;
        self.pause(now);
        true
    }

    fn pause(&mut self, now: Moment) {
        self.paused_until = now + self.retry.pause(&*self.host.entropy);
    }

    fn take_listing(&mut self, listing: Listing) {
        let mut gone: BTreeSet<_> = self.known.keys().cloned().collect();
        for entry in listing.entries {
            if let Some(Key::State(_, instance)) = self.keys.parse(&entry.key) {
                gone.remove(&instance);
                // Known from later on, though it was written before: that was in a store that was restored since.
                let known = self.known.get(&instance);
                if known.is_some_and(|known| {
                    known.revision > entry.mod_revision && known.revision <= listing.revision
                }) {
                    self.known.remove(&instance);
                }
                self.seen(instance, entry.mod_revision, Some(&entry.value));
            }
        }
        for instance in gone {
            self.seen(instance, listing.revision, None);
        }
    }

    /// Takes in what the store holds, unless something newer is known.
    fn learn(&mut self, instance: Instance, revision: i64, stored: Stored) {
        let known = self.known.get(&instance);
        if known.is_some_and(|known| known.revision > revision) {
            return;
        }
        self.known
            .insert(instance.clone(), Known { revision, stored });
        self.compare(&instance);
    }

    fn compare(&mut self, instance: &Instance) {
        let stored = self.known.get(instance).map(|known| &known.stored);
        let stale = match (self.wanted.get(instance), stored) {
            (None, None | Some(Stored::Nothing)) => false,
            (Some(wanted), Some(Stored::State(state))) => {
                let began = self.held.as_ref().map_or(0, |held| held.began);
                state.epoch < began
                    || **state
                        != InstanceState {
                            epoch: state.epoch,
                            ..wanted.clone()
                        }
            }
            _ => true,
        };
        if stale {
            self.stale.insert(instance.clone());
        } else {
            self.stale.remove(instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Config, Entry};

    #[tokio::test]
    async fn what_was_known_of_a_store_that_was_restored_since_gives_way_to_a_look_at_it() {
        let store = Store::new(
            Config::new(["http://127.0.0.1:1".to_owned()]),
            Host::system(),
        );
        let (node, keys): (Name, _) = (
            "n1".parse().unwrap(),
            Keys::new(&"default".parse().unwrap()),
        );
        let mut reporter =
            Reporter::new(store.unwrap(), Host::system(), keys.clone(), node.clone());
        let instance: Instance = "worker-0".parse().unwrap();
        let listing = |mod_revision| Listing {
            entries: vec![Entry {
                key: keys.of(&Key::State(node.clone(), instance.clone())),
                value: b"{}".to_vec().into(),
                create_revision: mod_revision,
                mod_revision,
            }],
            revision: 120,
        };
        let revision = |reporter: &Reporter| reporter.known[&instance].revision;
        reporter.seen(instance.clone(), 95, Some(b"{}"));
        reporter.take_listing(listing(70));
        assert_eq!(revision(&reporter), 70);
        // A watch may be ahead of a look.
        reporter.seen(instance.clone(), 121, Some(b"{}"));
        reporter.take_listing(listing(110));
        assert_eq!(revision(&reporter), 121);
    }
}
