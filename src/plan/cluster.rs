//! The observed world: what the store says, typed and indexed, kept up to date change by change.
//!
//! A value that cannot be read does not replace the last one that could: it is remembered as a
//! problem beside it.
//!
//! - `restores`: that the store fell back in time, and whether an operator has said that it counts

mod restores;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    keys::Key,
    model::{
        Assignment, ClusterSpec, ClusterStatus, Desired, Instance, InstanceState, Moment, Name,
        Revision, Route, Run, ServiceObject, ServiceStatus, Timestamp, Tombstone, manifest,
        service::Requests,
    },
};

use super::{
    absence::{GRACE, Tally},
    conditions,
    lineage::{Progress, Templates},
    node::Node,
    scope::Scope,
    stored::{Stored, set},
};

/// Everything the leader decides on.
#[derive(Clone, Debug)]
pub struct Cluster {
    services: BTreeMap<Name, Service>,
    nodes: BTreeMap<Name, Node>,
    /// How many nodes there are, and are away.
    tally: Tally,
    /// What an operator has said of the whole.
    pub spec: Option<Stored<ClusterSpec>>,
    /// What is reported of the whole.
    pub status: Option<Stored<ClusterStatus>>,
    /// Which controller this is, and since when it leads.
    leader: (String, Timestamp),
    /// How long a node has to be away before its instances are replaced, where its services do not say.
    grace: Duration,
    /// The time that decisions are made at.
    now: Moment,
    /// The highest revision that the store is known to have had, where it has fallen since.
    fallen_from: i64,
    /// Services with an instance that found no node or no port: whatever frees a port may help them.
    hindered: BTreeSet<Name>,
    touched: Scope,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new("nobody".to_owned(), Timestamp::from_millis(0), GRACE)
    }
}

/// Everything about one service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// What is wanted.
    pub spec: Option<Stored<ServiceObject>>,
    /// That it was deleted.
    pub tombstone: Option<Stored<Tombstone>>,
    /// Its instances, by slot and node. By rights a slot has one node.
    pub seats: BTreeMap<(u32, Name), Seat>,
    /// What balancers are told.
    pub route: Option<Stored<Route>>,
    /// What is reported.
    pub status: Option<Stored<ServiceStatus>>,
    /// The templates that it once had, by their hash.
    pub revisions: BTreeMap<String, Stored<Revision>>,
    /// What instances are made from, where that is not the manifest.
    pub templates: Templates,
    /// When its rollout last got further.
    pub progress: Option<Progress>,
}

/// One instance on one node: what is asked of the node, and what the node says.
#[derive(Clone, Debug, Default)]
pub struct Seat {
    /// What is asked. None: the instance is an orphan.
    pub assignment: Option<Stored<Assignment>>,
    /// What is observed. None: nothing was started yet, or it has been stopped.
    pub state: Option<Stored<InstanceState>>,
}

