//! The cluster as it is now and whatever changes, for those who look on: what the dashboard shows.
//!
//! - [`Board`]: is kept by [`Board::keep`], and read by everybody else
//! - `items`: what is said of each thing
//! - `book`: items with their versions, so that a reader who was away is told what it missed
//! - `history`: the last half hour; `picks`: what balancers have counted
//! - `picture`: all of it as one reads it

mod book;
mod history;
mod items;
mod picks;
mod picture;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    book::{Book, Difference, Id},
    history::History,
    picks::{Pace, Rates, Told},
};
pub use self::{
    history::Course,
    picks::{Count, Counts, Refusing},
    picture::Picture,
};
use super::inventory::{Raw, Seat};
use crate::{
    host::Host,
    keys::{Key, Keys},
    model::{InstanceState, Moment, Name, Presence, event::Recorder},
    store::{Change, Store, Update},
};

/// The time between two samples of loads, where nobody says otherwise.
const STEP: Duration = Duration::from_secs(5);

/// How much of a cluster is shown: as much as the role may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Cluster,
    /// What an agent may see: its own node.
    Node(Name),
    /// What a balancer may see: what there is to answer.
    Answers,
}

/// A version of the board, as its readers name it; it means nothing to another board.
pub type Mark = String;

/// What changed.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The version that it leads to.
    pub mark: Mark,
    /// What items are now, as texts of JSON, by kind and name: `s/worker`, `i/qa-1/worker-0`.
    put: BTreeMap<Arc<str>, Arc<str>>,
    /// Items that are gone.
    gone: BTreeSet<Arc<str>>,
}

impl Changes {
    /// As JSON: `{"put": {id: item}, "gone": [id]}`.
    pub fn to_json(&self) -> String {
        let quoted = |id: &Arc<str>| serde_json::Value::from(&**id).to_string();
        let put = self.put.iter();
        let put: Vec<String> = put
            .map(|(id, item)| format!("{}:{item}", quoted(id)))
            .collect();
        let gone: Vec<String> = self.gone.iter().map(quoted).collect();
        format!(
            r#"{{"put":{{{}}},"gone":[{}]}}"#,
            put.join(","),
            gone.join(",")
        )
    }
}

/// What everybody may see. Cheap to clone.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    /// Random, so that versions of another board are not taken for its own.
    id: String,
    scope: Scope,
    /// The time between two samples of loads.
    step: Duration,
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
    /// Whether anybody has looked at it.
    looked: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    raw: Raw,
    book: Book,
    history: History,
    /// Those that say where they are reached, or that they are there.
    balancers: BTreeMap<Name, Presence>,
    rates: Rates,
    /// Whose clients may be told of, by address.
    refusing: BTreeSet<String>,
    /// Picks in a second, as they were known last.
    pace: Pace,
    /// Instances that an agent runs by its own manifests.
    own: BTreeSet<Seat>,
    /// Whether everything was read once.
    is_read: bool,
}

impl Board {
    /// A board that is empty until it is kept.
    pub fn new(host: &Host, scope: Scope) -> Self {
        Self::sampled(host, scope, STEP)
    }

    /// The same; a sample of loads is taken every `step`.
    pub fn sampled(host: &Host, scope: Scope, step: Duration) -> Self {
        let inner = Inner {
            history: History::new(step),
            ..Inner::default()
        };
        Self(Arc::new(Shared {
            id: format!("{:016x}", host.entropy.bits()),
            scope,
            step,
            inner: Mutex::new(inner),
            version: watch::Sender::new(0),
            looked: watch::Sender::new(false),
        }))
    }

    /// How much is shown.
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// Keeps it current until `stop`. That of a balancer begins when somebody first looks: it has what it answers
    /// from in memory already, and need not have it twice for nobody. Picks are counted by whom `asked` knows: that of
    /// a balancer is asked for the address that is empty.
    ///
    /// # Errors
    /// None.
    pub async fn keep(
        self,
        store: Store,
        cluster: Name,
        asked: Option<Arc<dyn Counts>>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let keys = Keys::new(&cluster);
        let clock = store.host().clock.clone();
        if self.0.scope == Scope::Answers {
            let mut looked = self.0.looked.subscribe();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // The sender is our own.
                _ = looked.wait_for(|looked| *looked) => {}
            }
        }
        let mut follow = store.follow(self.0.scope.prefixes(&keys));
        let mut next_sample = clock.now();
        let mut counting: Option<BoxFuture<'static, Told>> = None;
        loop {
            let counted = async {
                match &mut counting {
                    Some(counting) => counting.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                update = follow.next() => self.take(update, &keys),
                told = counted => {
                    counting = None;
                    self.take_counts(told, clock.now());
                }
                () = clock.sleep_until(next_sample) => {
                    next_sample = clock.now() + self.0.step;
                    let inner = &mut *self.lock();
                    if inner.is_read {
                        inner.history.sample(&inner.raw, &inner.pace, clock.timestamp());
                    }
                    counting = counting.or_else(|| self.count(inner, asked.as_ref()));
                }
            }
        }
    }

