//! Which endpoints serve a name: what the surfaces ask.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::{
    channel::oneshot,
    future::{self, FutureExt as _, Shared},
};

use super::{Endpoint, members::Members, random, top};
use crate::model::Moment;

/// For how long an endpoint that was just handed out comes after the others, unless told otherwise.
const RECENTLY_USED: Duration = Duration::from_secs(5);

/// All that is known of the services of a cluster, shared by everyone who answers questions. Written
/// by one [`super::Index`]. A question takes no lock.
pub struct Directory {
    recently_used: Duration,
    /// None before the first full sync.
    names: ArcSwapOption<Names>,
    /// When the store was last heard, in milliseconds since the clock's origin.
    heard: AtomicU64,
    /// Dropped by the first sync, which resolves `synced`.
    waiting: Mutex<Option<oneshot::Sender<()>>>,
    synced: Shared<oneshot::Receiver<()>>,
}

/// The members of each name. The map is replaced when a name comes or goes, a name's members when
/// one of them does. A hash map, because it is only ever looked up, once per question.
type Names = HashMap<String, Arc<ArcSwap<Members>>>;

/// The store has not been read yet: which endpoints there are is not known, which is not the same as
/// that there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the balancer has not read the store since it started; it answers as soon as it has")]
pub struct NotSynced;

impl Directory {
    /// A directory that knows nothing yet. An endpoint that was handed out comes after the others
    /// for `recently_used`.
    pub fn new(recently_used: Duration) -> Self {
        let (waiting, synced) = oneshot::channel();
        Self {
            recently_used,
            names: ArcSwapOption::empty(),
            heard: AtomicU64::new(0),
            waiting: Mutex::new(Some(waiting)),
            synced: synced.shared(),
        }
    }

    /// At most `at_most` endpoints of `name` in an order that `seed` chooses. A name that nobody
    /// serves has none.
    ///
    /// # Errors
    /// [`NotSynced`] before the first full sync.
    pub fn random(
        &self,
        name: &str,
        at_most: usize,
        seed: u64,
    ) -> Result<Vec<Arc<Endpoint>>, NotSynced> {
        self.answer(name, |members| random::choose(members, at_most, seed))
    }

    /// At most `at_most` endpoints of `name`, the least busy first (`top` has the rules); they count
    /// as handed out from `now` on. A name that nobody serves has none.
    ///
    /// # Errors
    /// [`NotSynced`] before the first full sync.
    pub fn top(
        &self,
        name: &str,
        at_most: usize,
        now: Moment,
    ) -> Result<Vec<Arc<Endpoint>>, NotSynced> {
        self.answer(name, |members| {
            top::choose(members, at_most, self.recently_used, now)
        })
    }

    /// Whether the store was read completely at least once.
    pub fn is_synced(&self) -> bool {
        self.names.load().is_some()
    }

    /// How many names are served; none before the first full sync.
    pub fn names(&self) -> usize {
        self.names.load().as_ref().map_or(0, |names| names.len())
    }

    /// Resolves at the first full sync; at once when it has happened.
    pub fn synced(&self) -> impl Future<Output = ()> + Send + use<> {
        self.synced.clone().then(|dropped| match dropped {
            Err(oneshot::Canceled) => future::ready(()).left_future(),
            Ok(()) => future::pending().right_future(),
        })
    }

    /// How long before `now` the store was last heard; none before the first full sync. Answers are
    /// given at any age.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        let heard = Moment::new(Duration::from_millis(self.heard.load(Relaxed)));
        self.is_synced().then(|| now.since(heard))
    }

    /// Notes that the store was heard at `moment`.
    pub fn heard(&self, moment: Moment) {
        let millis = moment.since(Moment::default()).as_millis();
        self.heard
            .store(u64::try_from(millis).unwrap_or(u64::MAX), Relaxed);
    }

    /// Replaces everything: the first full sync.
    pub(super) fn replace(&self, names: BTreeMap<String, Members>) {
        let cell = |(name, members)| (name, Arc::new(ArcSwap::from_pointee(members)));
        self.names
            .store(Some(Arc::new(names.into_iter().map(cell).collect())));
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Replaces the members of some names; none: the name is gone.
    pub(super) fn update(&self, changes: BTreeMap<String, Option<Members>>) {
        let current = self.names.load_full().unwrap_or_default();
        let mut next = None;
        for (name, members) in changes {
            match (current.get(&name), members) {
                (Some(cell), Some(members)) => cell.store(Arc::new(members)),
                (None, None) => {}
                (_, members) => {
                    let next = next.get_or_insert_with(|| Names::clone(&current));
                    match members {
                        Some(members) => {
                            next.insert(name, Arc::new(ArcSwap::from_pointee(members)));
                        }
                        None => {
                            next.remove(&name);
                        }
                    }
                }
            }
        }
        if let Some(next) = next {
            self.names.store(Some(Arc::new(next)));
        }
    }

    fn answer(
        &self,
        name: &str,
        choose: impl FnOnce(&Members) -> Vec<Arc<Endpoint>>,
    ) -> Result<Vec<Arc<Endpoint>>, NotSynced> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        Ok(names
            .get(name)
            .map_or_else(Vec::new, |cell| choose(&cell.load())))
    }

    /// The members of a name, for tests.
    #[cfg(test)]
    pub(super) fn members(&self, name: &str) -> Option<Arc<Members>> {
        self.names
            .load()
            .as_ref()?
            .get(name)
            .map(|cell| cell.load_full())
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new(RECENTLY_USED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_sync_nothing_is_answered_and_nothing_is_not_an_answer() {
        let directory = Directory::default();
        let now = Moment::new(Duration::from_secs(9));
        assert_eq!(directory.random("a", 1, 0).unwrap_err(), NotSynced);
        assert_eq!(directory.top("a", 1, now).unwrap_err(), NotSynced);
        assert_eq!(directory.age(now), None);
        assert!(directory.synced().now_or_never().is_none());

        directory.replace(BTreeMap::new());
        directory.heard(Moment::new(Duration::from_secs(7)));
        assert!(directory.random("a", 1, 0).unwrap().is_empty());
        assert!(directory.top("a", 1, now).unwrap().is_empty());
        assert_eq!(directory.age(now), Some(Duration::from_secs(2)));
        assert!(directory.synced().now_or_never().is_some());
    }
}
