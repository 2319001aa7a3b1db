//! A cluster as a controller sees it, at one moment: what answers to `why` are given from.

use std::collections::BTreeMap;

use super::{Error, Operator, decode};
use crate::{
    keys::Key,
    model::{Authorship, Edit, Name, Timestamp, applied::PAUSED, event::Event},
    plan::{cluster::Cluster, why::Seen},
};

/// All that the store says.
#[derive(Debug)]
pub struct Observed {
    /// As the planner has it.
    pub cluster: Cluster,
    /// Whether a controller leads.
    pub led: bool,
    /// Whether the store has no space left.
    pub full: bool,
    /// What happened, by when it did last.
    pub events: Vec<Event>,
    /// The last pause of a service's rollout, or its end.
    pub pauses: BTreeMap<Name, Edit>,
}

impl Observed {
    /// What an answer at `now` is given from.
    pub fn seen(&self, now: Timestamp) -> Seen<'_> {
        Seen {
            cluster: &self.cluster,
            led: self.led,
            full: self.full,
            events: &self.events,
            pauses: &self.pauses,
            now,
        }
    }
}

impl Operator {
    /// Reads everything, at one revision.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn observe(&self) -> Result<Observed, Error> {
        let listing = self.store.list(self.keys.root()).await?;
        let mut cluster = Cluster::default();
        let mut led = false;
        let mut events: Vec<Event> = Vec::new();
        let mut pauses = BTreeMap::new();
        for entry in &listing.entries {
            match self.keys.parse(&entry.key) {
                Some(Key::Leader) => led = true,
                Some(Key::Event(..)) => events.extend(decode::<Event>(entry)),
                Some(Key::Authorship(service)) => {
                    let known = decode::<Authorship>(entry);
                    let pause = known.and_then(|mut known| known.edits.remove(PAUSED));
                    pauses.extend(pause.map(|pause| (service, pause)));
                }
                Some(key) => cluster.put(&key, &entry.value, entry.mod_revision),
                None => {}
            }
        }
        events.sort_by_key(|event| event.last_at);
        // Who may read may not always ask how the store is.
        let full = self
            .store
            .status()
            .await
            .is_ok_and(|status| status.is_full());
        Ok(Observed {
            cluster,
            led,
            full,
            events,
            pauses,
        })
    }
}
