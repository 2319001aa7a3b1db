//! What a follower has said so far, and what is still to be said. Pure: the moments are arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Change, Listing, Update};
use crate::model::Moment;

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
        }
    }
}

/// How long the server may take between the changes that one transaction made under different
/// prefixes. It sends them back to back, but as separate answers, and does not say which is the last.
const BACK_TO_BACK: Duration = Duration::from_millis(2);

/// How long the server may take to bring a new stream up to date. It looks after streams that are
/// behind every 100 ms, and then sends what is missing prefix by prefix.
const CATCHING_UP: Duration = Duration::from_millis(250);

/// Puts the changes of several prefixes back into the order of their revisions, those of one
/// transaction together.
#[derive(Debug)]
pub(super) struct Sorter {
    /// Whether there is more than one prefix; else the server's order is the right one.
    sorts: bool,
    waiting: BTreeMap<i64, Vec<Change>>,
    /// Until then the last revision may not be complete.
    quiet_at: Moment,
    /// Until then no revision may be complete.
    caught_up_at: Moment,
}

impl Sorter {
    /// A sorter for so many prefixes.
    pub(super) fn new(prefixes: usize) -> Self {
        Self {
            sorts: prefixes > 1,
            waiting: BTreeMap::new(),
            quiet_at: Moment::default(),
            caught_up_at: Moment::default(),
        }
    }

    /// Notes that a stream begins at `now`, `behind` the store's revision or not.
    pub(super) fn begin(&mut self, now: Moment, behind: bool) {
        self.caught_up_at = match self.sorts && behind {
            true => now + CATCHING_UP,
            false => now,
        };
    }

    /// Takes a change in.
    pub(super) fn add(&mut self, now: Moment, revision: i64, change: Change) {
        self.waiting.entry(revision).or_default().push(change);
        self.quiet_at = if self.sorts { now + BACK_TO_BACK } else { now };
    }

    /// When something will be ready, unless more comes in before.
    pub(super) fn ready_at(&self) -> Option<Moment> {
        let last = (!self.waiting.is_empty()).then_some(self.quiet_at)?;
        Some(last.max(self.caught_up_at))
    }

    /// What is complete.
    pub(super) fn take(&mut self, now: Moment) -> Option<Update> {
        if now < self.caught_up_at {
            return None;
        }
        let (&last, _) = self.waiting.last_key_value()?;
        let open = match now < self.quiet_at {
            true => self.waiting.split_off(&last),
            false => BTreeMap::new(),
        };
        let complete = std::mem::replace(&mut self.waiting, open);
        let (&revision, _) = complete.last_key_value()?;
        Some(Update {
            changes: complete.into_values().flatten().collect(),
            revision,
        })
    }

    /// Everything, complete or not, for somebody who has the rest from elsewhere.
    pub(super) fn drain(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.waiting)
            .into_values()
            .flatten()
            .collect()
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

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
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

    #[test]
    fn with_one_prefix_nothing_waits() {
        let mut sorter = Sorter::new(1);
        sorter.begin(at(0), true);
        sorter.add(at(1), 7, put("a", 7));
        let update = sorter.take(at(1)).unwrap();
        assert_eq!((update.changes, update.revision), (vec![put("a", 7)], 7));
        assert_eq!(sorter.ready_at(), None);
    }

    #[test]
    fn with_several_prefixes_a_revision_waits_until_it_is_complete() {
        let mut sorter = Sorter::new(2);
        sorter.add(at(10), 7, put("a", 7));
        assert_eq!(sorter.take(at(10)), None);
        sorter.add(at(11), 7, put("b", 7));
        sorter.add(at(11), 8, put("a", 8));
        let update = sorter.take(at(11)).unwrap();
        assert_eq!(update.changes, [put("a", 7), put("b", 7)]);
        assert_eq!(sorter.take(at(12)), None);
        assert_eq!(sorter.ready_at(), Some(at(13)));
        assert_eq!(sorter.take(at(13)).unwrap().changes, [put("a", 8)]);
    }

    #[test]
    fn what_a_new_stream_catches_up_on_is_sorted_as_a_whole() {
        let mut sorter = Sorter::new(2);
        sorter.begin(at(0), true);
        sorter.add(at(90), 5, put("a", 5));
        sorter.add(at(90), 9, put("a", 9));
        sorter.add(at(95), 7, put("b", 7));
        assert_eq!(sorter.take(at(100)), None);
        assert_eq!(sorter.ready_at(), Some(at(250)));
        let update = sorter.take(at(250)).unwrap();
        assert_eq!(update.changes, [put("a", 5), put("b", 7), put("a", 9)]);
    }
}
