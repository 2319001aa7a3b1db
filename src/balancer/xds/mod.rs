//! What stock gRPC clients are told by xDS: the view, as assignments that all streams share.
//!
//! ```text
//! Connection --names--> Publisher --Published--> Connection --> pushes, in the order that plan::xds says
//!                          ^ Directory, host names
//! ```
//!
//! - [`Xds`]: where connections begin, and what can be said of them
//! - [`Connection`]: one client
//! - `publisher`: the loop that keeps assignments current, of those services that somebody subscribes to
//! - [`Assigned`]: one service's endpoints
//! - `taken`: who has taken that an endpoint goes

mod connection;
mod publisher;
mod taken;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

pub use self::{
    connection::{Connection, Update, Who},
    publisher::Publisher,
    taken::Gone,
};
use crate::{
    host::Host,
    model::{Moment, service::Weighing},
    plan::xds::{Demand, Kind, Seat, Stream, Subscription, Versions},
    view::Directory,
};

/// One service's endpoints, as they are told.
#[derive(Debug)]
pub struct Assigned {
    /// Counts all changes of the balancer; of two, the newer has the higher.
    pub version: u64,
    /// Who weighs the endpoints.
    pub weighing: Weighing,
    /// The endpoints, with those that go.
    pub seats: Vec<Seat>,
    wire: OnceLock<Bytes>,
}

impl Assigned {
    fn new(version: u64, weighing: Weighing, seats: Vec<Seat>) -> Self {
        Self {
            version,
            weighing,
            seats,
            wire: OnceLock::new(),
        }
    }

    /// The endpoints that get new calls.
    pub fn in_use(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| !seat.is_leaving)
    }

    /// Itself as `encode` makes it, which is asked once for all clients.
    pub fn wire(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.wire.get_or_init(|| encode(self)).clone()
    }
}

/// The assignments of all services that somebody subscribes to. Nothing, before everything was seen once.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<BTreeMap<Arc<str>, Arc<Assigned>>>);

impl Published {
    /// A service's endpoints; none: not known yet.
    pub fn get(&self, name: &str) -> Option<&Arc<Assigned>> {
        self.0.get(name)
    }
}

impl Versions for Published {
    fn version(&self, kind: Kind, name: &str) -> Option<u64> {
        let assigned = self.0.get(name)?;
        Some(match (kind, assigned.weighing) {
            (Kind::Endpoints, _) => assigned.version,
            // Functions of the name, and of who weighs.
            (Kind::Listener, _) | (Kind::Cluster, Weighing::Server) => 1,
            (Kind::Cluster, Weighing::Orca) => 2,
        })
    }
}

/// Where clients connect. Cheap to clone.
#[derive(Clone)]
pub struct Xds(Arc<Shared>);

struct Shared {
    host: Host,
    directory: Arc<Directory>,
    /// What all clients want.
    demand: Mutex<Demand>,
    /// Names were added to it or taken away.
    changed: Notify,
    published: watch::Sender<Published>,
    clients: Mutex<BTreeMap<u64, Arc<Mutex<Client>>>>,
    next_client: AtomicU64,
    /// When a client of each name left last, of those who left lately.
    left: Mutex<BTreeMap<Arc<str>, Moment>>,
}

/// A client that is connected.
struct Client {
    who: Who,
    since: Moment,
    stream: Stream,
}

/// What can be said of a connected client.
#[derive(Clone, Debug)]
pub struct Connected {
    /// What it says of itself.
    pub who: Who,
    /// How long it has been connected.
    pub age: Duration,
    /// What it knows of each service that it has subscribed to, and the newest that there is.
    pub subscriptions: Vec<(Subscription, Option<Arc<Assigned>>)>,
    /// How many times it did not take what it was sent.
    pub refusals: u64,
    /// What it said the last time.
    pub last_refusal: String,
}

impl Xds {
    /// Clients are told what `directory` says, as long as the publisher runs.
    pub fn new(directory: Arc<Directory>, host: Host) -> (Self, Publisher) {
        let shared = Arc::new(Shared {
            host,
            directory: Arc::clone(&directory),
            demand: Mutex::default(),
            changed: Notify::new(),
            published: watch::Sender::new(Published::default()),
            clients: Mutex::default(),
            next_client: AtomicU64::new(0),
            left: Mutex::default(),
        });
        let publisher = Publisher::new(directory, Arc::clone(&shared));
        (Self(shared), publisher)
    }

    /// A client comes.
    pub fn connect(&self) -> Connection {
        let client = Arc::new(Mutex::new(Client {
            who: Who::default(),
            since: self.0.host.clock.now(),
            stream: Stream::default(),
        }));
        let id = self.0.next_client.fetch_add(1, Relaxed);
        lock(&self.0.clients).insert(id, Arc::clone(&client));
        Connection::new(id, client, Arc::clone(&self.0))
    }

    /// The clients that are connected, in the order in which they came.
    pub fn clients(&self) -> Vec<Connected> {
        let now = self.0.host.clock.now();
        let published = self.0.published.borrow().clone();
        let clients: Vec<_> = lock(&self.0.clients).values().cloned().collect();
        let connected = |client: Arc<Mutex<Client>>| {
            let client = lock(&client);
            let newest = |known: Subscription| {
                let newest = published.get(&known.name).cloned();
                (known, newest)
            };
            let subscriptions = client.stream.subscriptions().into_iter();
            let (refusals, last_refusal) = client.stream.refusals();
            Connected {
                who: client.who.clone(),
                age: now.since(client.since),
                subscriptions: subscriptions.map(newest).collect(),
                refusals,
                last_refusal: last_refusal.to_owned(),
            }
        };
        clients.into_iter().map(connected).collect()
    }
}

/// A place as people write it.
pub(super) fn place(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
