//! Which endpoints serve a name: what the surfaces ask.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::{
    channel::oneshot,
    future::{self, FutureExt as _, Shared},
};

use super::{
    Endpoint, Leaving, NotSynced, Question, Refusal,
    cell::Cell,
    dial::Dial,
    ejection::Report,
    members::Members,
    policy::prefer,
    random, ranking,
    spelled::Spelled,
    top,
    watched::{Described, Watched},
};
use crate::model::{
    Caller, Moment,
    service::{Labels, Policy},
};

/// For how long an endpoint that was just handed out comes after the others, unless told otherwise.
const RECENTLY_USED: Duration = Duration::from_secs(5);

/// How often [`super::Index::settle`] is to be called.
pub const TICK: Duration = Duration::from_millis(250);

/// All that is known of the services of a cluster, shared by everyone who answers questions. Written
/// by one [`super::Index`]. A question takes no lock.
pub struct Directory {
    recently_used: Duration,
    /// What askers have who do not say: the labels of the balancer's host.
    labels: Labels,
    /// Outcomes of clients' calls that the writer has not taken yet.
    reported: Mutex<Vec<Reported>>,
    dial: Arc<Dial>,
    /// None before the first full sync.
    names: ArcSwapOption<Names>,
    /// When the store was last heard, in milliseconds since the clock's origin.
    heard: AtomicU64,
    /// How much older than that the view was when it was restored from a file, in milliseconds: that may reach
    /// back before the clock's origin.
    older_by: AtomicU64,
    /// Endpoints that clients are sent away from.
    pub(super) leaving: ArcSwap<Leaving>,
    /// See [`Directory::seen`].
    pub(super) seen: AtomicI64,
    /// Dropped by the first sync, which resolves `synced`.
    waiting: Mutex<Option<oneshot::Sender<()>>>,
    /// Those who wait for a change of any name.
    watched: Watched,
    synced: Shared<oneshot::Receiver<()>>,
}

/// The members of each name. The map is replaced when a name comes or goes, a name's members when
/// one of them does. A hash map, because it is only ever looked up, once per question.
type Names = HashMap<String, Arc<Cell>>;

/// So many outcomes are kept between two looks.
const MOST_REPORTED: usize = 65_536;

/// How calls to an endpoint ended.
pub(super) type Reported = (Arc<Endpoint>, Report);

/// How calls of a client to an endpoint ended, in its own words.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where it called: host and port of an endpoint.
    pub host: String,
    /// See `host`.
    pub port: u16,
    /// Names the client.
    pub client: u64,
    /// Calls that succeeded.
    pub successes: u32,
    /// Calls that failed.
    pub failures: u32,
}

/// A name that is found, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// How many healthy instances have it.
    pub endpoints: usize,
    /// Whether they are given out by tickets only.
    pub exclusive: bool,
}

impl Directory {
    /// A directory that knows nothing yet. An endpoint that was handed out comes after the others
    /// for `recently_used`.
    pub fn new(recently_used: Duration) -> Self {
        let (waiting, synced) = oneshot::channel();
        Self {
            recently_used,
            labels: Labels::new(),
            reported: Mutex::default(),
            dial: Arc::new(Dial::new(recently_used, TICK)),
            names: ArcSwapOption::empty(),
            heard: AtomicU64::new(0),
            older_by: AtomicU64::new(0),
            leaving: ArcSwap::default(),
            seen: AtomicI64::new(0),
            waiting: Mutex::new(Some(waiting)),
            watched: Watched::default(),
            synced: synced.shared(),
        }
    }

    /// The same, on a host with these labels: askers who do not say where they are count as being there.
    #[must_use]
    pub fn on_host(self, labels: Labels) -> Self {
        Self { labels, ..self }
    }

