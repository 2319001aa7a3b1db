//! What a follower has said so far, and whether a listing can be of the same store.
//!
//! A store that was restored from a backup has another past. One whose revision fell shows that by itself; one that
//! has come further meanwhile does not, to whom stood still so long. But a key cannot say less than it has said:
//! what a listing holds was either said just so before, or came after what was known ([`Ledger::is_belied_by`]). So
//! every stream that was lost is followed by a listing, as a store is never restored without losing its streams.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{Change, Entry, Listing, Update};

/// The last change of every key, as it was said.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    said: BTreeMap<String, Said>,
    /// The revision of the last listing: it held all that was not changed after it.
    listed: i64,
}

/// The last change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    revision: i64,
    /// Tells its value from others; none: it was deleted, since the last listing.
    value: Option<u64>,
}

impl Said {
    fn put(entry: &Entry) -> Self {
        // The default hasher, unlike a map's, has fixed keys.
        let mut hasher = DefaultHasher::new();
        entry.value.hash(&mut hasher);
        Self {
            revision: entry.mod_revision,
            value: Some(hasher.finish()),
        }
    }
}

impl Ledger {
    /// Notes a change that is about to be said. False when it says nothing new: the deletion of a
    /// key that is not known to exist.
    pub(super) fn note(&mut self, change: &Change) -> bool {
        match change {
            Change::Put(entry) => {
                self.said.insert(entry.key.clone(), Said::put(entry));
                true
            }
            Change::Delete { key, revision } => {
                let Some(said) = self.said.get_mut(key) else {
                    return false;
                };
                said.revision = *revision;
                said.value.take().is_some()
            }
        }
    }

    /// Whether `listing`, which was asked for after everything that was said, shows another past than what was said.
    fn is_belied_by(&self, listing: &Listing) -> bool {
        listing
            .entries
            .iter()
            .any(|entry| match self.said.get(&entry.key) {
                Some(said) if entry.mod_revision == said.revision => *said != Said::put(entry),
                Some(said) => entry.mod_revision < said.revision,
                // That it was there would have been listed.
                None => entry.mod_revision <= self.listed,
            })
    }

