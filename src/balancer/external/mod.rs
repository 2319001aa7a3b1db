//! Services that somebody else runs, asked by the balancer itself how they are: no agent does it.
//!
//! - [`Inspector`]: asks all endpoints and tells what came back as facts, as if a node had written them
//! - `seat`: one endpoint
//! - [`Manifests`]: which services there are, by files
//! - [`alone`]: a balancer without a store

pub mod alone;
mod files;
mod seat;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use crate::{
    host::Host,
    model::{
        Instance, Moment, Name, Route, Session,
        name::InvalidName,
        service::{BalanceSpec, HealthSpec, LoadSpec},
        state::Endpoint,
    },
    task::Failure,
    view::Fact,
};

pub use files::{Manifests, Refusal};
use seat::{Answer, Seat};

/// A service that is to be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The names under which clients find it, not empty.
    pub names: Vec<String>,
    /// The names that its health and load are asked by.
    pub asked_names: Vec<String>,
    /// Whether clients find it at all.
    pub published: bool,
    /// How to choose among its endpoints.
    pub balance: BalanceSpec,
    /// How an endpoint is known to be healthy.
    pub health: HealthSpec,
    /// How it is known to be busy.
    pub load: LoadSpec,
    /// Where it is.
    pub endpoints: BTreeSet<Endpoint>,
}

/// Asks the endpoints of any number of services over and over, and says what is new as facts of a node that
/// there is not.
pub(super) struct Inspector {
    node: Name,
    host: Host,
    services: BTreeMap<Name, Service>,
    /// By the number that an endpoint got when it became known; none is given twice.
    seats: BTreeMap<u64, Seat>,
    last_seat: u64,
    /// When which endpoint has to be looked at.
    due: BTreeSet<(Moment, u64)>,
    asking: FuturesUnordered<BoxFuture<'static, (u64, Answer)>>,
    facts: Vec<Fact>,
}

struct Service {
    wanted: Wanted,
    seats: BTreeMap<Endpoint, u64>,
}

impl Inspector {
    /// One that knows no services; what it says, it says as `node`.
    ///
    /// # Errors
    /// When no node can have that name.
    pub(super) fn new(node: &str, host: Host) -> Result<Self, Failure> {
        let node: Name = node.parse().map_err(|error: InvalidName| Failure {
            task: "balancer".to_owned(),
            cause: error.to_string(),
        })?;
        let session = Session {
            uuid: String::new(),
            node_uuid: String::new(),
            address: String::new(),
            agent_address: None,
            labels: BTreeMap::new(),
            capacity: Default::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: host.clock.timestamp(),
            reconciled: true,
            seen_revision: 0,
            fell_from: 0,
        };
        Ok(Self {
            facts: vec![Fact::Session(node.clone(), Some(session))],
            node,
            host,
            services: BTreeMap::new(),
            seats: BTreeMap::new(),
            last_seat: 0,
            due: BTreeSet::new(),
            asking: FuturesUnordered::new(),
        })
    }

    /// Goes by `wanted` from now on. An endpoint that stays is not asked anew, and stays what it is known to be.
    pub(super) fn want(&mut self, wanted: BTreeMap<Name, Wanted>, now: Moment) {
        let is_gone = |name: &&Name| !wanted.contains_key(*name);
        let gone: Vec<Name> = self.services.keys().filter(is_gone).cloned().collect();
        for name in gone {
            if let Some(service) = self.services.remove(&name) {
                service.seats.values().for_each(|seat| self.leave(*seat));
                self.facts.push(Fact::Route(name, None));
            }
        }
        for (name, wanted) in wanted {
            self.want_service(name, wanted, now);
        }
    }

