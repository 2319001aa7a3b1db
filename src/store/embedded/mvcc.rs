//! The multi-version map: every revision since the last compaction can be read and replayed.
//!
//! Pure: no clock, no lock. A [`Write`] makes one new revision, or none when it is dropped.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use bytes::Bytes;

use super::{interval::Interval, refusal::Refusal};

/// A key as one write left it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The key.
    pub key: Bytes,
    /// The value; none where the write was a deletion.
    pub value: Option<Bytes>,
    /// Revision of the write that created the key.
    pub create_revision: i64,
    /// Revision of this write.
    pub mod_revision: i64,
    /// Number of writes since the key was created, this one included.
    pub version: i64,
    /// The lease with which the key ends; 0 for none.
    pub lease: i64,
}

/// What one revision changed, in order.
type Changes = Vec<Arc<Version>>;

/// Keys, their past and the log of revisions.
#[derive(Clone)]
pub(super) struct Map {
    /// Per key its versions, oldest first.
    keys: BTreeMap<Bytes, VecDeque<Arc<Version>>>,
    /// What happened at each revision from `compacted` on.
    log: BTreeMap<i64, Changes>,
    /// The newest revision. An empty map is at 1, as etcd is.
    revision: i64,
    /// The oldest revision that can be read. Below 0 before the first compaction, as in etcd.
    compacted: i64,
}

impl Map {
    /// An empty map.
    pub(super) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            log: BTreeMap::new(),
            revision: 1,
            compacted: -1,
        }
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read.
    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The keys of `interval` as they were at `revision`, in order.
    pub(super) fn range(
        &self,
        interval: &Interval,
        revision: i64,
    ) -> impl Iterator<Item = &Arc<Version>> {
        (!interval.is_empty())
            .then(|| self.keys.range::<[u8], _>(interval.bounds()))
            .into_iter()
            .flatten()
            .filter_map(move |(_, versions)| live_at(versions, revision))
    }

    /// A key as it was at `revision`.
    pub(super) fn get(&self, key: &[u8], revision: i64) -> Option<&Arc<Version>> {
        live_at(self.keys.get(key)?, revision)
    }

    /// What changed at `from` and later, revision by revision. Complete only when `from` has not
    /// been compacted.
    pub(super) fn changes_from(&self, from: i64) -> impl Iterator<Item = (i64, &Changes)> {
        self.log
            .range(from..)
            .map(|(revision, changes)| (*revision, changes))
    }

    /// Forgets what is older than `revision`, which itself stays readable.
    ///
    /// # Errors
    /// `Compacted` when that has been done, `FutureRevision` when there is no such revision yet.
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        let kept = self.log.split_off(&revision);
        let dropped = mem::replace(&mut self.log, kept);
        // Only a key that was written up to here can have gained a version to forget.
        let written = dropped.values().chain(self.log.get(&revision)).flatten();
        for version in written {
            let Some(versions) = self.keys.get_mut(&version.key) else {
                continue;
            };
            let past = versions.partition_point(|version| version.mod_revision <= revision);
            if let Some(last) = past.checked_sub(1) {
                let is_deleted = versions[last].value.is_none();
                versions.drain(..if is_deleted { past } else { last });
            }
            if versions.is_empty() {
                self.keys.remove(&version.key);
            }
        }
        Ok(())
    }

    /// Begins the next revision.
    pub(super) fn write(&mut self) -> Write<'_> {
        Write {
            map: self,
            changes: Changes::new(),
        }
    }

    /// Bytes of all keys and values that are kept, and of those that are the newest of their key.
    pub(super) fn size(&self) -> (i64, i64) {
        let bytes = |version: &Arc<Version>| {
            let bytes = version.key.len() + version.value.as_ref().map_or(0, Bytes::len);
            i64::try_from(bytes).unwrap_or(i64::MAX)
        };
        let all = self.keys.values().flatten().map(bytes).sum();
        let newest = self.keys.values().filter_map(|past| past.back());
        let live = newest.filter(|version| version.value.is_some());
        (all, live.map(bytes).sum())
    }
}

/// The version of a key that was current at `revision`, unless it was deleted.
fn live_at(versions: &VecDeque<Arc<Version>>, revision: i64) -> Option<&Arc<Version>> {
    let past = versions.partition_point(|version| version.mod_revision <= revision);
    let current = versions.get(past.checked_sub(1)?)?;
    current.value.is_some().then_some(current)
}

/// A revision in the making. It sees its own changes; dropped without [`Write::commit`] it never was.
pub(super) struct Write<'a> {
    map: &'a mut Map,
    changes: Changes,
}

