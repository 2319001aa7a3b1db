//! What balancers answer, as the ancestor's registry: its balancers probe what they find there and delete what they
//! cannot reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::{Either, select};
use tokio_util::sync::CancellationToken;

use super::NODE;
use crate::{
    host::Host,
    keys::registry::{Registered, Registry},
    model::{Caller, state::Endpoint},
    plan::mirror::{Mirror, Step},
    retry::Retry,
    store::{Change, Error, Guard, Lease, Outcome, Store, Txn, Update, Write},
    task::Failure,
    view::Directory,
};

/// How long what is registered outlives a balancer that is gone, where no other one registers it as well.
const TTL: Duration = Duration::from_secs(20);

/// How often the view is held against the registry.
const TURN: Duration = Duration::from_millis(500);

/// Pauses after a lease could not be had.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long the end may take; after that the lease ends by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// The registry as it is, and what of it is ours.
struct Registrar {
    registry: Registry,
    store: Store,
    host: Host,
    directory: Arc<Directory>,
    mirror: Mirror,
    /// The revision of every key there.
    there: BTreeMap<String, i64>,
    is_read: bool,
}

/// Registers what `directory` finds until `stop`, and then takes it back.
///
/// Any number of balancers may do so: a key is written by whoever misses it first, and when that one goes, by
/// another one.
///
/// # Errors
/// None that is known: a store that is away is waited for.
pub async fn run(
    registry: Registry,
    store: Store,
    host: Host,
    directory: Arc<Directory>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut follow = store.follow(vec![registry.prefix().to_owned()]);
    let mut registrar = Registrar {
        registry,
        store: store.clone(),
        host: host.clone(),
        directory,
        mirror: Mirror::default(),
        there: BTreeMap::new(),
        is_read: false,
    };
    let mut retry = Retry::new(RETRY.0, RETRY.1);
    while !stop.is_cancelled() {
        let granted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            granted = store.grant(TTL) => granted,
        };
        let lease = match granted {
            Ok(lease) => lease,
            Err(error) => {
                tracing::debug!(%error, "nothing can be registered yet");
                host.clock.sleep(retry.pause(&*host.entropy)).await;
                continue;
            }
        };
        retry.reset();
        let mut keeping = std::pin::pin!(lease.keep());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut keeping => break,
                update = follow.next() => registrar.read(update),
                () = host.clock.sleep(TURN) => {}
            }
            // The lease is kept while it is written under it.
            tokio::select! {
                () = &mut keeping => break,
                () = registrar.turn(&lease) => {}
            }
        }
        registrar.mirror.lost();
        let revoking = std::pin::pin!(lease.revoke());
        if let Either::Left((Err(error), _)) = select(revoking, host.clock.sleep(FAREWELL)).await {
            tracing::debug!(%error, "what was registered ends by itself");
        }
    }
    Ok(())
}

impl Registrar {
    fn read(&mut self, update: Update) {
        self.is_read = true;
        for change in update.changes {
            match change {
                Change::Put(entry) => {
                    self.there.insert(entry.key, entry.mod_revision);
                }
                // Our own write may be known before the deletion of what was there before it.
                Change::Delete { key, revision } => {
                    let known = self.there.get(&key);
                    if known.is_some_and(|known| *known <= revision) {
                        self.there.remove(&key);
                    }
                }
            }
        }
    }

    /// Does what the registry lacks, or has too much.
    async fn turn(&mut self, lease: &Lease) {
        let Some(wanted) = self.wanted().filter(|_| self.is_read) else {
            // What is not known is not denied.
            return;
        };
        let now = self.host.clock.now();
        for step in self.mirror.plan(&wanted, &self.there, now) {
            if let Err(error) = self.take(&step, lease).await {
                tracing::debug!(?step, %error, "the registry could not be changed");
                return;
            }
        }
    }

    async fn take(&mut self, step: &Step, lease: &Lease) -> Result<(), Error> {
        let txn = match step {
            Step::Write(key) => {
                // The value is the service's name, which the key has as well.
                let service = self
                    .registry
                    .parse(key)
                    .map(|registered| registered.service);
                let value = service.unwrap_or_default().into_bytes();
                let write = Write::put_leased(key.clone(), value, lease.id());
                Txn::new().when(Guard::Absent(key.clone())).then(write)
            }
            Step::Delete(key, revision) => Txn::new()
                .when(Guard::ModRevision(key.clone(), *revision))
                .then(Write::delete(key.clone())),
        };
        match (step, self.store.commit(txn).await?) {
            (Step::Write(key), Outcome::Committed(revision)) => {
                tracing::info!(key, "registered for quaestor-mini-cluster");
                self.mirror.wrote(key, revision, self.host.clock.now());
                self.there.insert(key.clone(), revision);
            }
            (Step::Delete(key, _), Outcome::Committed(_)) => {
                tracing::info!(key, "no longer registered for quaestor-mini-cluster");
                self.there.remove(key);
            }
            // Somebody else was first; that will be read.
            (_, Outcome::Conflict) => {}
        }
        Ok(())
    }

    /// The keys of everything that is found here; none before the view is complete.
    fn wanted(&self) -> Option<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        for listed in self.directory.catalogue().ok()? {
            // What is not for everybody is not to be found by everybody.
            let is_open = self
                .directory
                .admit(&listed.name, &Caller::Anonymous)
                .is_ok();
            if listed.exclusive || !is_open {
                continue;
            }
            let Ok(described) = self.directory.describe(&listed.name) else {
                continue;
            };
            let endpoints = described.endpoints();
            // What is found only because it is registered needs no key of ours.
            let own = endpoints.filter(|endpoint| endpoint.node().name().as_str() != NODE);
            keys.extend(own.filter_map(|endpoint| {
                self.registry.of(&Registered {
                    service: listed.name.clone(),
                    endpoint: Endpoint {
                        host: endpoint.host().to_owned(),
                        port: endpoint.port(),
                    },
                    tls: false,
                })
            }));
        }
        Some(keys)
    }
}
