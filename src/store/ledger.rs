//! What a follower has said so far.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Listing, Update};

/// The mod-revision of every key that was said to exist.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    revisions: BTreeMap<String, i64>,
}

impl Ledger {
    /// Notes a change that is about to be said. False when it says nothing new: the deletion of a
    /// key that is not known to exist.
    pub(super) fn note(&mut self, change: &Change) -> bool {
        match change {
            Change::Put(entry) => {
                self.revisions.insert(entry.key.clone(), entry.mod_revision);
                true
            }
            Change::Delete { key, .. } => self.revisions.remove(key).is_some(),
        }
    }

    /// The difference between what was said and `listing`, in the order in which it happened, and
    /// notes it. Revisions are compared for equality, not order: in a store that was restored from a
    /// backup they fall. Where it is known to have been restored (`anew`), equal revisions may stand
    /// for other values, so everything is said again.
    pub(super) fn compare(&mut self, listing: Listing, anew: bool) -> Update {
        let mut gone: BTreeSet<String> = self.revisions.keys().cloned().collect();
        let mut changes = Vec::new();
        for entry in listing.entries {
            gone.remove(&entry.key);
            if anew || self.revisions.get(&entry.key) != Some(&entry.mod_revision) {
                changes.push(Change::Put(entry));
            }
        }
        changes.sort_by_key(Change::revision);
        changes.extend(gone.into_iter().map(|key| Change::Delete {
            key,
            revision: listing.revision,
        }));
        for change in &changes {
            self.note(change);
        }
        Update {
            changes,
            revision: listing.revision,
            restored_from: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

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
        let first = ledger.compare(listing(9, &[("a", 5), ("b", 3), ("c", 4)]), false);
        assert_eq!(first.changes, [put("b", 3), put("c", 4), put("a", 5)]);
        ledger.note(&put("d", 10));
        let second = ledger.compare(listing(20, &[("a", 5), ("b", 12), ("e", 11)]), false);
        let expected = [put("e", 11), put("b", 12), delete("c", 20), delete("d", 20)];
        assert_eq!(second.changes, expected);
        let third = ledger.compare(listing(21, &[("a", 5), ("b", 12), ("e", 11)]), false);
        assert_eq!(third.changes, []);
    }

    #[test]
    fn after_a_restored_backup_everything_is_said_again() {
        let mut ledger = Ledger::default();
        ledger.compare(listing(24, &[("a", 3), ("b", 24)]), false);
        let update = ledger.compare(listing(4, &[("a", 3)]), true);
        assert_eq!(update.changes, [put("a", 3), delete("b", 4)]);
        assert_eq!(update.revision, 4);
    }

    proptest::proptest! {
        #[test]
        fn whoever_applies_what_is_said_has_what_was_listed(
            states in proptest::collection::vec(
                proptest::collection::btree_map("[a-e]", 1_i64..50, 0..5),
                1..8,
            ),
        ) {
            let mut ledger = Ledger::default();
            let mut copy = BTreeMap::new();
            for state in states {
                let entries: Vec<_> = state.iter().map(|(key, at)| (key.as_str(), *at)).collect();
                for change in ledger.compare(listing(50, &entries), false).changes {
                    match change {
                        Change::Put(entry) => copy.insert(entry.key, entry.mod_revision),
                        Change::Delete { key, .. } => copy.remove(&key),
                    };
                }
                proptest::prop_assert_eq!(&copy, &state);
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
