//! What happened, as controllers and agents recorded it.

use std::collections::BTreeSet;

use super::{Error, Operator, decode};
use crate::{
    model::{
        Name,
        event::{Event, Recorder},
    },
    store::Entry,
};

impl Operator {
    /// All events that are kept, by when they happened last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn events(&self) -> Result<Vec<Event>, Error> {
        let listing = self.store.list(&self.keys.events()).await?;
        Ok(sorted(listing.entries.iter().filter_map(decode)))
    }

    /// The events that concern `object`, as in `instance/worker-0`, by when they happened last. Only leaders are asked,
    /// and the agents of `nodes` and of those nodes where leaders say that it was: not the whole cluster's.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn events_about(
        &self,
        object: &str,
        mut nodes: BTreeSet<Name>,
    ) -> Result<Vec<Event>, Error> {
        let of = |recorder: &Recorder| self.keys.events_of(recorder);
        let about = |entries: &[Entry]| -> Vec<Event> {
            let events = entries.iter().filter_map(decode);
            events
                .filter(|event: &Event| event.concerns(object))
                .collect()
        };
        let led = self.store.list(&of(&Recorder::Leader)).await?;
        let mut events = about(&led.entries);
        nodes.extend(events.iter().filter_map(|event| event.note.node.clone()));
        let agents: Vec<String> = nodes
            .into_iter()
            .map(|node| of(&Recorder::Agent(node)))
            .collect();
        let seen = self.store.list_all(&agents).await?;
        events.extend(about(&seen.entries));
        Ok(sorted(events.into_iter()))
    }
}

/// By when they happened last.
fn sorted(events: impl Iterator<Item = Event>) -> Vec<Event> {
    let mut events: Vec<Event> = events.collect();
    events.sort_by(|a, b| {
        let order = |event: &Event| (event.last_at, event.first_at, event.note.object.clone());
        order(a).cmp(&order(b))
    });
    events
}
