//! The whole board as one reads it: for a screen that draws all it shows anew.

use super::Inner;
use crate::{
    model::{ClusterStatus, Presence, event::Event},
    operator::inventory::Inventory,
};

/// What there is at a moment.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Services, instances and nodes.
    pub inventory: Inventory,
    /// What happened, the last first.
    pub events: Vec<Event>,
    /// The balancers that say that they are there.
    pub balancers: Vec<Presence>,
    /// Whether a controller leads.
    pub led: bool,
    /// What the leader reports of the whole.
    pub status: Option<ClusterStatus>,
    /// Picks that balancers answer in a second; none where none tells.
    pub picks: Option<f32>,
    /// Whether everything was read once. Before that it says nothing.
    pub is_read: bool,
}

impl Picture {
    pub(super) fn of(inner: &Inner) -> Self {
        let book = &inner.book;
        let events = book.of_kind("e/");
        let mut events: Vec<Event> = events
            .filter_map(|json| serde_json::from_str(json).ok())
            .collect();
        events.sort_by_key(|event| std::cmp::Reverse((event.last_at, event.first_at)));
        let status = book.of_kind("c/status").next();
        Self {
            inventory: inner.raw.inventory(),
            events,
            balancers: inner.balancers.values().cloned().collect(),
            led: book.of_kind("c/leader").next().is_some(),
            status: status.and_then(|json| serde_json::from_str(json).ok()),
            picks: inner.pace.all,
            is_read: inner.is_read,
        }
    }
}
