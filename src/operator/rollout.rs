//! How a rollout goes on, on an operator's word: pause, resume, undo, scale; and what there was before.

use serde::Serialize;

use super::{Error, Operator, authorship, decode, rewrite};
use crate::{
    keys::Key,
    model::{Name, Revision, ServiceObject, ServiceStatus, manifest},
    store::Write,
};

/// A template that a service has or had. The field names are an interface (`quaestor rollout history -o json`).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// The template.
    #[serde(flatten)]
    pub revision: Revision,
    /// Whether the manifest has it.
    pub wanted: bool,
    /// Whether instances are given it: another than the wanted one after a rollback.
    pub in_force: bool,
    /// Whether all instances ran it, last of all.
    pub stable: bool,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It is written: this generation carries it out.
    Changed(u64),
    /// It was so before; nothing was written.
    AsItWas(u64),
}

impl Requested {
    /// The generation from then on.
    pub fn generation(self) -> u64 {
        match self {
            Self::Changed(generation) | Self::AsItWas(generation) => generation,
        }
    }
}

impl Operator {
    /// The stored manifest of a service.
    ///
    /// # Errors
    /// [`Error::NoService`], [`Error::Unreadable`].
    pub async fn object(&self, name: &Name) -> Result<ServiceObject, Error> {
        let key = self.keys.of(&Key::ServiceSpec(name.clone()));
        let entry = self.store.get(&key).await?;
        let entry = entry.ok_or_else(|| Error::NoService(name.clone()))?;
        decode(&entry).ok_or_else(|| Error::Unreadable(name.clone()))
    }

    /// Holds the rollout of a service, or lets it go on.
    ///
    /// # Errors
    /// [`Error::NoService`], [`Error::NotOurs`], [`Error::Conflict`].
    pub async fn pause(&self, name: &Name, paused: bool) -> Result<Requested, Error> {
        let how = match paused {
            true => "rollout pause",
            false => "rollout resume",
        };
        self.change(name, how, |object| {
            object.paused = paused;
            Ok(())
        })
        .await
    }

    /// Changes how many instances are wanted. A later `apply` of a manifest that says otherwise is refused, unless
    /// the same author applies it; one that does not mention them keeps them.
    ///
    /// # Errors
    /// [`Error::NoService`], [`Error::NotOurs`], [`Error::Conflict`]; [`Error::Impossible`] when the service
    /// cannot have so many.
    pub async fn scale(&self, name: &Name, replicas: u32) -> Result<Requested, Error> {
        self.change(name, "scale", |object| {
            object.spec.replicas = Some(replicas);
            let problems = manifest::check(&object.metadata, &object.spec);
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            match texts.is_empty() {
                true => Ok(()),
                false => Err(Error::Impossible(name.clone(), texts.join("; "))),
            }
        })
        .await
    }

    /// Gives the service the template that it had before, or the one with that number. All else of its
    /// manifest stays.
    ///
    /// # Errors
    /// [`Error::NoService`], [`Error::NoRevision`], [`Error::Conflict`].
    pub async fn undo(
        &self,
        name: &Name,
        number: Option<u64>,
    ) -> Result<(Revision, Requested), Error> {
        let known = self.history(name).await?;
        let mut older = known.iter().rev().filter(|known| !known.wanted);
        let found = match number {
            Some(number) => known.iter().find(|known| known.revision.number == number),
            None => older.next(),
        };
        let Some(found) = found else {
            return Err(Error::NoRevision {
                service: name.clone(),
                missing: number.map_or_else(
                    || "no template before the present one".to_owned(),
                    |number| format!("no revision {number}"),
                ),
            });
        };
        let revision = found.revision.clone();
        let requested = self
            .change(name, "rollout undo", |object| {
                *object = revision.restore(object);
                Ok(())
            })
            .await?;
        Ok((revision, requested))
    }

    /// The templates that the service has and had, oldest first.
    ///
    /// # Errors
    /// [`Error::NoService`] when there is none.
    pub async fn history(&self, name: &Name) -> Result<Vec<Remembered>, Error> {
        self.object(name).await?;
        let listing = self.store.list(&self.keys.revisions_of(name)).await?;
        let key = self.keys.of(&Key::ServiceStatus(name.clone()));
        let status = self.store.get(&key).await?;
        let status: Option<ServiceStatus> = status.as_ref().and_then(decode);
        let stable = status.as_ref().and_then(|s| s.stable_revision.clone());
        let in_force = status.as_ref().map(|s| s.revision.clone());
        let failed = status.and_then(|s| s.rolled_back).map(|failed| failed.from);
        let revisions = listing.entries.iter().filter_map(decode::<Revision>);
        let mut known: Vec<Remembered> = revisions
            .map(|revision| {
                let is = |hash: &Option<String>| hash.as_ref() == Some(&revision.revision);
                Remembered {
                    wanted: is(failed.as_ref().map_or(&in_force, |_| &failed)),
                    in_force: is(&in_force),
                    stable: is(&stable),
                    revision,
                }
            })
            .collect();
        known.sort_by_key(|known| known.revision.number);
        Ok(known)
    }

    /// Changes the stored manifest of a service of ours, as its next generation; `how` is what others read of it.
    async fn change(
        &self,
        name: &Name,
        how: &str,
        edit: impl FnOnce(&mut ServiceObject) -> Result<(), Error>,
    ) -> Result<Requested, Error> {
        let before = self.before(name).await?;
        let stored = before.spec.as_ref();
        let stored = stored.ok_or_else(|| Error::NoService(name.clone()))?;
        let object: ServiceObject =
            decode(stored).ok_or_else(|| Error::Unreadable(name.clone()))?;
        if !object.spec.external.is_empty() {
            return Err(Error::NotOurs(name.clone()));
        }
        let mut changed = object.clone();
        edit(&mut changed)?;
        if changed == object {
            return Ok(Requested::AsItWas(object.generation));
        }
        changed.generation = before.generation() + 1;
        let key = self.keys.of(&Key::ServiceSpec(name.clone()));
        let value = rewrite(Some(stored), &object, &changed);
        let mut txn = self
            .unless_changed(name, &before)
            .then(Write::put(&key, value.clone()));
        let fields = authorship::changed(&object, &changed);
        if !fields.is_empty() {
            let mut known = authorship::read(&before);
            let read = known.clone();
            known.note_edit(fields, &self.edit(how, changed.generation));
            let key = self.keys.of(&Key::Authorship(name.clone()));
            let value = rewrite(before.authorship.as_ref(), &read, &known);
            txn = txn.then(Write::put(key, value));
        }
        self.write(name, txn, &key, &value).await?;
        Ok(Requested::Changed(changed.generation))
    }
}