impl Write<'_> {
    /// The map, own changes included.
    pub(super) fn map(&self) -> &Map {
        self.map
    }

    /// The revision to read at: the coming one as soon as something has changed.
    pub(super) fn head(&self) -> i64 {
        self.map.revision + i64::from(!self.changes.is_empty())
    }

    /// The revision of these changes.
    pub(super) fn next(&self) -> i64 {
        self.map.revision + 1
    }

    /// Sets `key`.
    pub(super) fn put(&mut self, key: Bytes, value: Bytes, lease: i64) {
        let mod_revision = self.next();
        let (create_revision, version) = match self.map.get(&key, mod_revision) {
            Some(previous) => (previous.create_revision, previous.version + 1),
            None => (mod_revision, 1),
        };
        self.push(Version {
            key,
            value: Some(value),
            create_revision,
            mod_revision,
            version,
            lease,
        });
    }

    /// Deletes the keys of `interval` and returns what they were.
    pub(super) fn delete(&mut self, interval: &Interval) -> Vec<Arc<Version>> {
        let deleted: Vec<_> = self.map.range(interval, self.next()).cloned().collect();
        for version in &deleted {
            self.push(Version {
                key: version.key.clone(),
                value: None,
                create_revision: 0,
                mod_revision: self.next(),
                version: 0,
                lease: 0,
            });
        }
        deleted
    }

    /// Makes the changes the newest revision, if there are any, and returns them.
    pub(super) fn commit(mut self) -> Changes {
        let changes = mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.map.revision += 1;
            self.map.log.insert(self.map.revision, changes.clone());
        }
        changes
    }

    fn push(&mut self, version: Version) {
        let version = Arc::new(version);
        let key = version.key.clone();
        let versions = self.map.keys.entry(key).or_default();
        versions.push_back(version.clone());
        self.changes.push(version);
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        // Empty after a commit.
        for version in self.changes.drain(..).rev() {
            if let Some(versions) = self.map.keys.get_mut(&version.key) {
                versions.pop_back();
                if versions.is_empty() {
                    self.map.keys.remove(&version.key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(map: &mut Map, key: &'static str, value: &'static str) {
        let mut write = map.write();
        write.put(key.into(), value.into(), 0);
        write.commit();
    }

    fn delete(map: &mut Map, key: &str) {
        let mut write = map.write();
        write.delete(&Interval::key(key.as_bytes()));
        write.commit();
    }

    fn value(map: &Map, key: &str, revision: i64) -> Option<Bytes> {
        map.get(key.as_bytes(), revision)?.value.clone()
    }

    #[test]
    fn a_key_can_be_read_as_it_was_at_each_revision() {
        let mut map = Map::new();
        put(&mut map, "a", "1");
        put(&mut map, "a", "2");
        delete(&mut map, "a");
        put(&mut map, "a", "3");
        let values = [1, 2, 3, 4, 5].map(|revision| value(&map, "a", revision));
        let expected = [None, Some("1"), Some("2"), None, Some("3")];
        assert_eq!(values, expected.map(|value| value.map(Bytes::from)));
        let born_again = map.get(b"a", 5).unwrap();
        assert_eq!((born_again.create_revision, born_again.version), (5, 1));
    }

    #[test]
    fn a_write_that_changes_nothing_makes_no_revision() {
        let mut map = Map::new();
        delete(&mut map, "missing");
        assert_eq!((map.revision(), map.changes_from(0).count()), (1, 0));
    }

    #[test]
    fn a_write_sees_its_own_changes_and_leaves_none_when_it_is_dropped() {
        let mut map = Map::new();
        put(&mut map, "a", "1");
        let mut write = map.write();
        write.put("a".into(), "2".into(), 0);
        write.put("b".into(), "2".into(), 0);
        let all = Interval::new(b"\0", b"\0");
        assert_eq!(write.map().range(&all, write.head()).count(), 2);
        write.delete(&all);
        assert_eq!(write.map().range(&all, write.head()).count(), 0);
        drop(write);
        assert_eq!((map.revision(), map.keys.len()), (2, 1));
        assert_eq!(value(&map, "a", i64::MAX), Some("1".into()));
    }

    #[test]
    fn a_compaction_is_refused_when_it_was_done_or_lies_in_the_future() {
        let mut map = Map::new();
        put(&mut map, "a", "1");
        assert_eq!(map.compact(3), Err(Refusal::FutureRevision));
        assert_eq!(map.compact(2), Ok(()));
        assert_eq!(map.compact(2), Err(Refusal::Compacted));
    }

    #[test]
    fn what_is_deleted_takes_no_memory_after_a_compaction() {
        let mut map = Map::new();
        for _ in 0..3 {
            put(&mut map, "a", "1");
            delete(&mut map, "a");
        }
        put(&mut map, "b", "1");
        map.compact(map.revision()).unwrap();
        assert_eq!((map.keys.len(), map.log.len()), (1, 1));
        assert_eq!(map.size(), (2, 2));
    }

    proptest! {
        #[test]
        fn a_compaction_changes_nothing_that_can_still_be_read(
            writes in prop::collection::vec((0..3_usize, any::<bool>()), 1..30),
            cuts in prop::collection::vec(0..30_i64, 1..3),
        ) {
            let keys = ["a", "b", "c"];
            let mut map = Map::new();
            for (key, is_put) in writes {
                if is_put {
                    put(&mut map, keys[key], "value");
                } else {
                    delete(&mut map, keys[key]);
                }
            }
            let all = Interval::new(b"\0", b"\0");
            let read = |map: &Map, from: i64| -> (Vec<Vec<_>>, Vec<_>) {
                let at = |revision| map.range(&all, revision).cloned().collect();
                let log = map.changes_from(from).map(|(revision, log)| (revision, log.clone()));
                ((from..=map.revision()).map(at).collect(), log.collect())
            };
            for cut in cuts {
                let before = read(&map, cut.max(map.compacted()));
                if map.compact(cut).is_ok() {
                    prop_assert_eq!(read(&map, cut), before);
                }
            }
        }
    }
}