    fn want_service(&mut self, name: Name, wanted: Wanted, now: Moment) {
        let before = self.services.remove(&name);
        let (former, mut seats) = match before {
            Some(Service { wanted, seats }) => (Some(wanted), seats),
            None => (None, BTreeMap::new()),
        };
        let same = |part: fn(&Wanted) -> (&Vec<String>, &HealthSpec, &LoadSpec)| {
            former.as_ref().map(part) == Some(part(&wanted))
        };
        let asked_alike = same(|wanted| (&wanted.asked_names, &wanted.health, &wanted.load));
        self.facts.push(Fact::Route(
            name.clone(),
            Some(Route {
                service: name.clone(),
                names: wanted.names.clone(),
                published: wanted.published,
                balance: wanted.balance.clone(),
                generation: 1,
            }),
        ));
        seats.retain(|endpoint, seat| {
            let stays = wanted.endpoints.contains(endpoint);
            if !stays {
                self.leave(*seat);
            }
            stays
        });
        for seat in seats.values().filter(|_| !asked_alike) {
            self.due.insert((now, *seat));
            if let Some(seat) = self.seats.get_mut(seat) {
                seat.ask_otherwise(&wanted, now);
                self.facts.extend(seat.facts(&self.node, &wanted));
            }
        }
        let slots = seats.values().filter_map(|seat| self.seats.get(seat));
        let taken: BTreeSet<u32> = slots.map(Seat::slot).collect();
        let mut free = (0..).filter(|slot| !taken.contains(slot));
        for endpoint in &wanted.endpoints {
            if seats.contains_key(endpoint) {
                continue;
            }
            let Some(slot) = free.next() else { break };
            self.last_seat += 1;
            let instance = Instance::new(name.clone(), slot);
            let seat = Seat::new(instance, endpoint.clone(), &wanted, now);
            self.facts.extend(seat.facts(&self.node, &wanted));
            self.seats.insert(self.last_seat, seat);
            self.due.insert((now, self.last_seat));
            seats.insert(endpoint.clone(), self.last_seat);
        }
        self.services.insert(name, Service { wanted, seats });
    }

    fn leave(&mut self, number: u64) {
        if let Some(seat) = self.seats.remove(&number) {
            let instance = seat.instance().clone();
            self.facts
                .push(Fact::State(self.node.clone(), instance, None));
        }
    }

    /// Asks what is due at `now`. Returns when the next is.
    pub(super) fn ask(&mut self, now: Moment) -> Option<Moment> {
        while let Some((moment, number)) = self.due.first().copied() {
            if moment > now {
                return Some(moment);
            }
            self.due.pop_first();
            self.look(number, now);
        }
        None
    }

    fn look(&mut self, number: u64, now: Moment) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let Some(service) = self.services.get(&seat.instance().service) else {
            return;
        };
        let (questions, next) = seat.ask(&service.wanted, &self.host, now);
        for question in questions {
            self.asking
                .push(Box::pin(async move { (number, question.await) }));
        }
        // One look ahead for each: what is due earlier is looked at anew when an answer comes.
        if let Some(former) = seat.next_look.take() {
            self.due.remove(&(former, number));
        }
        if let Some(next) = next {
            seat.next_look = Some(next);
            self.due.insert((next, number));
        }
    }

    /// Takes in the next answer, once there is one. Cancel-safe.
    pub(super) async fn answer(&mut self) {
        let Some((number, answer)) = self.asking.next().await else {
            return std::future::pending().await;
        };
        let now = self.host.clock.now();
        // That of one who has left meanwhile says nothing.
        if let Some(seat) = self.seats.get_mut(&number)
            && let Some(service) = self.services.get(&seat.instance().service)
        {
            self.facts
                .extend(seat.take(answer, &self.node, &service.wanted, now));
            self.look(number, now);
        }
    }

    /// Whether every endpoint was asked once, so that what is known is not merely what was heard first.
    pub(super) fn is_complete(&self) -> bool {
        self.seats.values().all(|seat| {
            let service = self.services.get(&seat.instance().service);
            service.is_none_or(|service| seat.is_known(&service.wanted))
        })
    }

    /// What is new since it was last asked for.
    pub(super) fn facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }
}
