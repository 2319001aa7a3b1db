//! What happened, as controllers and agents recorded it.

use super::{Error, Operator, decode};
use crate::model::event::Event;

impl Operator {
    /// All events that are kept, by when they happened last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn events(&self) -> Result<Vec<Event>, Error> {
        let listing = self.store.list(&self.keys.events()).await?;
        let mut events: Vec<Event> = listing.entries.iter().filter_map(decode).collect();
        events.sort_by(|a, b| {
            let order = |event: &Event| (event.last_at, event.first_at, event.note.object.clone());
            order(a).cmp(&order(b))
        });
        Ok(events)
    }
}
