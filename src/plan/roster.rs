//! Who stays, who ends, and which slots are open.
//!
//! - `replicas`: slots that are taken stay; of too many the highest are surplus: they stand in during a
//!   rollout (`maxSurge`), else they end. People who scale down expect
//!   the last ones to go, whatever their health. Of too few, those that are just being stopped are
//!   opened again, then the lowest free numbers.
//! - `onePerNode`: every live node that the selector admits has one; the lowest slot on it stays.
//! - `external`: slot `i` is the `i`-th address.
//!
//! A node without a session keeps what it has, until it counts as lost. A state without an assignment counts like an
//! assigned instance: it runs. What was stopped and has left counts no more, so that a plan decides
//! the same before and after its assignment is deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Desired, Name, ServiceSpec};

use super::{
    blueprint::Blueprint,
    cluster::{Cluster, Seat, Service},
    node::Node,
    placement,
};

/// A seat with its place.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The slot.
    pub slot: u32,
    /// The node.
    pub node: &'a Name,
    /// What is asked and observed there.
    pub seat: &'a Seat,
}

/// A slot that is to get an instance.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The slot.
    pub slot: u32,
    /// The only node it may go to, where that is given.
    pub node: Option<&'a Name>,
    /// An instance of that slot that is being stopped and has not left yet.
    pub leaving: Option<Place<'a>>,
}

/// The decision about every seat of a service.
#[derive(Debug, Default)]
pub struct Roster<'a> {
    /// So many are wanted.
    pub wanted: usize,
    /// Stay, one per slot, by slot.
    pub stay: Vec<Place<'a>>,
    /// More than are wanted, by slot, with the cause to end them.
    pub surplus: Vec<(Place<'a>, String)>,
    /// End, with the cause.
    pub end: Vec<(Place<'a>, String)>,
    /// Are to be filled, by slot.
    pub open: Vec<Opening<'a>>,
    /// Have one that stays elsewhere, or is to have, and go on beside it for now, with the cause.
    pub spare: Vec<(Place<'a>, Spare)>,
    /// Of those, one for each node that is to have another one: it has to leave first.
    pub guests: Vec<Place<'a>>,
}

/// Why an instance goes on although the same one runs elsewhere, or is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// Its node is away: nothing can be asked of it.
    Away,
    /// Its node is back, and has not said yet what it works on.
    Unsettled,
    /// It serves, and the other one does not yet.
    Serving,
}

/// Whether the seat runs or is to run: it is not being stopped.
pub fn is_kept(seat: &Seat) -> bool {
    match &seat.assignment {
        Some(stored) => stored
            .value
            .as_ref()
            .is_none_or(|a| a.desired == Desired::Present),
        None => seat.state.is_some(),
    }
}

/// Whether the seat was to end and has: its assignment can go.
pub fn has_left(seat: &Seat) -> bool {
    !is_kept(seat) && seat.state.is_none()
}

/// Every seat of `service`.
pub fn places(service: &Service) -> impl Iterator<Item = Place<'_>> {
    service.seats.iter().map(|((slot, node), seat)| Place {
        slot: *slot,
        node,
        seat,
    })
}

impl<'a> Roster<'a> {
    /// Decides for a service that is to run.
    pub fn new(cluster: &'a Cluster, service: &'a Service, blueprint: Blueprint<'a>) -> Self {
        let mut roster = Self::default();
        let spec = blueprint.spec();
        let mut held: BTreeMap<u32, Vec<Place<'a>>> = BTreeMap::new();
        let mut leaving: BTreeMap<u32, Place<'a>> = BTreeMap::new();
        for place in places(service) {
            let is_lost = is_lost(cluster, spec, place);
            match (is_kept(place.seat), is_lost) {
                (true, true) => roster.spare.push((place, Spare::Away)),
                (true, false) => held.entry(place.slot).or_default().push(place),
                (false, false) if !has_left(place.seat) => _ = leaving.insert(place.slot, place),
                (false, _) => {}
            }
        }
        if spec.singleton {
            roster.turn_away(cluster, &mut held, &leaving);
        }
        if spec.one_per_node {
            roster.one_per_node(cluster, spec, service, held, &leaving);
        } else {
            roster.replicas(cluster, blueprint, held, &leaving);
        }
        // Whoever is on the way out goes on, unless its slot is opened again.
        let reopened: BTreeSet<(u32, &Name)> = (roster.open.iter())
            .filter_map(|opening| opening.leaving)
            .map(|place| (place.slot, place.node))
            .collect();
        roster.end.extend(
            places(service)
                .filter(|p| !is_kept(p.seat) && !reopened.contains(&(p.slot, p.node)))
                .map(|place| (place, "it is being stopped".to_owned())),
        );
        roster
    }

