//! Who applied which manifest last, and who changed which field: by this `apply` tells changes of others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time::Timestamp;

/// So many authors are remembered: of more, those who applied longest ago are forgotten.
const MOST_AUTHORS: usize = 8;

/// So much of what they applied is remembered, in bytes: a write takes 1.5 MiB, and the spec goes with it.
const MOST_BYTES: usize = 512 * 1024;

/// So many fields are remembered with who changed them.
const MOST_EDITS: usize = 256;

/// What a pause of a rollout, and its end, are noted as: no field of a manifest is called so.
pub const PAUSED: &str = "paused";

/// What lies under `spec/applied/<service>`. Nothing lies there for services that only older versions of this
/// program have written: `apply` then takes all that is stored for its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorship {
    /// What each author applied last, as they wrote it: fields that they did not mention are not in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub applied: BTreeMap<String, AppliedManifest>,
    /// The last change of a field, by its path as in `spec.replicas`; [`PAUSED`] stands for a pause and its end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub edits: BTreeMap<String, Edit>,
}

/// A manifest that somebody applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedManifest {
    /// When.
    pub at: Timestamp,
    /// The generation from then on.
    pub generation: u64,
    /// `metadata` and `spec`.
    pub manifest: Value,
}

/// A change of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edit {
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// By which command, as in `scale`.
    pub how: String,
    /// The generation that it made.
    pub generation: u64,
}

impl Authorship {
    /// What `author` changes when they apply again: what they applied last. Who never did changes what was
    /// applied last by anybody.
    pub fn base(&self, author: &str) -> Option<&Value> {
        let own = self.applied.get(author);
        let last = || self.applied.values().max_by_key(|one| one.generation);
        own.or_else(last).map(|found| &found.manifest)
    }

    /// The last change of the field at `path`, of a part of it or of what it is a part of.
    pub fn edit(&self, path: &str) -> Option<&Edit> {
        let edits = self.edits.iter();
        let related = edits.filter(|(edited, _)| leads_to(edited, path) || leads_to(path, edited));
        related
            .map(|(_, edit)| edit)
            .max_by_key(|edit| edit.generation)
    }

    /// Takes in that `author` applied `manifest`.
    pub fn note_applied(&mut self, author: &str, applied: AppliedManifest) {
        self.applied.insert(author.to_owned(), applied);
        let size = |one: &AppliedManifest| one.manifest.to_string().len();
        while self.applied.len() > MOST_AUTHORS
            || (self.applied.len() > 1
                && self.applied.values().map(size).sum::<usize>() > MOST_BYTES)
        {
            let others = self.applied.iter().filter(|(by, _)| *by != author);
            let oldest = others.min_by_key(|(_, one)| (one.generation, one.at));
            let Some(oldest) = oldest.map(|(by, _)| by.clone()) else {
                return;
            };
            self.applied.remove(&oldest);
        }
    }

    /// Takes in that the fields at `paths` were changed.
    pub fn note_edit(&mut self, paths: impl IntoIterator<Item = String>, edit: &Edit) {
        for path in paths {
            self.edits.insert(path, edit.clone());
        }
        while self.edits.len() > MOST_EDITS {
            let oldest = self.edits.iter().min_by_key(|(_, edit)| edit.generation);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else {
                return;
            };
            self.edits.remove(&oldest);
        }
    }
}

/// Whether `path` is `start` or a part of it.
fn leads_to(start: &str, path: &str) -> bool {
    path.strip_prefix(start)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(generation: u64, size: usize) -> AppliedManifest {
        AppliedManifest {
            at: Timestamp::from_millis(0),
            generation,
            manifest: Value::String("x".repeat(size)),
        }
    }

    fn edit(by: &str, generation: u64) -> Edit {
        Edit {
            by: by.to_owned(),
            at: Timestamp::from_millis(0),
            how: "apply".to_owned(),
            generation,
        }
    }

    #[test]
    fn who_never_applied_goes_on_from_what_was_applied_last() {
        let mut known = Authorship::default();
        assert_eq!(known.base("a"), None);
        known.note_applied("a", applied(1, 1));
        known.note_applied("b", applied(2, 2));
        assert_eq!(known.base("a"), Some(&applied(1, 1).manifest));
        assert_eq!(known.base("c"), Some(&applied(2, 2).manifest));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut known = Authorship::default();
        for generation in 1..=9 {
            known.note_applied(&format!("author-{generation}"), applied(generation, 1));
        }
        assert_eq!(known.applied.len(), MOST_AUTHORS);
        assert!(!known.applied.contains_key("author-1"));
        known.note_applied("large", applied(10, MOST_BYTES));
        assert_eq!(known.applied.keys().collect::<Vec<_>>(), ["large"]);
        for at in 0..2 * MOST_EDITS {
            known.note_edit([format!("spec.env.{at}")], &edit("a", at as u64));
        }
        assert_eq!(known.edits.len(), MOST_EDITS);
        assert!(!known.edits.contains_key("spec.env.0"));
    }

    #[test]
    fn a_change_of_a_part_is_one_of_the_whole_and_the_other_way_round() {
        let mut known = Authorship::default();
        known.note_edit(["spec.env.A".to_owned()], &edit("a", 1));
        known.note_edit(["spec.health".to_owned()], &edit("b", 2));
        let by = |path: &str| known.edit(path).map(|edit| edit.by.as_str());
        assert_eq!((by("spec.env"), by("spec.env.A")), (Some("a"), Some("a")));
        assert_eq!(by("spec.health.grpc"), Some("b"));
        assert_eq!((by("spec.environment"), by("spec.env.AB")), (None, None));
    }
}
