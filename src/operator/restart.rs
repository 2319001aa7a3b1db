//! New processes for what runs, on an operator's word.

use super::{Error, Operator, before::Before, decode, rewrite};
use crate::{
    keys::Key,
    model::{Instance, Name, ServiceObject},
    store::Write,
};

/// A restart that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The service.
    pub service: Name,
    /// The one instance that is meant; none: all.
    pub instance: Option<Instance>,
    /// The generation that the request made: once it is ready, the restart is done.
    pub generation: u64,
}

impl Operator {
    /// Asks for new processes: of all instances of the service that `target` names, or of the one
    /// instance. The leader replaces them one after the other, as it does for a changed template.
    ///
    /// # Errors
    /// [`Error::Unknown`] when `target` names neither, [`Error::NotOurs`] when nothing of the service
    /// was started by us, [`Error::Conflict`] when somebody else changed it at the same moment.
    pub async fn restart(&self, target: &str) -> Result<Requested, Error> {
        let unknown = || Error::Unknown(target.to_owned());
        // A service may be called like an instance of another one; it comes first.
        let (service, instance, before) = match self.service(target).await? {
            Some((service, before)) => (service, None, before),
            None => {
                let instance: Instance = target.parse().map_err(|_| unknown())?;
                if !self.is_assigned(&instance).await? {
                    return Err(unknown());
                }
                let service = instance.service.clone();
                let before = self.before(&service).await?;
                (service, Some(instance), before)
            }
        };
        let stored = before.spec.as_ref().ok_or_else(unknown)?;
        let read: ServiceObject =
            decode(stored).ok_or_else(|| Error::Unreadable(service.clone()))?;
        let mut object = read.clone();
        if !object.spec.external.is_empty() {
            return Err(Error::NotOurs(service));
        }
        object.generation = before.generation() + 1;
        let slot = instance.as_ref().map(|instance| instance.slot);
        object.restarts.request(slot, object.generation);
        let key = self.keys.of(&Key::ServiceSpec(service.clone()));
        let value = rewrite(Some(stored), &read, &object);
        let txn = self
            .unless_changed(&service, &before)
            .then(Write::put(&key, value.clone()));
        self.write(&service, txn, &key, &value).await?;
        Ok(Requested {
            service,
            instance,
            generation: object.generation,
        })
    }

    /// The service of that name, if there is one.
    async fn service(&self, name: &str) -> Result<Option<(Name, Before)>, Error> {
        let Ok(name) = name.parse() else {
            return Ok(None);
        };
        let before = self.before(&name).await?;
        Ok(before.spec.is_some().then_some((name, before)))
    }

    async fn is_assigned(&self, instance: &Instance) -> Result<bool, Error> {
        let assignments = self.store.list(&self.keys.assignments()).await?;
        let mut keys = assignments.entries.iter().map(|entry| &entry.key);
        Ok(keys.any(|key| {
            matches!(self.keys.parse(key), Some(Key::Assignment(_, found)) if found == *instance)
        }))
    }
}