    /// Ends those singletons that were replaced while their nodes were away, unless nothing else is left of them.
    fn turn_away(
        &mut self,
        cluster: &Cluster,
        held: &mut BTreeMap<u32, Vec<Place<'a>>>,
        leaving: &BTreeMap<u32, Place<'a>>,
    ) {
        for (slot, places) in held {
            let is_replaced = |place: &Place<'_>| place.seat.asked().is_some_and(|it| it.replaced);
            let others = leaving.contains_key(slot) || !places.iter().all(is_replaced);
            let turned_away =
                |place: &mut Place<'a>| others && is_replaced(place) && cluster.is_live(place.node);
            let ends = places.extract_if(.., turned_away);
            let cause = "it was replaced while its node was away";
            self.end.extend(ends.map(|place| (place, cause.to_owned())));
        }
    }

    /// The one of several in a slot that stays, if there is any. By rights there is one: more are there while an
    /// instance moves, and after its node was away.
    fn one_of(
        &mut self,
        cluster: &Cluster,
        spec: &ServiceSpec,
        mut places: Vec<Place<'a>>,
    ) -> Option<Place<'a>> {
        let rank =
            |place: &Place<'a>, compare_work: bool| rank(cluster, spec, *place, compare_work);
        // Only where two could go on does it matter which one works.
        let fit = places
            .iter()
            .filter(|place| is_fit(cluster, spec, place.node));
        let compare = fit.count() > 1;
        places.sort_by_key(|place| (rank(place, compare), std::cmp::Reverse(place.node)));
        let stays = places.pop()?;
        for place in places {
            match spare(cluster, spec, place, stays) {
                Some(why) => self.spare.push((place, why)),
                None => {
                    let cause = format!("the same instance is assigned to node {}", stays.node);
                    self.end.push((place, cause));
                }
            }
        }
        Some(stays)
    }

    fn replicas(
        &mut self,
        cluster: &Cluster,
        blueprint: Blueprint<'a>,
        held: BTreeMap<u32, Vec<Place<'a>>>,
        leaving: &BTreeMap<u32, Place<'a>>,
    ) {
        let wanted = blueprint.replicas();
        let external = !blueprint.spec().external.is_empty();
        for (slot, places) in held {
            if external && slot as usize >= wanted {
                let cause = format!("`external` has no address number {slot} any more");
                let ends = places.into_iter().map(|place| (place, cause.clone()));
                self.end.extend(ends);
                continue;
            }
            let Some(place) = self.one_of(cluster, blueprint.spec(), places) else {
                continue;
            };
            if self.stay.len() == wanted {
                let cause = match wanted {
                    1 => "1 replica is wanted, and those with lower slots stay".to_owned(),
                    _ => format!("{wanted} replicas are wanted, and those with lower slots stay"),
                };
                self.surplus.push((place, cause));
            } else {
                self.stay.push(place);
            }
        }
        self.wanted = wanted;
        let taken: BTreeSet<u32> = self.stay.iter().map(|place| place.slot).collect();
        let missing = wanted.saturating_sub(self.stay.len());
        let is_open = |slot: &u32| !taken.contains(slot);
        let mut slots: Vec<u32> = if external {
            (0..=u32::MAX).take(wanted).filter(is_open).collect()
        } else {
            // When a node without a session has been left, nobody knows. Who may not run twice is waited for.
            let waits = blueprint.spec().singleton;
            let back = leaving
                .values()
                .filter(|p| waits || cluster.is_live(p.node));
            let new = (0..=u32::MAX).filter(|slot| !leaving.contains_key(slot));
            let slots = back.map(|place| place.slot).chain(new);
            slots.filter(is_open).take(missing).collect()
        };
        slots.sort_unstable();
        self.open.extend(slots.into_iter().map(|slot| Opening {
            slot,
            node: None,
            leaving: leaving.get(&slot).copied(),
        }));
    }

    fn one_per_node(
        &mut self,
        cluster: &'a Cluster,
        spec: &ServiceSpec,
        service: &'a Service,
        held: BTreeMap<u32, Vec<Place<'a>>>,
        leaving: &BTreeMap<u32, Place<'a>>,
    ) {
        let mut open: BTreeSet<&Name> = BTreeSet::new();
        let mut closed: BTreeMap<&Name, String> = BTreeMap::new();
        for (name, node) in cluster.nodes() {
            match node
                .live()
                .map(|_| placement::objection(&spec.placement, node))
            {
                Some(None) if node.closed().is_some() => {}
                Some(None) => {
                    open.insert(name);
                }
                Some(Some(reason)) => {
                    closed.insert(name, reason);
                }
                None => {}
            }
        }
        let mut served: BTreeSet<&Name> = BTreeSet::new();
        for places in held.into_values() {
            // Only those whose nodes want them compete for the slot, so that none stays for one that ends.
            let mut rivals = Vec::new();
            for place in places {
                if let Some(reason) = closed.get(place.node) {
                    let cause = format!("its node does not admit it any more: {reason}");
                    self.end.push((place, cause));
                } else if served.contains(place.node) {
                    let cause = "its node has another instance, and one is wanted".to_owned();
                    self.end.push((place, cause));
                } else {
                    rivals.push(place);
                }
            }
            let stays = self.one_of(cluster, spec, rivals);
            served.extend(stays.map(|place| place.node));
            self.stay.extend(stays);
        }
        // What goes on there for now may be what stays, once the same one elsewhere has ended.
        served.extend(self.spare.iter().map(|(place, _)| place.node));
        let taken: BTreeSet<u32> = self.stay.iter().map(|place| place.slot).collect();
        let returning: BTreeMap<&Name, Place<'a>> = (leaving.values())
            .filter(|place| !taken.contains(&place.slot))
            .filter(|place| open.contains(place.node) && !served.contains(place.node))
            .map(|place| (place.node, *place))
            .collect();
        // A slot is free again in the plan that deletes its last trace.
        let traces = places(service).filter(|place| {
            place.seat.state.is_some() && !cluster.has_lost_seat(place.node, place.seat, Some(spec))
        });
        let spare = self.spare.iter().map(|(place, _)| *place);
        let spare = spare.filter(|place| !is_deleted(cluster, place.node));
        let used: BTreeSet<u32> = (traces.chain(spare).map(|place| place.slot))
            .chain(taken)
            .chain(returning.values().map(|place| place.slot))
            .collect();
        let mut free = (0..=u32::MAX).filter(|slot| !used.contains(slot));
        for node in open.difference(&served) {
            let leaving = returning.get(node).copied();
            let slot = leaving.map(|place| place.slot).or_else(|| free.next());
            self.open.extend(slot.map(|slot| Opening {
                slot,
                node: Some(node),
                leaving,
            }));
        }
        self.open.sort_by_key(|opening| opening.slot);
        let there: BTreeSet<&Name> = self.stay.iter().map(|place| place.node).collect();
        let spare = self.spare.iter().map(|(place, _)| *place);
        let guests = spare.filter(|place| open.contains(place.node) && !there.contains(place.node));
        let guests: BTreeMap<&Name, Place<'a>> = guests.map(|place| (place.node, place)).collect();
        self.guests.extend(guests.into_values());
        self.wanted = self.stay.len() + self.open.len() + self.guests.len();
    }
}

