//! The explicit end of a service.

use serde::Deserialize;

use super::{
    Error, Operator,
    apply::{to_json, unchanged},
    decode,
};
use crate::{
    keys::Key,
    model::{Name, ServiceStatus, Timestamp, Tombstone},
    store::{Txn, Write},
};

impl Operator {
    /// Deletes a service: its record says from now on that it ended on purpose, and its instances are
    /// stopped. False when there is no such service.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else changed the service at the same moment.
    pub async fn delete(&self, name: &Name, now: Timestamp) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Generation {
            generation: u64,
        }
        let key = self.keys.of(&Key::ServiceSpec(name.clone()));
        let tombstone_key = self.keys.of(&Key::Tombstone(name.clone()));
        let spec = self.store.get(&key).await?;
        let status = self
            .store
            .get(&self.keys.of(&Key::ServiceStatus(name.clone())))
            .await?;
        let buried = self.store.get(&tombstone_key).await?;
        // A service whose spec vanished by hand still runs; it can be ended all the same.
        if spec.is_none() && (status.is_none() || buried.is_some()) {
            return Ok(false);
        }
        let applied = spec
            .as_ref()
            .and_then(decode::<Generation>)
            .map(|found| found.generation);
        let planned = status
            .as_ref()
            .and_then(decode::<ServiceStatus>)
            .map(|found| found.observed_generation);
        let generation = applied.max(planned).unwrap_or(0) + 1;
        let tombstone = to_json(&Tombstone {
            generation,
            deleted_at: now,
        });
        let mut txn = Txn::new()
            .when(unchanged(&key, spec.as_ref()))
            .when(unchanged(&tombstone_key, buried.as_ref()))
            .then(Write::put(&tombstone_key, tombstone.clone()));
        if spec.is_some() {
            txn = txn.then(Write::delete(&key));
        }
        self.write(name, txn, &tombstone_key, Some(&tombstone))
            .await?;
        Ok(true)
    }
}
