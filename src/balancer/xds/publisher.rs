//! Keeps the assignments of those services current that somebody subscribes to. A change of who serves is told
//! at once; loads are looked at a few times a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};

use super::{Assigned, Shared, lock, place};
use crate::{
    model::{Moment, service::Weighing},
    plan::xds::{Addresses, Candidate, Found, Part, Seat, Weights, is_name},
    view::{Described, Directory, Endpoint, Share},
};

/// How often loads are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long looking up a host may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The loop, before it runs.
pub struct Publisher {
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    services: BTreeMap<Arc<str>, Service>,
    addresses: Addresses,
    /// Host names that are being looked up.
    questions: FuturesUnordered<BoxFuture<'static, (String, io::Result<Vec<IpAddr>>)>>,
    /// The version given last.
    version: u64,
}

/// One that is subscribed to.
#[derive(Default)]
struct Service {
    /// What the view said last.
    said: Said,
    weights: Weights,
    /// Whether it was said that it is given out by tickets only.
    is_refused: bool,
}

/// What the view says of a name.
#[derive(Default)]
struct Said {
    /// None: there is no such service.
    described: Option<Described>,
    /// Those that clients are being sent away from.
    leaving: Vec<Arc<Endpoint>>,
}

impl Said {
    /// Whether nothing but loads is different.
    fn is_same(&self, other: &Self) -> bool {
        let is_same = match (&self.described, &other.described) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        };
        let leaving = self.leaving.iter().zip(&other.leaving);
        is_same
            && self.leaving.len() == other.leaving.len()
            && leaving
                .into_iter()
                .all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The endpoints that take calls. None where they are given out by tickets only.
    fn shares(&self) -> Vec<Share> {
        let described = self.described.as_ref();
        let described = described.filter(|described| !described.is_exclusive());
        described.map(Described::shares).unwrap_or_default()
    }
}

impl Publisher {
    pub(super) fn new(directory: Arc<Directory>, shared: Arc<Shared>) -> Self {
        Self {
            directory,
            shared,
            services: BTreeMap::new(),
            addresses: Addresses::default(),
            questions: FuturesUnordered::new(),
            version: 0,
        }
    }

