//! The end of services that are in no file any more.

use std::collections::BTreeSet;

use super::{Error, Operator, decode, delete::Deletion};
use crate::{
    keys::Key,
    model::{Name, ServiceObject, Timestamp, service::Labels},
};

/// A service that is not among those that were applied.
#[derive(Clone, Debug)]
pub struct Surplus {
    /// What is stored of it.
    pub object: ServiceObject,
    /// The store's revision at which that was read.
    revision: i64,
}

impl Operator {
    /// The services with all of `labels` that are not in `kept`. What cannot be read has no labels.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn surplus(
        &self,
        labels: &Labels,
        kept: &BTreeSet<Name>,
    ) -> Result<Vec<Surplus>, Error> {
        let listing = self.store.list(&self.keys.service_specs()).await?;
        let surplus = listing.entries.iter().filter_map(|entry| {
            let Some(Key::ServiceSpec(name)) = self.keys.parse(&entry.key) else {
                return None;
            };
            let object: ServiceObject = decode(entry)?;
            let found = &object.metadata.labels;
            let is_meant = labels
                .iter()
                .all(|(key, value)| found.get(key) == Some(value));
            (is_meant && !kept.contains(&name)).then_some(Surplus {
                object,
                revision: entry.mod_revision,
            })
        });
        Ok(surplus.collect())
    }

    /// Deletes a service, if it is still as it was listed.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody changed it since then.
    pub async fn prune(&self, surplus: &Surplus, now: Timestamp) -> Result<Deletion, Error> {
        let name = &surplus.object.metadata.name;
        let before = self.before(name).await?;
        match &before.spec {
            Some(spec) if spec.mod_revision != surplus.revision => {
                Err(Error::Conflict(name.clone()))
            }
            _ => self.end(name, &before, now).await,
        }
    }
}