/// Whether an instance counts as lost. One per node stays where it is.
fn is_lost(cluster: &Cluster, spec: &ServiceSpec, place: Place<'_>) -> bool {
    let stays = spec.one_per_node && !is_deleted(cluster, place.node);
    !stays && cluster.has_lost_seat(place.node, place.seat, Some(spec))
}

fn is_deleted(cluster: &Cluster, node: &Name) -> bool {
    cluster.nodes().get(node).is_some_and(Node::is_deleted)
}

/// Whether `node` is there, and takes the service.
pub(super) fn is_fit(cluster: &Cluster, spec: &ServiceSpec, node: &Name) -> bool {
    let node = cluster
        .nodes()
        .get(node)
        .filter(|node| node.live().is_some());
    node.is_some_and(|node| placement::objection(&spec.placement, node).is_none())
}

/// Why `place` goes on beside `stays`, if it does.
fn spare(
    cluster: &Cluster,
    spec: &ServiceSpec,
    place: Place<'_>,
    stays: Place<'_>,
) -> Option<Spare> {
    let node = cluster.nodes().get(place.node)?;
    let is_replaced = place.seat.asked().is_some_and(|asked| asked.replaced);
    let serves = |place: Place<'_>| {
        let ready = place.seat.observed().is_some_and(|state| state.ready);
        ready && cluster.is_live(place.node)
    };
    if node.live().is_none() {
        Some(Spare::Away)
    } else if spec.singleton {
        None
    } else if is_replaced && !cluster.has_settled(node) {
        Some(Spare::Unsettled)
    } else if serves(place) && !serves(stays) && is_fit(cluster, spec, stays.node) {
        Some(Spare::Serving)
    } else {
        None
    }
}

/// How well founded an instance is where it is. With `compare_work`, one that works on something comes before
/// one that is idle.
fn rank(cluster: &Cluster, spec: &ServiceSpec, place: Place<'_>, compare_work: bool) -> [bool; 7] {
    let node = cluster.nodes().get(place.node);
    let instance = || place.seat.asked().map(|asked| &asked.instance);
    let works = || {
        let node = node.filter(|node| cluster.has_settled(node))?;
        node.is_working(instance()?)
    };
    let is_meant = match place.seat.asked() {
        Some(asked) => !asked.replaced,
        // What cannot be read may be anybody's.
        None => place.seat.state.is_some(),
    };
    [
        // What was replaced has stopped, and what replaced it runs.
        !spec.singleton || is_meant,
        is_fit(cluster, spec, place.node),
        compare_work && works().unwrap_or(false),
        is_meant,
        place.seat.assignment.is_some(),
        cluster.is_live(place.node),
        place.seat.observed().is_some_and(|state| state.ready),
    ]
}