/// What the operator wants of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish<'a> {
    /// It is to run like this.
    Run(&'a ServiceObject),
    /// It was deleted.
    Delete(&'a Tombstone),
    /// There is a spec, but it could not be read, and no earlier one is known.
    Unreadable(&'a str),
    /// The spec is gone without a deletion.
    Vanished,
}

impl Service {
    /// What the operator wants of it. A spec counts more than a record of its deletion.
    pub fn wish(&self) -> Wish<'_> {
        let tombstone = self.tombstone.as_ref().and_then(|t| t.value.as_ref());
        match (&self.spec, tombstone) {
            (Some(spec), _) => match &spec.value {
                Some(object) => Wish::Run(self.templates.fallback().unwrap_or(object)),
                None => Wish::Unreadable(spec.problem.as_deref().unwrap_or_default()),
            },
            (None, Some(tombstone)) => Wish::Delete(tombstone),
            (None, None) => Wish::Vanished,
        }
    }

    fn is_empty(&self) -> bool {
        self.spec.is_none()
            && self.tombstone.is_none()
            && self.seats.is_empty()
            && self.route.is_none()
            && self.status.is_none()
            && self.revisions.is_empty()
    }
}

impl Seat {
    /// What is asked, where it can be read.
    pub fn asked(&self) -> Option<&Assignment> {
        self.assignment.as_ref()?.value.as_ref()
    }

    /// What is observed, where it can be read.
    pub fn observed(&self) -> Option<&InstanceState> {
        self.state.as_ref()?.value.as_ref()
    }

    /// What it takes of its node's capacity: until it has stopped.
    pub fn requests(&self) -> Option<Requests> {
        let asked = self.asked()?;
        let takes = asked.desired == Desired::Present || self.state.is_some();
        takes.then_some(asked.requests)
    }

    /// The port numbers of its node that it holds, or held when its state was written.
    pub fn numbers(&self) -> BTreeSet<u16> {
        let asked = self.asked();
        if matches!(asked.map(|a| &a.run), Some(Run::External { .. })) {
            return BTreeSet::new();
        }
        let assigned = asked.into_iter().flat_map(|a| &a.ports);
        let bound = self.observed().into_iter().flat_map(|s| s.ports.values());
        assigned
            .filter_map(|port| port.number)
            .chain(bound.copied())
            .collect()
    }
}

impl Cluster {
    /// A cluster of which nothing is known yet, as the controller called `leader` sees it from `since` on.
    pub fn new(leader: String, since: Timestamp, grace: Duration) -> Self {
        Self {
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
            tally: Tally::default(),
            spec: None,
            status: None,
            leader: (leader, since),
            grace,
            now: Moment::default(),
            fallen_from: 0,
            hindered: BTreeSet::new(),
            touched: Scope::default(),
        }
    }

    /// The controller that sees it so, and since when.
    pub fn leader(&self) -> (&str, Timestamp) {
        (&self.leader.0, self.leader.1)
    }

    /// How long a node has to be away, where its services do not say.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// The time that decisions are made at.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// How many nodes there are, and are away.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// It is `now`: what follows from the time that has passed is to be planned.
    pub fn advance(&mut self, now: Moment) {
        if now <= self.now {
            return;
        }
        if self.next_deadline().is_some_and(|due| due <= now) {
            self.touched.add_everything();
        }
        self.now = now;
    }

    /// All services of which anything is known.
    pub fn services(&self) -> &BTreeMap<Name, Service> {
        &self.services
    }

    /// All nodes of which anything is known.
    pub fn nodes(&self) -> &BTreeMap<Name, Node> {
        &self.nodes
    }

    /// Whether `node` has a session.
    pub fn is_live(&self, node: &Name) -> bool {
        self.nodes.get(node).is_some_and(|n| n.live().is_some())
    }

    /// Whether `service` has a spec.
    pub fn exists(&self, service: &Name) -> bool {
        let service = self.services.get(service);
        service.is_some_and(|service| service.spec.is_some())
    }

    /// Whether `service` has a ready instance on a node with a session: those that come after it may start.
    pub fn serves(&self, service: &Name) -> bool {
        let service = self.services.get(service);
        let mut seats = service.into_iter().flat_map(|service| &service.seats);
        seats.any(|((_, node), seat)| {
            seat.observed().is_some_and(|state| state.ready) && self.is_live(node)
        })
    }

    /// What the changes since the last call make it necessary to plan again.
    pub fn take_touched(&mut self) -> Scope {
        std::mem::take(&mut self.touched)
    }

    /// `key` was set to `value` at `revision`.
    pub fn put(&mut self, key: &Key, value: &[u8], revision: i64) {
        self.change(key, Some((value, revision)));
    }

    /// `key` was deleted.
    pub fn delete(&mut self, key: &Key) {
        self.change(key, None);
    }

    fn change(&mut self, key: &Key, entry: Option<(&[u8], i64)>) {
        let name = match key {
            Key::ServiceSpec(name) => Some(name),
            Key::State(_, instance) => Some(&instance.service),
            _ => None,
        };
        let served = name.map(|name| (self.exists(name), self.serves(name)));
        self.set(key, entry);
        if let Some(name) = name
            && served != Some((self.exists(name), self.serves(name)))
        {
            self.touch_followers(name);
        }
    }

    /// Services that come after `name` may start now.
    fn touch_followers(&mut self, name: &Name) {
        let followers = self.services.iter().filter(|(_, service)| {
            let spec = service.spec.as_ref().and_then(|spec| spec.value.as_ref());
            spec.is_some_and(|object| object.spec.after.contains(name))
        });
        let followers: Vec<Name> = followers.map(|(name, _)| name.clone()).collect();
        self.touched.add_services(followers);
    }

    fn set(&mut self, key: &Key, entry: Option<(&[u8], i64)>) {
        match key {
            Key::ServiceSpec(name) => self.change_service(name, |service| {
                set(&mut service.spec, entry, |object: &ServiceObject| {
                    if object.metadata.name != *name {
                        return Err(format!("it is the spec of `{}`", object.metadata.name));
                    }
                    sound(object)
                });
            }),
            Key::Tombstone(name) => {
                self.change_service(name, |service| {
                    set(&mut service.tombstone, entry, |_| Ok(()));
                });
            }
            Key::Route(name) => {
                self.change_service(name, |service| {
                    set(&mut service.route, entry, |_| Ok(()));
                });
            }
            Key::Revision(name, hash) => self.change_service(name, |service| {
                let mut slot = service.revisions.remove(hash);
                set(&mut slot, entry, |_| Ok(()));
                service
                    .revisions
                    .extend(slot.map(|stored| (hash.clone(), stored)));
            }),
            Key::ServiceStatus(name) => {
                let now = self.now;
                self.change_service(name, |service| {
                    set(&mut service.status, entry, |_| Ok(()));
                    let status = service.status.as_ref().and_then(|s| s.value.as_ref());
                    let before = service.progress.take();
                    service.progress = status.map(|s| Progress::after(before, s, now));
                });
                self.note_hindrance(name);
            }
            Key::Assignment(node, instance) => self.change_seat(node, instance, |seat| {
                set(&mut seat.assignment, entry, |a: &Assignment| {
                    same("instance", &a.instance, instance)
                });
            }),
            Key::State(node, instance) => self.change_seat(node, instance, |seat| {
                set(&mut seat.state, entry, |s: &InstanceState| {
                    same("instance", &s.instance, instance)
                        .and_then(|()| same("node", &s.node, node))
                });
            }),
            Key::Session(name) => {
                self.change_node(name, |node| set(&mut node.session, entry, |_| Ok(())));
                self.look_back(name);
                // Any service may run on a node that came, or have an instance on one that went.
                self.touched.add_everything();
            }
            Key::NodeSpec(name) => {
                self.change_node(name, |node| set(&mut node.spec, entry, |_| Ok(())));
                self.touched.add_everything();
            }
            Key::NodeStatus(name) => {
                self.change_node(name, |node| set(&mut node.status, entry, |_| Ok(())));
            }
            Key::Load(name) => self.take_load(name, entry),
            Key::ClusterSpec => {
                set(&mut self.spec, entry, |_| Ok(()));
                self.touched.add_everything();
            }
            Key::ClusterStatus => {
                set(&mut self.status, entry, |_| Ok(()));
                self.touched.add_cluster();
            }
            Key::Leader
            | Key::Identity
            | Key::Balancer(_)
            | Key::Authorship(_)
            | Key::Event(..) => {}
        }
    }

    fn change_service(&mut self, name: &Name, change: impl FnOnce(&mut Service)) {
        let service = self.services.entry(name.clone()).or_default();
        change(service);
        service.templates = Templates::of(service);
        if service.is_empty() {
            self.services.remove(name);
        }
        self.touched.add_services([name.clone()]);
    }

    fn change_node(&mut self, name: &Name, change: impl FnOnce(&mut Node)) {
        let before = self.tally;
        let node = self.nodes.entry(name.clone()).or_default();
        self.tally.count(node, false);
        let (was_away, was_live) = (node.is_away(), node.session.is_some());
        change(node);
        node.relabel();
        if (was_away, was_live) != (node.is_away(), node.session.is_some()) {
            node.since = self.now;
        }
        self.tally.count(node, true);
        if node.is_empty() {
            self.nodes.remove(name);
        }
        self.touched.add_node(name.clone());
        if before != self.tally {
            self.touched.add_everything();
        }
    }

    /// Keeps a load record. Only the first one of a node is news: it says what those work on that run elsewhere
    /// as well.
    fn take_load(&mut self, name: &Name, entry: Option<(&[u8], i64)>) {
        let node = self.nodes.entry(name.clone()).or_default();
        let is_first = node.load.is_none();
        node.load = entry.map(|(bytes, _)| bytes.to_vec());
        if is_first {
            let services = node
                .assigned
                .iter()
                .map(|instance| instance.service.clone());
            self.touched.add_services(services.collect::<Vec<_>>());
        }
        if node.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// Changes a seat, and with it the indexes of its node.
    fn change_seat(&mut self, name: &Name, instance: &Instance, change: impl FnOnce(&mut Seat)) {
        let service = self.services.entry(instance.service.clone()).or_default();
        let place = (instance.slot, name.clone());
        let seat = service.seats.entry(place.clone()).or_default();
        let (held, took) = (seat.numbers(), seat.requests());
        let was_assigned = seat.assignment.is_some();
        change(seat);
        let (holds, takes) = (seat.numbers(), seat.requests());
        let is_assigned = seat.assignment.is_some();
        if seat.assignment.is_none() && seat.state.is_none() {
            service.seats.remove(&place);
        }
        if service.is_empty() {
            self.services.remove(&instance.service);
        }
        self.touched.add_services([instance.service.clone()]);
        if held == holds && took == takes && was_assigned == is_assigned {
            return;
        }
        self.touched.add_services(self.hindered.iter().cloned());
        self.change_node(name, |node| {
            for number in held.difference(&holds) {
                if let Some(holders) = node.ports.get_mut(number) {
                    holders.remove(instance);
                    if holders.is_empty() {
                        node.ports.remove(number);
                    }
                }
            }
            for number in holds.difference(&held) {
                let holders = node.ports.entry(*number).or_default();
                holders.insert(instance.clone());
            }
            if is_assigned {
                node.assigned.insert(instance.clone());
            } else {
                node.assigned.remove(instance);
            }
        });
    }

    fn note_hindrance(&mut self, name: &Name) {
        let service = self.services.get(name);
        let status = service.and_then(|service| service.status.as_ref()?.value.as_ref());
        if status.is_some_and(|status| conditions::is_hindered(&status.conditions)) {
            self.hindered.insert(name.clone());
        } else {
            self.hindered.remove(name);
        }
    }
}

/// A spec that anybody may have written into the store must pass what `apply` checks.
fn sound(object: &ServiceObject) -> Result<(), String> {
    let problems = manifest::check(&object.metadata, &object.spec);
    if problems.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(texts.join("; "))
}

/// A value must be about what its key says.
fn same<T: PartialEq + std::fmt::Display>(what: &str, value: &T, key: &T) -> Result<(), String> {
    if value == key {
        Ok(())
    } else {
        Err(format!("its {what} is `{value}`"))
    }
}
