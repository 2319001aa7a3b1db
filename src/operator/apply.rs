//! Manifests become desired state.
//!
//! What others changed since the author applied last is kept where the manifest does not mention it, and is a
//! [`Conflict`] where it says otherwise ([`crate::plan::merge`]).

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Error, Operator,
    authorship::{changed, document, read},
    before::Before,
    decode, rewrite, to_json,
};
use crate::{
    keys::Key,
    model::{
        AppliedManifest, Authorship, Edit, Name, ServiceObject, ServiceSpec,
        manifest::{self, Manifest},
        secrecy::conceal,
        service::{Metadata, Restarts},
    },
    plan::merge::{self, Clash},
    store::Write,
};

/// How a manifest is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Nothing is written.
    pub dry_run: bool,
    /// What others changed is overwritten where the manifest says otherwise.
    pub force: bool,
}

/// What applying a manifest did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The service.
    pub name: Name,
    /// What happened to it.
    pub change: Change,
    /// Its generation from then on.
    pub generation: u64,
    /// What others changed and the manifest does not mention: it stays.
    pub kept: Vec<Kept>,
}

/// How a service differs from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no such service.
    Created,
    /// It was another.
    Configured,
    /// It was the same; its manifest was not written.
    Unchanged,
}

/// A field that the manifest does not mention and that is not at its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The field, as in `spec.replicas`.
    pub field: String,
    /// Its value, without secrets.
    pub value: String,
    /// Who changed it last, if that is known.
    pub edit: Option<Edit>,
}

/// A field that others changed and the manifest wants otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The field, as in `spec.replicas`.
    pub field: String,
    /// Its stored value, without secrets; none: it was taken away.
    pub stored: Option<String>,
    /// What the manifest says; none: it does not mention it any more.
    pub wanted: Option<String>,
    /// Who changed it last, if that is known.
    pub edit: Option<Edit>,
}

/// What applying a manifest comes to.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What is stored; none where there is nothing that can be read.
    pub before: Option<ServiceObject>,
    /// What is to be stored. Where there are conflicts: what the manifest says.
    pub after: ServiceObject,
    /// How they differ.
    pub change: Change,
    /// What stands in the way.
    pub conflicts: Vec<Conflict>,
    /// What others changed and stays.
    pub kept: Vec<Kept>,
    /// What was written, in the form that is compared next time.
    manifest: Value,
    authorship: Authorship,
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

/// Who made a change, how and when.
pub fn by(edit: Option<&Edit>) -> String {
    edit.map_or_else(
        || "by whom is not known".to_owned(),
        |edit| {
            let Edit {
                by,
                at,
                how,
                generation,
            } = edit;
            // Others wrote it.
            let by = by.replace(char::is_control, "\u{fffd}");
            format!("{how} of {by} at {at}, generation {generation}")
        },
    )
}

/// What stands in the way of applying the manifest of `service`.
pub(super) fn told(service: &Name, conflicts: &[Conflict]) -> String {
    let none = "nothing".to_owned();
    let line = |conflict: &Conflict| {
        let stored = conflict.stored.as_ref().unwrap_or(&none);
        let wanted = conflict.wanted.as_ref().unwrap_or(&none);
        let by = by(conflict.edit.as_ref());
        format!(
            "\n  {}: is {stored} ({by}), the manifest says {wanted}",
            conflict.field
        )
    };
    let lines: String = conflicts.iter().map(line).collect();
    format!(
        "service `{service}` was changed by others since you applied it; nothing of it was changed now:{lines}\n  \
         put their values into the manifest, or set yours with --force-conflicts"
    )
}

/// Read even from a value that is otherwise unknown.
#[derive(Default, Deserialize)]
struct Requests {
    #[serde(default)]
    restarts: Restarts,
    #[serde(default)]
    paused: bool,
}

/// A document with both parts of a manifest.
#[derive(Deserialize)]
struct Parts {
    metadata: Metadata,
    spec: ServiceSpec,
}

