//! The observed world: what the store says, typed and indexed, kept up to date change by change.
//!
//! A value that cannot be read does not replace the last one that could: it is remembered as a
//! problem beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::{
    keys::Key,
    model::{
        Assignment, Instance, InstanceState, Moment, Name, NodeStatus, Revision, Route, Run,
        ServiceObject, ServiceStatus, Session, Tombstone, manifest,
    },
};

use super::{
    conditions,
    lineage::{Progress, Templates},
};

/// Everything the leader decides on.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    now: Moment,
    services: BTreeMap<Name, Service>,
    nodes: BTreeMap<Name, Node>,
    /// Services with an instance that found no node or no port: whatever frees a port may help them.
    hindered: BTreeSet<Name>,
    touched: Scope,
}

/// A key of the store: the last value that could be read, and what is wrong with a later one.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// None when no value could be read since the key was seen first.
    pub value: Option<T>,
    /// The mod-revision of the key, whether its value could be read or not.
    pub revision: i64,
    /// Why the value at that revision could not be read.
    pub problem: Option<String>,
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

/// Everything about one node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The presence of its agent.
    pub session: Option<Stored<Session>>,
    /// What is reported.
    pub status: Option<Stored<NodeStatus>>,
    /// The instances assigned to it, those that are to stop included.
    pub assigned: BTreeSet<Instance>,
    /// Who holds which port number, by assignment or by state.
    pub ports: BTreeMap<u16, BTreeSet<Instance>>,
}

/// What has to be planned again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    everything: bool,
    services: BTreeSet<Name>,
    nodes: BTreeSet<Name>,
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

impl Scope {
    /// Everything there is.
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// Whether nothing has to be planned.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.services.is_empty() && self.nodes.is_empty()
    }

    /// Adds a service.
    pub fn add(&mut self, service: Name) {
        self.services.insert(service);
    }

    /// Adds what `other` holds.
    pub fn extend(&mut self, other: Self) {
        self.everything |= other.everything;
        self.services.extend(other.services);
        self.nodes.extend(other.nodes);
    }

    /// The services in it, in the order of their names.
    pub fn services<'a>(&'a self, cluster: &'a Cluster) -> Vec<(&'a Name, &'a Service)> {
        select(self.everything, &self.services, &cluster.services)
    }

    /// The nodes in it, in the order of their names.
    pub fn nodes<'a>(&'a self, cluster: &'a Cluster) -> Vec<(&'a Name, &'a Node)> {
        select(self.everything, &self.nodes, &cluster.nodes)
    }
}

fn select<'a, T>(
    everything: bool,
    names: &BTreeSet<Name>,
    all: &'a BTreeMap<Name, T>,
) -> Vec<(&'a Name, &'a T)> {
    if everything {
        all.iter().collect()
    } else {
        names
            .iter()
            .filter_map(|name| all.get_key_value(name))
            .collect()
    }
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

impl Node {
    /// Its session, while its agent is present and what it says of itself can be read.
    pub fn live(&self) -> Option<&Session> {
        self.session.as_ref()?.value.as_ref()
    }

    fn is_empty(&self) -> bool {
        self.session.is_none()
            && self.status.is_none()
            && self.assigned.is_empty()
            && self.ports.is_empty()
    }
}

impl Cluster {
    /// What is put from now on is seen at `now`, and plans are made at that time.
    pub fn set_now(&mut self, now: Moment) {
        self.now = now;
    }

    /// The time at which plans are made.
    pub fn now(&self) -> Moment {
        self.now
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
        self.touched.services.extend(followers);
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
                // Any service may run on a node that came, or have an instance on one that went.
                self.touched.everything = true;
            }
            Key::NodeStatus(name) => {
                self.change_node(name, |node| set(&mut node.status, entry, |_| Ok(())));
            }
            Key::Load(_) | Key::Leader | Key::Identity | Key::Balancer(_) => {}
        }
    }

    fn change_service(&mut self, name: &Name, change: impl FnOnce(&mut Service)) {
        let service = self.services.entry(name.clone()).or_default();
        change(service);
        service.templates = Templates::of(service);
        if service.is_empty() {
            self.services.remove(name);
        }
        self.touched.services.insert(name.clone());
    }

    fn change_node(&mut self, name: &Name, change: impl FnOnce(&mut Node)) {
        let node = self.nodes.entry(name.clone()).or_default();
        change(node);
        if node.is_empty() {
            self.nodes.remove(name);
        }
        self.touched.nodes.insert(name.clone());
    }

    /// Changes a seat, and with it the indexes of its node.
    fn change_seat(&mut self, name: &Name, instance: &Instance, change: impl FnOnce(&mut Seat)) {
        let service = self.services.entry(instance.service.clone()).or_default();
        let place = (instance.slot, name.clone());
        let seat = service.seats.entry(place.clone()).or_default();
        let (held, was_assigned) = (seat.numbers(), seat.assignment.is_some());
        change(seat);
        let (holds, is_assigned) = (seat.numbers(), seat.assignment.is_some());
        if seat.assignment.is_none() && seat.state.is_none() {
            service.seats.remove(&place);
        }
        if service.is_empty() {
            self.services.remove(&instance.service);
        }
        self.touched.services.insert(instance.service.clone());
        if held == holds && was_assigned == is_assigned {
            return;
        }
        self.touched.services.extend(self.hindered.iter().cloned());
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

/// Takes in what a key holds now. What cannot be read, or is refused, leaves the last value in force.
fn set<T: DeserializeOwned>(
    slot: &mut Option<Stored<T>>,
    entry: Option<(&[u8], i64)>,
    accept: impl FnOnce(&T) -> Result<(), String>,
) {
    let Some((bytes, revision)) = entry else {
        *slot = None;
        return;
    };
    let read = serde_json::from_slice::<T>(bytes)
        .map_err(|error| error.to_string())
        .and_then(|value| accept(&value).map(|()| value));
    *slot = Some(match read {
        Ok(value) => Stored {
            value: Some(value),
            revision,
            problem: None,
        },
        Err(problem) => Stored {
            value: slot.take().and_then(|stored| stored.value),
            revision,
            problem: Some(problem),
        },
    });
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
