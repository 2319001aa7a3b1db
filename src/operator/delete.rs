//! The explicit end of a service.

use super::{Error, Operator, before::Before, to_json};
use crate::{
    keys::Key,
    model::{Name, Timestamp, Tombstone},
    store::Write,
};

/// What came of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Its instances are stopped from now on.
    Begun,
    /// It was deleted before, and its instances are still being stopped.
    UnderWay,
    /// There is no such service.
    Unknown,
}

impl Operator {
    /// Deletes a service: its record says from now on that it ended on purpose, and its instances are
    /// stopped.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else changed the service at the same moment.
    pub async fn delete(&self, name: &Name, now: Timestamp) -> Result<Deletion, Error> {
        let before = self.before(name).await?;
        self.end(name, &before, now).await
    }

    /// Deletes the service as it was read.
    pub(super) async fn end(
        &self,
        name: &Name,
        before: &Before,
        now: Timestamp,
    ) -> Result<Deletion, Error> {
        // A service whose spec vanished by hand still has a status; it can be ended all the same.
        match (&before.spec, &before.tombstone, &before.status) {
            (None, Some(_), Some(_)) => return Ok(Deletion::UnderWay),
            (None, _, None) => return Ok(Deletion::Unknown),
            _ => {}
        }
        let key = self.keys.of(&Key::Tombstone(name.clone()));
        let tombstone = to_json(&Tombstone {
            generation: before.generation() + 1,
            deleted_at: now,
        });
        let mut txn = self
            .unless_changed(name, before)
            .then(Write::put(&key, tombstone.clone()));
        if before.spec.is_some() {
            txn = txn.then(Write::delete(self.keys.of(&Key::ServiceSpec(name.clone()))));
        }
        if before.authorship.is_some() {
            txn = txn.then(Write::delete(self.keys.of(&Key::Authorship(name.clone()))));
        }
        self.write(name, txn, &key, &tombstone).await?;
        Ok(Deletion::Begun)
    }
}
