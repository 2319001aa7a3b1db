//! Manifests become desired state.

use std::fmt;

use serde::Deserialize;

use super::{Error, Operator, before::Before, decode, to_json};
use crate::{
    keys::Key,
    model::{
        Name, ServiceObject, ServiceSpec,
        service::{Metadata, Restarts},
    },
    store::Write,
};

/// What applying a manifest did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The service.
    pub name: Name,
    /// What happened to it.
    pub change: Change,
    /// Its generation from then on.
    pub generation: u64,
}

/// How a service differs from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no such service.
    Created,
    /// It was another.
    Configured,
    /// It was the same; nothing was written.
    Unchanged,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Read even from a value that is otherwise unknown.
#[derive(Default, Deserialize)]
struct Requests {
    #[serde(default)]
    restarts: Restarts,
    #[serde(default)]
    paused: bool,
}

impl Before {
    /// What was asked for beside the manifest: were restarts forgotten, they would be undone by further
    /// ones, and a pause is to last until its end is asked for.
    fn requests(&self) -> Requests {
        let found = self.spec.as_ref().and_then(decode::<Requests>);
        found.unwrap_or_default()
    }

    /// What to store for the manifest, and how that differs.
    fn apply(&self, metadata: &Metadata, spec: &ServiceSpec) -> (Change, ServiceObject) {
        let requests = self.requests();
        let object = |generation| ServiceObject {
            metadata: metadata.clone(),
            generation,
            restarts: requests.restarts.clone(),
            paused: requests.paused,
            spec: spec.clone(),
        };
        let stored: Option<ServiceObject> = self.spec.as_ref().and_then(decode);
        match stored {
            Some(stored) if stored.metadata == *metadata && stored.spec == *spec => {
                (Change::Unchanged, stored)
            }
            _ if self.spec.is_some() => (Change::Configured, object(self.generation() + 1)),
            _ => (Change::Created, object(self.generation() + 1)),
        }
    }
}

impl Operator {
    /// Makes `spec` the desired state of the service. With `dry_run` nothing is written.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else changed the service at the same moment.
    pub async fn apply(
        &self,
        metadata: &Metadata,
        spec: &ServiceSpec,
        dry_run: bool,
    ) -> Result<Applied, Error> {
        let name = &metadata.name;
        let before = self.before(name).await?;
        let (change, object) = before.apply(metadata, spec);
        if change != Change::Unchanged && !dry_run {
            let key = self.keys.of(&Key::ServiceSpec(name.clone()));
            let value = to_json(&object);
            let mut txn = self
                .unless_changed(name, &before)
                .then(Write::put(&key, value.clone()));
            if before.tombstone.is_some() {
                txn = txn.then(Write::delete(self.keys.of(&Key::Tombstone(name.clone()))));
            }
            self.write(name, txn, &key, &value).await?;
        }
        Ok(Applied {
            name: name.clone(),
            change,
            generation: object.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Tombstone, store::Entry};

    fn object(generation: u64, replicas: u32) -> ServiceObject {
        let text = format!(
            r#"{{"metadata": {{"name": "a"}}, "generation": {generation},
                 "spec": {{"command": ["x"], "replicas": {replicas}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn entry(value: &impl serde::Serialize) -> Option<Entry> {
        let value = to_json(value).into();
        Some(Entry {
            key: String::new(),
            value,
            create_revision: 1,
            mod_revision: 1,
        })
    }

    fn apply(before: &Before, replicas: u32) -> (Change, u64) {
        let wanted = object(0, replicas);
        let (change, object) = before.apply(&wanted.metadata, &wanted.spec);
        (change, object.generation)
    }

    #[test]
    fn the_generation_grows_only_with_a_real_change() {
        let before = Before {
            spec: entry(&object(4, 2)),
            ..Before::default()
        };
        assert_eq!(apply(&before, 2), (Change::Unchanged, 4));
        assert_eq!(apply(&before, 3), (Change::Configured, 5));
        assert_eq!(apply(&Before::default(), 1), (Change::Created, 1));
    }

    #[test]
    fn a_changed_manifest_keeps_the_restarts_that_were_asked_for() {
        let mut stored = object(4, 2);
        stored.restarts.request(None, 3);
        stored.restarts.request(Some(1), 4);
        let before = Before {
            spec: entry(&stored),
            ..Before::default()
        };
        let wanted = object(0, 3);
        let (_, after) = before.apply(&wanted.metadata, &wanted.spec);
        assert_eq!(after.restarts, stored.restarts);
        assert_eq!(
            (after.restarts.of(0), after.restarts.of(1)),
            (Some(3), Some(4))
        );
    }

    #[test]
    fn a_service_that_comes_back_goes_on_from_its_last_generation() {
        let deleted_at = crate::model::Timestamp::from_millis(0);
        let tombstone = entry(&Tombstone {
            generation: 7,
            deleted_at,
        });
        assert_eq!(
            apply(
                &Before {
                    tombstone,
                    ..Before::default()
                },
                1
            ),
            (Change::Created, 8)
        );
    }

    #[test]
    fn an_unreadable_value_is_replaced_without_a_fall_of_the_generation() {
        let spec = entry(&serde_json::json!({"generation": 9, "spec": "garbage"}));
        assert_eq!(
            apply(
                &Before {
                    spec,
                    ..Before::default()
                },
                1
            ),
            (Change::Configured, 10)
        );
    }
}
