//! What the store held when: every version of every key, as the store's own watch tells it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::network::ProgramId;

/// All keys of the cluster begin so.
pub const ROOT: &str = "/quaestor/default/";

/// A change of a key.
#[derive(Clone, Debug)]
pub struct Version {
    pub revision: i64,
    pub at: Duration,
    /// None: it was deleted.
    pub value: Option<Value>,
    /// None: nobody wrote it, its lease ended.
    pub by: Option<ProgramId>,
    /// It was not written, but came back with this restore of the store.
    pub restore: Option<usize>,
}

/// A time at which the store was restored from a backup.
struct Restore {
    at: Duration,
    /// When an operator said that what it holds counts.
    confirmed: Option<Duration>,
}

/// Keys without their root, and all their versions.
#[derive(Default)]
pub struct History {
    keys: BTreeMap<String, Vec<Version>>,
    restores: Vec<Restore>,
}

impl History {
    pub fn add(&mut self, key: &str, version: Version) {
        self.keys.entry(key.to_owned()).or_default().push(version);
    }

    /// The store was restored. The number of that.
    pub fn restored(&mut self, at: Duration) -> usize {
        let confirmed = None;
        self.restores.push(Restore { at, confirmed });
        self.restores.len() - 1
    }

    /// An operator has said that what the store holds counts.
    pub fn confirmed(&mut self, at: Duration) {
        if let Some(restore) = self.restores.last_mut() {
            restore.confirmed.get_or_insert(at);
        }
    }

    /// When the store was restored last.
    pub fn last_restore(&self) -> Option<Duration> {
        Some(self.restores.last()?.at)
    }

    /// Whether what the store holds waits for an operator's word.
    pub fn is_unconfirmed(&self) -> bool {
        let last = self.restores.last();
        last.is_some_and(|restore| restore.confirmed.is_none())
    }

    /// Since when a version is one to go by: what came back with a restore is only once that was confirmed.
    pub fn counts_since(&self, version: &Version) -> Option<Duration> {
        let restore = version.restore.and_then(|number| self.restores.get(number));
        match restore {
            Some(restore) => restore.confirmed,
            None => Some(version.at),
        }
    }

    pub fn versions(&self, key: &str) -> &[Version] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// The key as it is now, if it exists.
    pub fn current(&self, key: &str) -> Option<&Version> {
        self.versions(key)
            .last()
            .filter(|version| version.value.is_some())
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.current(key)?.value.as_ref()
    }

    /// Whether the key exists, and did all the time since `moment`.
    pub fn lasts(&self, key: &str, moment: Duration) -> bool {
        let versions = self.versions(key);
        let later = versions.partition_point(|version| version.at <= moment);
        later > 0
            && versions[later - 1..]
                .iter()
                .all(|version| version.value.is_some())
    }

    /// The values that the key had since `moment`, that of the moment itself included.
    pub fn in_force<'a>(
        &'a self,
        key: &str,
        moment: Duration,
    ) -> impl Iterator<Item = &'a Value> + use<'a> {
        let versions = self.versions(key);
        let later = versions.partition_point(|version| version.at <= moment);
        let versions = &versions[later.saturating_sub(1)..];
        versions.iter().filter_map(|version| version.value.as_ref())
    }

    /// All keys that exist.
    pub fn keys(&self) -> Vec<String> {
        let all = self.below("");
        all.map(|(key, _)| key.to_owned()).collect()
    }

    /// The keys that ever existed below `prefix`: what comes after it.
    pub fn all_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = self.keys.range(prefix.to_owned()..);
        let inside = from.take_while(move |(key, _)| key.starts_with(prefix));
        inside.map(|(key, _)| &key[prefix.len()..])
    }

    /// The keys that exist below `prefix`: what comes after it, and the value.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let from = self.keys.range(prefix.to_owned()..);
        let inside = from.take_while(move |(key, _)| key.starts_with(prefix));
        inside.filter_map(move |(key, versions)| {
            Some((&key[prefix.len()..], versions.last()?.value.as_ref()?))
        })
    }
}

/// The `VERSION` in the environment of a template or spec.
pub fn version_of(value: &Value) -> Option<u64> {
    value["env"]["VERSION"].as_str()?.parse().ok()
}
