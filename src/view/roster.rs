//! The endpoints of one service: by the instances that have them, and the ready ones by place.

use std::{collections::BTreeMap, mem, sync::Arc};

use super::{Endpoint, members::by_place};
use crate::model::Name;

/// Who has an endpoint, and which of them are ready.
#[derive(Default)]
pub(super) struct Roster {
    /// By node, then slot.
    seats: BTreeMap<Name, BTreeMap<u32, Seat>>,
    /// The ready ones, ordered by place, then node and slot, so that members need no sorting.
    ready: Vec<Arc<Endpoint>>,
}

/// An instance with an endpoint.
struct Seat {
    endpoint: Arc<Endpoint>,
    ready: bool,
}

impl Roster {
    /// The endpoint of an instance.
    pub(super) fn get(&self, node: &Name, slot: u32) -> Option<&Arc<Endpoint>> {
        Some(&self.seats.get(node)?.get(&slot)?.endpoint)
    }

    /// Whether `endpoint` is that of a ready instance on `node`.
    pub(super) fn is_ready(&self, node: &Name, endpoint: &Arc<Endpoint>) -> bool {
        let slots = self.seats.get(node);
        let seat = slots.and_then(|slots| slots.get(&endpoint.instance().slot));
        seat.is_some_and(|seat| seat.ready && Arc::ptr_eq(&seat.endpoint, endpoint))
    }

    /// Gives an instance its endpoint, or the one it has. Returns those that are ready since, or not any more.
    pub(super) fn set(
        &mut self,
        node: &Name,
        endpoint: Arc<Endpoint>,
        ready: bool,
    ) -> Vec<Arc<Endpoint>> {
        let slot = endpoint.instance().slot;
        let now = Seat { endpoint, ready };
        let (added, added_ready) = (Arc::clone(&now.endpoint), now.ready);
        let former = match self.seats.get_mut(node) {
            Some(slots) => slots.insert(slot, now),
            None => self
                .seats
                .entry(node.clone())
                .or_default()
                .insert(slot, now),
        };
        if let Some(former) = &former
            && Arc::ptr_eq(&former.endpoint, &added)
            && former.ready == added_ready
        {
            return Vec::new();
        }
        let gone = former.and_then(|former| self.take_out(former));
        if added_ready {
            let at = self.ready.partition_point(|other| precedes(other, &added));
            self.ready.insert(at, Arc::clone(&added));
        }
        gone.into_iter()
            .chain(added_ready.then_some(added))
            .collect()
    }

    /// Ends the endpoint of an instance. Returns it if it was ready.
    pub(super) fn remove(&mut self, node: &Name, slot: u32) -> Option<Arc<Endpoint>> {
        let slots = self.seats.get_mut(node)?;
        let former = slots.remove(&slot);
        if slots.is_empty() {
            self.seats.remove(node);
        }
        former.and_then(|former| self.take_out(former))
    }

    fn take_out(&mut self, seat: Seat) -> Option<Arc<Endpoint>> {
        if !seat.ready {
            return None;
        }
        let from = (self.ready).partition_point(|other| precedes(other, &seat.endpoint));
        let same = |other: &Arc<Endpoint>| Arc::ptr_eq(other, &seat.endpoint);
        match self.ready[from..].iter().position(same) {
            Some(at) => mem::drop(self.ready.remove(from + at)),
            None => self.ready.retain(|other| !same(other)),
        }
        Some(seat.endpoint)
    }

    /// The ready ones, by place.
    pub(super) fn ready(&self) -> &[Arc<Endpoint>] {
        &self.ready
    }

    /// Whether no instance has an endpoint.
    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Whether an instance on `node` has one.
    pub(super) fn is_on(&self, node: &Name) -> bool {
        self.seats.contains_key(node)
    }
}

fn precedes(a: &Endpoint, b: &Endpoint) -> bool {
    let seat = |endpoint: &Endpoint| endpoint.instance().slot;
    by_place(a, b)
        .then_with(|| a.node().name().cmp(b.node().name()))
        .then_with(|| seat(a).cmp(&seat(b)))
        .is_lt()
}