impl Before {
    /// What was asked for beside the manifest: were restarts forgotten, they would be undone by further
    /// ones, and a pause is to last until its end is asked for.
    fn requests(&self) -> Requests {
        let found = self.spec.as_ref().and_then(decode::<Requests>);
        found.unwrap_or_default()
    }

    /// What `author` applying `manifest` comes to. With `force` it says what holds where others say otherwise.
    pub(super) fn preview(
        &self,
        manifest: &Manifest,
        author: &str,
        force: bool,
    ) -> Result<Preview, Error> {
        let whole = document(&manifest.metadata, &manifest.spec);
        let wanted = merge::mask(&manifest.written, &whole);
        let authorship = read(self);
        let stored: Option<ServiceObject> = self.spec.as_ref().and_then(decode);
        let mut preview = Preview {
            before: None,
            after: self.object(manifest.metadata.clone(), manifest.spec.clone()),
            change: Change::Created,
            conflicts: Vec::new(),
            kept: Vec::new(),
            manifest: wanted.clone(),
            authorship,
        };
        let Some(stored) = stored else {
            if self.spec.is_some() {
                preview.change = Change::Configured;
            }
            return Ok(preview);
        };
        let known = &preview.authorship;
        let (merged, clashes) = merge_into(&stored, known.base(author), &wanted);
        let clashes = clashes.iter().filter(|clash| {
            let edit = known.edit(&merge::path(&clash.keys));
            edit.is_none_or(|edit| edit.by != author)
        });
        preview.conflicts = clashes.map(|clash| conflict(clash, known)).collect();
        match checked(&merged) {
            Ok(Parts { metadata, spec }) => preview.after = self.object(metadata, spec),
            // What the manifest says was checked when it was read.
            Err(_) if force => {}
            Err(wrong) => return Err(Error::Unmergeable(stored.metadata.name, wrong)),
        }
        let after = &preview.after;
        let kept = merge::differences(&whole, &document(&after.metadata, &after.spec));
        preview.kept = kept
            .iter()
            .filter_map(|keys| kept_field(keys, after, known))
            .collect();
        if stored.metadata == after.metadata && stored.spec == after.spec {
            preview.change = Change::Unchanged;
            preview.after = stored.clone();
        } else {
            preview.change = Change::Configured;
        }
        preview.before = Some(stored);
        Ok(preview)
    }

    fn object(&self, metadata: Metadata, spec: ServiceSpec) -> ServiceObject {
        let requests = self.requests();
        ServiceObject {
            metadata,
            generation: self.generation() + 1,
            restarts: requests.restarts,
            paused: requests.paused,
            spec,
        }
    }
}

/// What is wanted, merged into what is stored, and where they clash.
fn merge_into(stored: &ServiceObject, base: Option<&Value>, wanted: &Value) -> (Value, Vec<Clash>) {
    let means_the_same = |other: &Value| {
        let parts = Parts::deserialize(other);
        parts.is_ok_and(|parts| parts.metadata == stored.metadata && parts.spec == stored.spec)
    };
    let mentions: Vec<&Value> = [wanted].into_iter().chain(base).collect();
    let whole = document(&stored.metadata, &stored.spec);
    let stored = merge::canonical(&whole, &mentions, &means_the_same);
    let merged = merge::merge(base.unwrap_or(&stored), &stored, wanted);
    (merged.document, merged.clashes)
}

/// The document as a manifest, if it is one.
fn checked(document: &Value) -> Result<Parts, String> {
    let parts = Parts::deserialize(document).map_err(|error| error.to_string())?;
    let problems = manifest::check(&parts.metadata, &parts.spec);
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match problems.is_empty() {
        true => Ok(parts),
        false => Err(problems.join("; ")),
    }
}