    /// Shows, until `stop`, the instances that an agent runs by its own manifests as well: the store knows nothing of
    /// them.
    ///
    /// # Errors
    /// None.
    pub async fn keep_own(
        self,
        mut own: watch::Receiver<Vec<InstanceState>>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        loop {
            let states = own.borrow_and_update().clone();
            self.take_own(&states);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = own.changed() => if changed.is_err() {
                    // The agent is over, and its process ends with it.
                    stop.cancelled().await;
                    return Ok(());
                }
            }
        }
    }

    fn take_own(&self, states: &[InstanceState]) {
        let inner = &mut *self.lock();
        let seats = (states.iter()).map(|state| (state.instance.clone(), state.node.clone()));
        let before = std::mem::replace(&mut inner.own, seats.collect());
        let key = |(instance, node): &Seat| Key::State(node.clone(), instance.clone());
        for gone in before.difference(&inner.own) {
            inner.raw.take(key(gone), None);
        }
        for state in states {
            let seat = (state.instance.clone(), state.node.clone());
            let value = serde_json::to_vec(state).ok();
            inner.raw.take(key(&seat), value.as_deref());
        }
        let items = before.union(&inner.own);
        let items: Vec<_> = items.map(|seat| items::own(seat, &inner.raw)).collect();
        if inner.book.note(items) {
            self.0.version.send_replace(inner.book.version());
        }
    }

    /// Begins to ask what was picked, where there is somebody to ask.
    fn count(
        &self,
        inner: &Inner,
        asked: Option<&Arc<dyn Counts>>,
    ) -> Option<BoxFuture<'static, Told>> {
        let asked = Arc::clone(asked?);
        let balancers = inner.balancers.values();
        let addresses = match self.0.scope {
            Scope::Answers => vec![String::new()],
            _ => balancers.filter_map(|it| it.address.clone()).collect(),
        };
        Some(async move { picks::ask(&*asked, addresses).await }.boxed())
    }

    /// Takes in what balancers have counted.
    fn take_counts(&self, told: Told, now: Moment) {
        let inner = &mut *self.lock();
        let items: Vec<_> = items::refusing(&inner.refusing, &told).collect();
        inner.refusing = told.keys().cloned().collect();
        inner.pace = inner.rates.take(told, now);
        if inner.book.note(items) {
            self.0.version.send_replace(inner.book.version());
        }
    }

    fn take(&self, update: Update, keys: &Keys) {
        let inner = &mut *self.lock();
        let mut touched = BTreeSet::new();
        let mut items: BTreeMap<Id, _> = BTreeMap::new();
        for change in update.changes {
            let Some(key) = keys.parse(change.key()) else {
                continue;
            };
            let value = match &change {
                Change::Put(entry) => Some(&entry.value[..]),
                Change::Delete { .. } => None,
            };
            if let Some(id) = items::alone(&key) {
                items.insert(id, value.and_then(|value| items::stored(&key, value)));
            }
            touched.extend(items::touched(&key));
            if let Key::Balancer(id) = &key {
                inner.balancers.remove(id);
                let presence = value.and_then(|value| serde_json::from_slice(value).ok());
                inner.balancers.extend(presence.map(|it| (id.clone(), it)));
            }
            inner.raw.take(key, value);
        }
        items.extend(touched.iter().map(|one| items::item(one, &inner.raw)));
        inner.is_read = true;
        inner.book.note(items);
        self.0.version.send_replace(inner.book.version());
    }

    /// Whether everything was read once. Before that it says nothing.
    pub fn is_read(&self) -> bool {
        self.lock().is_read
    }

    /// Everything.
    pub fn all(&self) -> Changes {
        self.0.looked.send_replace(true);
        let all = self.lock().book.all();
        self.told(all)
    }

    /// Everything, as one reads it, and the mark from which changes are waited for.
    pub fn picture(&self) -> (Picture, Mark) {
        self.0.looked.send_replace(true);
        let inner = self.lock();
        let mark = format!("{}-{}", self.0.id, inner.book.version());
        (Picture::of(&inner), mark)
    }

    /// What changed since `mark`; none where that is not known, and everything is to be asked for.
    pub fn since(&self, mark: &str) -> Option<Changes> {
        let version = self.version_of(mark)?;
        let difference = self.lock().book.since(version)?;
        Some(self.told(difference))
    }

    /// Resolves when there is something newer than `mark`. Cancel-safe.
    pub async fn newer(&self, mark: &str) {
        let known = self.version_of(mark).unwrap_or_default();
        let mut version = self.0.version.subscribe();
        // The sender is our own.
        let _ = version.wait_for(|version| *version > known).await;
    }

    /// The last half hour of a service, or of all.
    pub fn course(&self, service: Option<&Name>) -> Course {
        self.lock().history.course(service)
    }

    /// Where an agent is asked for logs; none where it cannot be.
    pub fn agent_address(&self, node: &Name) -> Option<String> {
        self.lock().raw.node(node)?.agent_address
    }

    fn told(&self, difference: Difference) -> Changes {
        Changes {
            mark: format!("{}-{}", self.0.id, difference.version),
            put: difference.items,
            gone: difference.gone,
        }
    }

    fn version_of(&self, mark: &str) -> Option<u64> {
        let (id, version) = mark.split_once('-')?;
        (id == self.0.id).then(|| version.parse().ok())?
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        let inner = &self.0.inner;
        inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scope {
    fn prefixes(&self, keys: &Keys) -> Vec<String> {
        match self {
            Self::Cluster => vec![
                keys.specs(),
                keys.assignments(),
                keys.states(),
                keys.sessions(),
                keys.loads(),
                keys.statuses(),
                keys.events(),
                keys.balancers(),
                keys.of(&Key::Leader),
            ],
            Self::Node(node) => vec![
                keys.assignments_of(node),
                keys.states_of(node),
                keys.of(&Key::Session(node.clone())),
                keys.of(&Key::Load(node.clone())),
                keys.events_of(&Recorder::Agent(node.clone())),
            ],
            Self::Answers => vec![keys.routes(), keys.states(), keys.sessions(), keys.loads()],
        }
    }
}
