//! Puts the facts of all nodes together and keeps a [`Directory`] up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use super::{
    Directory, Endpoint,
    members::{Candidate, Members},
};
use crate::model::{Instance, InstanceState, LoadReport, Name, NodeLoad, Route, Session};

/// What one key of the store says now; none: the key is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// How a service is found.
    Route(Name, Option<Route>),
    /// What a node says of one of its instances.
    State(Name, Instance, Option<Box<InstanceState>>),
    /// What a node's instances say of their load.
    Load(Name, Option<NodeLoad>),
    /// Whether a node's agent is there.
    Session(Name, Option<Session>),
}

/// The one writer of a [`Directory`].
///
/// A change costs what it touches: a load record stores into atomics; a state, session or route
/// rebuilds the names concerned.
pub struct Index {
    directory: Arc<Directory>,
    /// Whether everything was said once.
    synced: bool,
    /// The names of each published service.
    routes: BTreeMap<Name, BTreeSet<String>>,
    /// The published services of each name.
    services: BTreeMap<String, BTreeSet<Name>>,
    /// The endpoints of each service, by node and slot.
    seats: BTreeMap<Name, BTreeMap<(Name, u32), Seat>>,
    /// The last load record of each node.
    loads: BTreeMap<Name, BTreeMap<Instance, LoadReport>>,
    /// Nodes whose agent is there and has its instances in hand.
    trusted: BTreeSet<Name>,
}

/// An instance with an endpoint.
struct Seat {
    endpoint: Arc<Endpoint>,
    ready: bool,
}

impl Index {
    /// A writer of `directory` that knows nothing yet.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            synced: false,
            routes: BTreeMap::new(),
            services: BTreeMap::new(),
            seats: BTreeMap::new(),
            loads: BTreeMap::new(),
            trusted: BTreeSet::new(),
        }
    }

    /// Takes in `facts` and publishes what follows. The first call is to hold everything that the
    /// store says, and makes the directory answer; later ones only what changed.
    pub fn apply(&mut self, facts: impl IntoIterator<Item = Fact>) {
        let mut names = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for fact in facts {
            match fact {
                Fact::Route(service, route) => names.extend(self.set_route(service, route)),
                Fact::State(node, instance, state) => {
                    let service = instance.service.clone();
                    if self.set_state(node, instance, state) {
                        touched.insert(service);
                    }
                }
                Fact::Load(node, record) => self.set_load(node, record),
                Fact::Session(node, session) => touched.extend(self.set_session(node, session)),
            }
        }
        let routed = touched
            .iter()
            .filter_map(|service| self.routes.get(service));
        names.extend(routed.flatten().cloned());
        self.publish(names);
    }

    fn publish(&mut self, names: BTreeSet<String>) {
        if mem::replace(&mut self.synced, true) {
            let members = |name: String| {
                let members = self.members(&name);
                (name, members)
            };
            self.directory
                .update(names.into_iter().map(members).collect());
        } else {
            let members = |name: &String| Some((name.clone(), self.members(name)?));
            self.directory
                .replace(self.services.keys().filter_map(members).collect());
        }
    }

    /// The members of `name`; none when no published service has it.
    fn members(&self, name: &str) -> Option<Members> {
        let services = self.services.get(name)?;
        let seats = services
            .iter()
            .filter_map(|service| self.seats.get(service))
            .flatten();
        let ready = seats.filter(|(_, seat)| seat.ready);
        let candidates = ready.map(|((node, _), seat)| Candidate {
            endpoint: Arc::clone(&seat.endpoint),
            suspect: !self.trusted.contains(node),
        });
        Some(Members::new(candidates.collect()))
    }

    /// Returns the names that the service had or has.
    fn set_route(&mut self, service: Name, route: Option<Route>) -> BTreeSet<String> {
        let published = route.filter(|route| route.published);
        let names: BTreeSet<String> = published
            .map(|route| route.names.into_iter().collect())
            .unwrap_or_default();
        let former = if names.is_empty() {
            self.routes.remove(&service)
        } else {
            self.routes.insert(service.clone(), names.clone())
        };
        let former = former.unwrap_or_default();
        for name in former.difference(&names) {
            if let Some(services) = self.services.get_mut(name) {
                services.remove(&service);
                if services.is_empty() {
                    self.services.remove(name);
                }
            }
        }
        for name in names.difference(&former) {
            self.services
                .entry(name.clone())
                .or_default()
                .insert(service.clone());
        }
        former.symmetric_difference(&names).cloned().collect()
    }

    /// Returns whether the members of the instance's service changed.
    fn set_state(
        &mut self,
        node: Name,
        instance: Instance,
        state: Option<Box<InstanceState>>,
    ) -> bool {
        let load = self.loads.get(&node).and_then(|loads| loads.get(&instance));
        let seats = self.seats.entry(instance.service.clone()).or_default();
        let seat = (node, instance.slot);
        let now = state.and_then(|state| Some((state.endpoint?, state.ready)));
        let Some((place, ready)) = now else {
            let former = seats.remove(&seat);
            if seats.is_empty() {
                self.seats.remove(&instance.service);
            }
            return former.is_some_and(|former| former.ready);
        };
        if let Some(seat) = seats.get_mut(&seat)
            && (seat.endpoint.host(), seat.endpoint.port()) == (place.host.as_str(), place.port)
        {
            return mem::replace(&mut seat.ready, ready) != ready;
        }
        let endpoint = Arc::new(Endpoint::new(place.host, place.port));
        endpoint.set_load(load);
        let former = seats.insert(seat, Seat { endpoint, ready });
        ready || former.is_some_and(|former| former.ready)
    }

    /// Members stay as they are: only atomics change.
    fn set_load(&mut self, node: Name, record: Option<NodeLoad>) {
        let now = record.map(|record| record.instances).unwrap_or_default();
        let former = self.loads.remove(&node).unwrap_or_default();
        let ended = former.keys().filter(|instance| !now.contains_key(instance));
        let current = now
            .iter()
            .map(|(instance, report)| (instance, Some(report)));
        for (instance, report) in ended.map(|instance| (instance, None)).chain(current) {
            let seats = self.seats.get(&instance.service);
            if let Some(seat) = seats.and_then(|seats| seats.get(&(node.clone(), instance.slot))) {
                seat.endpoint.set_load(report);
            }
        }
        if !now.is_empty() {
            self.loads.insert(node, now);
        }
    }

    /// Returns the services with endpoints on the node, if it became suspect or ceased to be.
    fn set_session(&mut self, node: Name, session: Option<Session>) -> Vec<Name> {
        let changed = if session.is_some_and(|session| session.reconciled) {
            self.trusted.insert(node.clone())
        } else {
            self.trusted.remove(&node)
        };
        if !changed {
            return Vec::new();
        }
        let on_node = |seats: &BTreeMap<(Name, u32), Seat>| {
            let all = (node.clone(), 0)..=(node.clone(), u32::MAX);
            seats.range(all).next().is_some()
        };
        let services = self.seats.iter().filter(|(_, seats)| on_node(seats));
        services.map(|(service, _)| service.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