fn conflict(clash: &Clash, known: &Authorship) -> Conflict {
    let field = merge::path(&clash.keys);
    let shown = |value: &Option<Value>, other: &Option<Value>| {
        let value = value.as_ref()?;
        Some(conceal(&field, value, other.as_ref(), "").to_string())
    };
    Conflict {
        stored: shown(&clash.stored, &clash.wanted),
        wanted: shown(&clash.wanted, &clash.stored),
        edit: known.edit(&field).cloned(),
        field,
    }
}

fn kept_field(keys: &[String], after: &ServiceObject, known: &Authorship) -> Option<Kept> {
    let field = merge::path(keys);
    let whole = document(&after.metadata, &after.spec);
    let value = merge::get(&whole, keys)?;
    Some(Kept {
        value: conceal(&field, value, None, "").to_string(),
        edit: known.edit(&field).cloned(),
        field,
    })
}

impl Operator {
    /// What applying `manifest` would come to; conflicts are part of that.
    ///
    /// # Errors
    /// [`Error::Unmergeable`] when what others changed does not fit the manifest.
    pub async fn preview(&self, manifest: &Manifest, force: bool) -> Result<Preview, Error> {
        let before = self.before(&manifest.metadata.name).await?;
        before.preview(manifest, &self.author, force)
    }

    /// Makes what `manifest` says the desired state of its service.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else changed the service at the same moment, [`Error::Conflicts`] when
    /// others changed fields of it before that the manifest wants otherwise, [`Error::Unmergeable`].
    pub async fn apply(&self, manifest: &Manifest, manner: Manner) -> Result<Applied, Error> {
        let name = &manifest.metadata.name;
        let before = self.before(name).await?;
        let preview = before.preview(manifest, &self.author, manner.force)?;
        if !preview.conflicts.is_empty() && !manner.force {
            return Err(Error::Conflicts(name.clone(), preview.conflicts));
        }
        if !manner.dry_run {
            self.store_applied(name, &before, &preview).await?;
        }
        Ok(Applied {
            name: name.clone(),
            change: preview.change,
            generation: preview.after.generation,
            kept: preview.kept,
        })
    }

    /// Writes what is new: the manifest, and who applied what.
    async fn store_applied(
        &self,
        name: &Name,
        before: &Before,
        preview: &Preview,
    ) -> Result<(), Error> {
        let Preview {
            after,
            change,
            authorship,
            manifest,
            ..
        } = preview;
        let own = authorship.applied.get(&self.author);
        let is_known = own.is_some_and(|applied| applied.manifest == *manifest);
        if *change == Change::Unchanged && is_known {
            return Ok(());
        }
        // Of a service that is new, what was known is of an earlier one.
        let (read, stored) = match preview.before {
            Some(_) => (authorship.clone(), before.authorship.as_ref()),
            None => (Authorship::default(), None),
        };
        let mut known = read.clone();
        let edit = self.edit("apply", after.generation);
        let applied = AppliedManifest {
            at: edit.at,
            generation: after.generation,
            manifest: manifest.clone(),
        };
        known.note_applied(&self.author, applied);
        let mut txn = self.unless_changed(name, before);
        let key = self.keys.of(&Key::Authorship(name.clone()));
        if *change == Change::Unchanged {
            let value = rewrite(stored, &read, &known);
            let txn = txn.then(Write::put(&key, value.clone()));
            return self.write(name, txn, &key, &value).await;
        }
        if let Some(before) = &preview.before {
            known.note_edit(changed(before, after), &edit);
        }
        txn = txn.then(Write::put(key, rewrite(stored, &read, &known)));
        let key = self.keys.of(&Key::ServiceSpec(name.clone()));
        let value = match &preview.before {
            Some(read) => rewrite(before.spec.as_ref(), read, after),
            None => to_json(after),
        };
        txn = txn.then(Write::put(&key, value.clone()));
        if before.tombstone.is_some() {
            txn = txn.then(Write::delete(self.keys.of(&Key::Tombstone(name.clone()))));
        }
        self.write(name, txn, &key, &value).await
    }
}

#[cfg(test)]
mod tests;