    /// The difference between what was said and `listing`, in the order in which it happened, and
    /// notes it. Where the store was restored from a backup since it was `known` at a revision, equal revisions may
    /// stand for other values, so everything is said again, and so is that revision.
    pub(super) fn compare(&mut self, listing: Listing, known: i64) -> Update {
        let restored = listing.revision < known || self.is_belied_by(&listing);
        self.said.retain(|_, said| said.value.is_some());
        self.listed = listing.revision;
        let mut gone: BTreeSet<String> = self.said.keys().cloned().collect();
        let mut changes = Vec::new();
        for entry in listing.entries {
            gone.remove(&entry.key);
            let said = self.said.get(&entry.key);
            if restored || said.is_none_or(|said| said.revision != entry.mod_revision) {
                changes.push(Change::Put(entry));
            }
        }
        changes.sort_by_key(Change::revision);
        for change in &changes {
            self.note(change);
        }
        for key in gone {
            self.said.remove(&key);
            changes.push(Change::Delete {
                key,
                revision: listing.revision,
            });
        }
        Update {
            changes,
            revision: listing.revision,
            restored_from: restored.then_some(known),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: &str, revision: i64) -> Entry {
        Entry {
            key: key.to_owned(),
            value: "v".into(),
            create_revision: revision,
            mod_revision: revision,
        }
    }

    fn put(key: &str, revision: i64) -> Change {
        Change::Put(entry(key, revision))
    }

    fn delete(key: &str, revision: i64) -> Change {
        Change::Delete {
            key: key.to_owned(),
            revision,
        }
    }

    fn listing(revision: i64, entries: &[(&str, i64)]) -> Listing {
        Listing {
            entries: entries.iter().map(|(key, at)| entry(key, *at)).collect(),
            revision,
        }
    }

    #[test]
    fn a_listing_is_said_as_its_difference_with_deletions() {
        let mut ledger = Ledger::default();
        let first = ledger.compare(listing(9, &[("a", 5), ("b", 3), ("c", 4)]), 0);
        assert_eq!(first.changes, [put("b", 3), put("c", 4), put("a", 5)]);
        ledger.note(&put("d", 10));
        let second = ledger.compare(listing(20, &[("a", 5), ("b", 12), ("e", 11)]), 10);
        let expected = [put("e", 11), put("b", 12), delete("c", 20), delete("d", 20)];
        assert_eq!(second.changes, expected);
        assert_eq!(second.restored_from, None);
        let third = ledger.compare(listing(21, &[("a", 5), ("b", 12), ("e", 11)]), 20);
        assert_eq!(third.changes, []);
    }

    #[test]
    fn after_a_restored_backup_everything_is_said_again() {
        let mut ledger = Ledger::default();
        ledger.compare(listing(24, &[("a", 3), ("b", 24)]), 0);
        let update = ledger.compare(listing(4, &[("a", 3)]), 24);
        assert_eq!(update.changes, [put("a", 3), delete("b", 4)]);
        assert_eq!((update.revision, update.restored_from), (4, Some(24)));
    }

    /// What is said of a restored store that has come further than 24, to whom had listed it at 20 and heard on.
    fn overtaken(entries: &[(&str, i64)]) -> Option<i64> {
        let mut ledger = Ledger::default();
        ledger.compare(listing(20, &[("a", 3), ("b", 20)]), 0);
        ledger.note(&put("c", 22));
        ledger.note(&delete("b", 24));
        ledger.compare(listing(99, entries), 24).restored_from
    }

    #[test]
    fn a_store_with_another_past_is_known_by_what_cannot_have_been_unsaid() {
        let kept = [("a", 3), ("c", 22)];
        assert_eq!(overtaken(&kept), None);
        assert_eq!(overtaken(&[("a", 90), ("b", 91)]), None, "all that is new");
        assert_eq!(overtaken(&[("a", 3), ("c", 21)]), Some(24), "c was later");
        assert_eq!(overtaken(&[("b", 20)]), Some(24), "b was deleted after it");
        assert_eq!(overtaken(&[("b", 23)]), Some(24), "b was deleted after it");
        assert_eq!(overtaken(&[("d", 20)]), Some(24), "d was not listed");
        // It may have been missed: servers have lost changes around a compaction.
        assert_eq!(overtaken(&[("d", 21)]), None);
    }

    #[test]
    fn a_value_that_was_another_at_the_same_revision_is_of_another_past() {
        let mut ledger = Ledger::default();
        ledger.compare(listing(20, &[("a", 3)]), 0);
        let mut other = listing(30, &[("a", 3)]);
        other.entries[0].value = "w".into();
        let update = ledger.compare(other, 20);
        assert_eq!(update.restored_from, Some(20));
        assert_eq!(update.changes.len(), 1);
    }

    /// A store as it is written to: its keys, and how far it is.
    #[derive(Clone, Default)]
    struct Written {
        revision: i64,
        keys: BTreeMap<&'static str, (i64, u8)>,
    }

    impl Written {
        /// Writes a value, or deletes what is there.
        fn write(&mut self, key: &'static str, value: Option<u8>) -> Option<Change> {
            if value.is_none() && !self.keys.contains_key(key) {
                return None;
            }
            self.revision += 1;
            Some(match value {
                Some(value) => {
                    self.keys.insert(key, (self.revision, value));
                    Change::Put(self.entry(key))
                }
                None => {
                    self.keys.remove(key);
                    delete(key, self.revision)
                }
            })
        }

        fn entry(&self, key: &str) -> Entry {
            let (revision, value) = self.keys[key];
            Entry {
                value: vec![value].into(),
                ..entry(key, revision)
            }
        }

        fn listing(&self) -> Listing {
            Listing {
                entries: self.keys.keys().map(|key| self.entry(key)).collect(),
                revision: self.revision,
            }
        }
    }

    fn writes(most: usize) -> impl Strategy<Value = Vec<(&'static str, Option<u8>)>> {
        let key = proptest::sample::select(vec!["a", "b", "c", "d"]);
        let value = proptest::option::weighted(0.7, 0..2_u8);
        proptest::collection::vec((key, value), 0..most)
    }

    fn apply(copy: &mut BTreeMap<String, Vec<u8>>, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(entry) => copy.insert(entry.key.clone(), entry.value.to_vec()),
                Change::Delete { key, .. } => copy.remove(key),
            };
        }
    }

    fn held(store: &Written) -> BTreeMap<String, Vec<u8>> {
        let keys = store.keys.iter();
        keys.map(|(key, (_, value))| ((*key).to_owned(), vec![*value]))
            .collect()
    }

    proptest! {
        /// What is written `before` the follower comes, while it hears it, and while it is away. A store that was not restored
        /// is never taken for one that was.
        #[test]
        fn whoever_applies_what_is_said_has_what_the_store_holds_restored_or_not(
            before in writes(12),
            rounds in proptest::collection::vec((writes(12), writes(40), proptest::option::of(0..30_usize)), 1..4),
        ) {
            let mut store = Written::default();
            let mut past = vec![store.clone()];
            let write = |store: &mut Written, past: &mut Vec<Written>, (key, value)| {
                let change = store.write(key, value);
                past.push(store.clone());
                change
            };
            for one in before {
                write(&mut store, &mut past, one);
            }
            let (mut ledger, mut copy, mut known) = (Ledger::default(), BTreeMap::new(), 0);
            for (heard, away, restored) in rounds {
                let update = ledger.compare(store.listing(), known);
                apply(&mut copy, &update.changes);
                known = update.revision;
                for one in heard {
                    if let Some(change) = write(&mut store, &mut past, one) {
                        known = change.revision();
                        ledger.note(&change);
                        apply(&mut copy, &[change]);
                    }
                }
                let was = store.revision;
                if let Some(index) = restored {
                    past.truncate(index + 1);
                    store = past[past.len() - 1].clone();
                }
                let is_older = store.revision < was;
                for one in away {
                    write(&mut store, &mut past, one);
                }
                let update = ledger.compare(store.listing(), known);
                prop_assert!(is_older || update.restored_from.is_none());
                apply(&mut copy, &update.changes);
                known = update.revision;
                prop_assert_eq!(&copy, &held(&store));
            }
        }
    }

    #[test]
    fn the_deletion_of_an_unknown_key_says_nothing() {
        let mut ledger = Ledger::default();
        assert!(ledger.note(&put("a", 1)));
        assert!(ledger.note(&delete("a", 2)));
        assert!(!ledger.note(&delete("a", 3)));
    }
}