    /// The endpoints that the question's request should go to, the best first, as the service's policy chooses
    /// them; at least one. Each counts as busier from now on, until it reports its load again, or for
    /// `recently_used` at most.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick(&self, question: &Question<'_>) -> Result<Vec<Arc<Endpoint>>, Refusal> {
        self.pick_by(question, &mut None)
    }

    /// The same; `policy` becomes that of the service, where the question comes as far as to one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick_by(
        &self,
        question: &Question<'_>,
        policy: &mut Option<Policy>,
    ) -> Result<Vec<Arc<Endpoint>>, Refusal> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        let unknown = || Refusal::Unknown(question.name.to_owned());
        let cell = names.get(question.name).ok_or_else(unknown)?;
        let members = cell.members.load();
        check(question.name, &members)?;
        *policy = Some(members.rules().policy());
        let chosen = prefer::choose(&members, question, self.recently_used, &self.labels);
        if !chosen.is_empty() {
            cell.note_pick();
            return Ok(chosen);
        }
        let name = question.name.to_owned();
        let able = (0..members.endpoints().len()).any(|position| members.takes(position));
        Err(match able {
            true => Refusal::AllExcluded(name),
            false => Refusal::NothingHealthy {
                name,
                age: self.age(question.now).unwrap_or_default(),
            },
        })
    }

    /// Takes in how calls ended that a client made to endpoints of `name`. Those that it does not have are passed
    /// over, and so is what comes faster than can be judged.
    ///
    /// # Errors
    /// As with [`Directory::pick`], save that a service may have no healthy instance.
    pub fn report(&self, name: &str, outcomes: &[Outcome], now: Moment) -> Result<(), Refusal> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        let cell = names.get(name);
        let cell = cell.ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        let members = cell.members.load();
        check(name, &members)?;
        let known = outcomes.iter().filter_map(|outcome| {
            let endpoint = members.find(&outcome.host, outcome.port)?;
            let report = Report {
                client: outcome.client,
                successes: outcome.successes,
                failures: outcome.failures,
                at: now,
            };
            Some((Arc::clone(endpoint), report))
        });
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_REPORTED.saturating_sub(reported.len());
        reported.extend(known.take(room));
        Ok(())
    }

    /// What was reported since the last call.
    pub(super) fn take_reported(&self) -> Vec<Reported> {
        mem::take(&mut self.reported.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What [`Directory::pick`] takes the endpoint's load for: a part of its capacity, 1 is fully busy. None: it
    /// takes no requests.
    pub fn effective_load(&self, endpoint: &Endpoint) -> Option<f64> {
        endpoint.effective_load(&self.dial)
    }

    /// All endpoints of `name`; they tell when they change.
    ///
    /// # Errors
    /// As with [`Directory::pick`], save that a service may have no healthy instance.
    pub fn describe(&self, name: &str) -> Result<Described, Refusal> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        let cell = names
            .get(name)
            .ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        // Asked for first: a change between the two is told twice, not never.
        let changed = cell.watched.changed();
        Ok(Described::new(cell.members.load_full(), changed))
    }

    /// Resolves when the members or the rules of some name are different, or everything is first known.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.watched.changed().map(drop)
    }

    /// At most `at_most` endpoints of `name` in an order that `seed` chooses: none where nobody serves it.
    ///
    /// # Errors
    /// [`Refusal::NotSynced`] before the first full sync, [`Refusal::Exclusive`] for such services.
    pub fn random(
        &self,
        name: &str,
        at_most: usize,
        seed: u64,
    ) -> Result<Vec<Arc<Endpoint>>, Refusal> {
        self.answer(name, |members| random::choose(members, at_most, seed))
    }

    /// At most `at_most` endpoints of `name`, the least busy first (`top` has the rules); they count
    /// as handed out from `now` on. A name that nobody serves has none.
    ///
    /// # Errors
    /// [`Refusal::NotSynced`] before the first full sync, [`Refusal::Exclusive`] for such services.
    pub fn top(
        &self,
        name: &str,
        at_most: usize,
        now: Moment,
    ) -> Result<Vec<Arc<Endpoint>>, Refusal> {
        self.answer(name, |members| match at_most {
            1 => top::first(members, self.recently_used, now),
            _ => top::choose(members, at_most, |_| true, self.recently_used, now),
        })
    }

    /// Turns away callers for whom `name` is not. To be asked before anything is told of it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn admit(&self, name: &str, caller: &Caller) -> Result<(), Refusal> {
        let names = self.names.load();
        let Some(cell) = names.as_ref().and_then(|names| names.get(name)) else {
            return Ok(());
        };
        let members = cell.members.load();
        match &members.rules().spec.allow {
            Some(allowed) if !caller.is_among(allowed) => Err(Refusal::Forbidden {
                name: name.to_owned(),
                caller: caller.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the store was read completely at least once.
    pub fn is_synced(&self) -> bool {
        self.names.load().is_some()
    }

    /// How many names are served; none before the first full sync.
    pub fn names(&self) -> usize {
        self.names.load().as_ref().map_or(0, |names| names.len())
    }

    /// What is found under `text`, where upper and lower case are not told apart and dots part names, as in DNS. A
    /// name that is written exactly so comes first.
    ///
    /// # Errors
    /// Before the first full sync.
    pub fn spelled(&self, text: &str) -> Result<Spelled, NotSynced> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        Ok(match names.contains_key(text) {
            true => Spelled::Name(text.to_owned()),
            false => Spelled::among(names.keys(), text),
        })
    }

    /// What is found, sorted by name.
    ///
    /// # Errors
    /// Before the first full sync.
    pub fn catalogue(&self) -> Result<Vec<Listed>, NotSynced> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        let listed = names.iter().map(|(name, cell)| {
            let members = cell.members.load();
            Listed {
                name: name.clone(),
                endpoints: members.endpoints().len(),
                exclusive: members.rules().spec.exclusive,
            }
        });
        let mut listed: Vec<Listed> = listed.collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Picks that were answered, by name, since each was first found.
    pub fn picked(&self) -> BTreeMap<String, u64> {
        let names = self.names.load();
        let names = names.iter().flat_map(|names| names.iter());
        names
            .map(|(name, cell)| (name.clone(), cell.picks()))
            .collect()
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
        let older_by = Duration::from_millis(self.older_by.load(Relaxed));
        self.is_synced().then(|| now.since(heard) + older_by)
    }

    /// Notes that the store was heard at `moment`.
    pub fn heard(&self, moment: Moment) {
        self.heard_before(moment, Duration::ZERO);
    }

    /// The same, that long before `moment`: the view is from a file.
    pub fn heard_before(&self, moment: Moment, age: Duration) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let heard = millis(moment.since(Moment::default()));
        self.heard.store(heard, Relaxed);
        self.older_by.store(millis(age), Relaxed);
    }

    /// What all loads depend on.
    pub(super) fn dial(&self) -> &Arc<Dial> {
        &self.dial
    }

    /// Replaces everything: the first full sync.
    pub(super) fn replace(&self, names: BTreeMap<String, Members>) {
        let former = self.names.load_full().unwrap_or_default();
        let cell = |(name, members): (String, Members)| {
            let cell = Cell::new(members, former.get(&name));
            (name, cell)
        };
        self.names
            .store(Some(Arc::new(names.into_iter().map(cell).collect())));
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.watched.wake();
    }

    /// Replaces the members of some names; none: the name is gone.
    pub(super) fn update(&self, changes: BTreeMap<String, Option<Members>>, now: Moment) {
        let current = self.names.load_full().unwrap_or_default();
        let mut next = None;
        let mut changed = Vec::new();
        for (name, members) in changes {
            match (current.get(&name), members) {
                (Some(cell), Some(members)) => {
                    let former = cell.members.load();
                    members.kept.follow(&former.kept);
                    ranking::settle(&members, self.recently_used, now);
                    cell.members.store(Arc::new(members));
                    changed.push(Arc::clone(cell));
                }
                (None, None) => {}
                (former, members) => {
                    changed.extend(former.cloned());
                    let next = next.get_or_insert_with(|| Names::clone(&current));
                    match members {
                        Some(members) => {
                            next.insert(name, Cell::new(members, None));
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
        changed.iter().for_each(|cell| cell.watched.wake());
        self.watched.wake();
    }

    /// Takes over the load of an endpoint that `name` may find.
    pub(super) fn refresh(&self, name: &str, endpoint: &Endpoint) {
        if let Some(cell) = self.names.load().as_ref().and_then(|names| names.get(name)) {
            let members = cell.members.load();
            members.refresh_endpoint(endpoint);
            members.kept.note_change();
        }
    }

    /// Lets time go by: picks are forgotten, loads fade, orders are renewed.
    pub(super) fn settle(&self, now: Moment) {
        let turned = self.dial.turn(now, self.age(now).unwrap_or_default());
        let names = self.names.load();
        for cell in names.iter().flat_map(|names| names.values()) {
            let members = cell.members.load();
            members.settle(turned);
            ranking::settle(&members, self.recently_used, now);
        }
    }

    fn answer(
        &self,
        name: &str,
        choose: impl FnOnce(&Members) -> Vec<Arc<Endpoint>>,
    ) -> Result<Vec<Arc<Endpoint>>, Refusal> {
        let names = self.names.load();
        let names = names.as_ref().ok_or(NotSynced)?;
        let Some(cell) = names.get(name) else {
            return Ok(Vec::new());
        };
        let members = cell.members.load();
        check(name, &members)?;
        Ok(choose(&members))
    }

    /// The members of a name.
    pub(super) fn members(&self, name: &str) -> Option<Arc<Members>> {
        self.names
            .load()
            .as_ref()?
            .get(name)
            .map(|cell| cell.members.load_full())
    }
}

/// Refuses what is given out by tickets only: whatever chooses asks here first.
fn check(name: &str, members: &Members) -> Result<(), Refusal> {
    match members.rules().spec.exclusive {
        true => Err(Refusal::Exclusive(name.to_owned())),
        false => Ok(()),
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
        assert_eq!(directory.random("a", 1, 0).unwrap_err(), NotSynced.into());
        assert_eq!(directory.top("a", 1, now).unwrap_err(), NotSynced.into());
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
