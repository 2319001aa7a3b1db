//! What the store knows of a service before it is applied or deleted.

use serde::Deserialize;

use super::{Error, Operator, decode};
use crate::{
    keys::Key,
    model::{Name, ServiceStatus, Tombstone},
    store::{Entry, Guard, Txn},
};

/// The keys about a service that an operator's change depends on.
#[derive(Default)]
pub(super) struct Before {
    pub(super) spec: Option<Entry>,
    pub(super) tombstone: Option<Entry>,
    pub(super) authorship: Option<Entry>,
    pub(super) status: Option<Entry>,
}

impl Before {
    /// The highest generation that anybody may have seen: it never falls, not even when a service
    /// is deleted and comes back or its stored value is unreadable.
    pub(super) fn generation(&self) -> u64 {
        /// The one field that is read even from a value that is otherwise unknown.
        #[derive(Deserialize)]
        struct Generation {
            generation: u64,
        }
        let spec = self.spec.as_ref().and_then(decode::<Generation>);
        let deleted = self.tombstone.as_ref().and_then(decode::<Tombstone>);
        let planned = self.status.as_ref().and_then(decode::<ServiceStatus>);
        [
            spec.map(|found| found.generation),
            deleted.map(|found| found.generation),
            planned.map(|found| found.observed_generation),
        ]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(0)
    }
}

impl Operator {
    /// Reads what the store knows of the service.
    pub(super) async fn before(&self, name: &Name) -> Result<Before, Error> {
        let get = async |key: Key| self.store.get(&self.keys.of(&key)).await;
        Ok(Before {
            spec: get(Key::ServiceSpec(name.clone())).await?,
            tombstone: get(Key::Tombstone(name.clone())).await?,
            authorship: get(Key::Authorship(name.clone())).await?,
            status: get(Key::ServiceStatus(name.clone())).await?,
        })
    }

    /// A transaction that is refused if the service was applied or deleted since `before` was read.
    pub(super) fn unless_changed(&self, name: &Name, before: &Before) -> Txn {
        let unchanged = |key: Key, read: Option<&Entry>| match read {
            Some(entry) => Guard::ModRevision(self.keys.of(&key), entry.mod_revision),
            None => Guard::Absent(self.keys.of(&key)),
        };
        Txn::new()
            .when(unchanged(
                Key::ServiceSpec(name.clone()),
                before.spec.as_ref(),
            ))
            .when(unchanged(
                Key::Tombstone(name.clone()),
                before.tombstone.as_ref(),
            ))
            .when(unchanged(
                Key::Authorship(name.clone()),
                before.authorship.as_ref(),
            ))
    }
}