    /// Runs for good.
    pub async fn run(mut self) -> Infallible {
        let shared = Arc::clone(&self.shared);
        self.directory.synced().await;
        let mut look_at = shared.host.clock.now();
        loop {
            // Asked for before the look: a change between the two is seen next time.
            let changed = self.directory.changed();
            let now = shared.host.clock.now();
            let is_due = now >= look_at;
            if is_due {
                look_at = now + LOOK;
            }
            self.publish(now, is_due);
            let is_idle = self.services.is_empty();
            let look = async {
                match is_idle {
                    true => std::future::pending().await,
                    false => shared.host.clock.sleep_until(look_at).await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = shared.changed.notified() => {}
                () = look => {}
                Some((host, answer)) = self.questions.next() => self.found(&host, answer),
            }
        }
    }

    /// Brings everything in line with the view. Unless `all`, loads are not looked at.
    fn publish(&mut self, now: Moment, all: bool) {
        let wanted: Vec<Arc<str>> = lock(&self.shared.demand).names().cloned().collect();
        let leaving = self.directory.leaving();
        let mut leavers: BTreeMap<&str, Vec<Arc<Endpoint>>> = BTreeMap::new();
        for leaver in leaving.values() {
            for name in &leaver.names {
                let endpoint = Arc::clone(&leaver.endpoint);
                leavers.entry(name).or_default().push(endpoint);
            }
        }
        let mut current = Vec::new();
        let mut hosts = BTreeSet::new();
        for name in wanted {
            let said = Said {
                // It was read before this began.
                described: self.directory.describe(&name).ok(),
                leaving: leavers.remove(&*name).unwrap_or_default(),
            };
            let shares = said.shares();
            let endpoints = shares.iter().map(|share| &share.endpoint);
            let names = endpoints
                .chain(&said.leaving)
                .map(|endpoint| endpoint.host());
            hosts.extend(names.filter(|host| is_name(host)).map(str::to_owned));
            current.push((name, said, shares));
        }
        self.addresses.keep(&hosts);
        let mut published = self.shared.published.borrow().clone();
        let mut services = BTreeMap::new();
        for (name, said, shares) in current {
            let service = self.services.remove(&name);
            let is_new = service.is_none();
            let mut service = service.unwrap_or_default();
            let assigned = published.get(&name);
            let is_pending = |share: &Share| self.addresses.is_pending(share.endpoint.host());
            if assigned.is_none() && shares.iter().any(is_pending) {
                // The first word must not be that there are fewer than there are: clients would go by it.
            } else if is_new || all || !service.said.is_same(&said) {
                let told = service.turn(&name, said, shares, &self.addresses, assigned, now);
                if let Some((weighing, seats)) = told {
                    self.version += 1;
                    let assigned = Assigned::new(self.version, weighing, seats);
                    let all = Arc::make_mut(&mut published.0);
                    all.insert(Arc::clone(&name), Arc::new(assigned));
                }
            }
            services.insert(name, service);
        }
        for name in self.services.keys() {
            Arc::make_mut(&mut published.0).remove(name);
        }
        self.services = services;
        self.shared.published.send_if_modified(|before| {
            let is_new = !Arc::ptr_eq(&before.0, &published.0);
            *before = published;
            is_new
        });
        for name in self.addresses.ask(now) {
            let host = &self.shared.host;
            let asking = select(host.network.resolve(&name), host.clock.sleep(PATIENCE));
            self.questions.push(Box::pin(async {
                match asking.await {
                    Either::Left((answer, _)) => (name, answer),
                    Either::Right(_) => (name, Err(io::ErrorKind::TimedOut.into())),
                }
            }));
        }
    }

    /// Takes in where a host name leads.
    fn found(&mut self, host: &str, answer: io::Result<Vec<IpAddr>>) {
        let now = self.shared.host.clock.now();
        let addresses = answer.as_deref().ok();
        match self.addresses.found(host, addresses, now) {
            Found::Changed => self.publish(now, true),
            Found::Failure => {
                let cause = answer.err().map(|error| error.to_string());
                let last = self.addresses.get(host);
                tracing::warn!(
                    host,
                    cause,
                    ?last,
                    "a host cannot be looked up for xDS clients; they keep its last address"
                );
                self.publish(now, true);
            }
            Found::Same => {}
        }
    }
}

impl Service {
    /// What clients are to be told, if anything.
    fn turn(
        &mut self,
        name: &str,
        said: Said,
        shares: Vec<Share>,
        addresses: &Addresses,
        assigned: Option<&Arc<Assigned>>,
        now: Moment,
    ) -> Option<(Weighing, Vec<Seat>)> {
        let described = said.described.as_ref();
        let weighing = described.map(Described::weighing).unwrap_or_default();
        let is_exclusive = described.is_some_and(Described::is_exclusive);
        if is_exclusive && !self.is_refused {
            tracing::warn!(
                service = name,
                "xDS clients ask for a service that is given out by tickets only; they are told of no endpoints"
            );
        }
        self.is_refused = is_exclusive;
        let candidate = |endpoint: &Endpoint, is_reserve, part| {
            let (host, port) = (endpoint.host(), endpoint.port());
            Some(Candidate {
                place: place(host, port).into(),
                address: SocketAddr::new(addresses.get(host)?, port),
                is_reserve,
                part,
            })
        };
        let share = |share: Share| {
            let part = match (weighing, share.weight) {
                (Weighing::Orca, _) => Part::Fixed(1),
                (Weighing::Server, Some(weight)) => Part::Fixed(weight),
                (Weighing::Server, None) => Part::Load(share.load),
            };
            candidate(&share.endpoint, share.is_reserve, part)
        };
        let leaving = said.leaving.iter().filter(|_| !is_exclusive);
        let leaving = leaving.filter_map(|endpoint| candidate(endpoint, false, Part::Leaving));
        let candidates = shares.into_iter().filter_map(share).chain(leaving);
        let seats = self.weights.turn(candidates.collect(), now);
        self.said = said;
        match (seats, assigned) {
            (Some(seats), _) => Some((weighing, seats)),
            // Only how they are told.
            (None, Some(assigned)) if assigned.weighing != weighing => {
                Some((weighing, assigned.seats.clone()))
            }
            (None, _) => None,
        }
    }
}
