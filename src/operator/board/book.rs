//! Items with the versions at which they changed last, so that whoever knows one version can be told the rest.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// So many deletions are remembered. Who has missed more is told everything anew.
const MOST_GONE: usize = 10_000;

/// What an item is called: `s/worker`, `i/qa-1/worker-0`.
pub(super) type Id = Arc<str>;

/// An item as it is told: a text of JSON.
pub(super) type Json = Arc<str>;

/// All items there are. A version is told only once everything that belongs to it was noted.
#[derive(Default)]
pub(super) struct Book {
    version: u64,
    items: BTreeMap<Id, (u64, Json)>,
    changed: BTreeSet<(u64, Id)>,
    gone: VecDeque<(u64, Id)>,
    /// Of versions before this one it is not known any more what went since.
    complete_since: u64,
}

/// What changed between two versions.
#[derive(Clone, Debug, Default)]
pub(super) struct Difference {
    pub(super) version: u64,
    pub(super) items: BTreeMap<Id, Json>,
    pub(super) gone: BTreeSet<Id>,
}

impl Book {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes in what items are now; none: that they are gone. Whether that is news; it has a version of its own then.
    pub(super) fn note(&mut self, items: impl IntoIterator<Item = (Id, Option<Json>)>) -> bool {
        let version = self.version + 1;
        let mut is_news = false;
        for (id, json) in items {
            let before = self.items.get(&id);
            let is_same = before.map(|(_, known)| known) == json.as_ref();
            if is_same {
                continue;
            }
            is_news = true;
            if let Some((at, _)) = before {
                self.changed.remove(&(*at, Arc::clone(&id)));
            }
            match json {
                Some(json) => {
                    self.changed.insert((version, Arc::clone(&id)));
                    self.items.insert(id, (version, json));
                }
                None => {
                    self.items.remove(&id);
                    self.gone.push_back((version, id));
                }
            }
        }
        if is_news {
            self.version = version;
        }
        while self.gone.len() > MOST_GONE {
            self.complete_since = self.gone.pop_front().map_or(0, |(at, _)| at);
        }
        is_news
    }

    /// The items whose ids begin so.
    pub(super) fn of_kind<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = &'a str> {
        let from = self.items.range(Id::from(beginning)..);
        from.take_while(move |(id, _)| id.starts_with(beginning))
            .map(|(_, (_, json))| &**json)
    }

    /// Everything.
    pub(super) fn all(&self) -> Difference {
        let items = self.items.iter();
        Difference {
            version: self.version,
            items: items
                .map(|(id, (_, json))| (Arc::clone(id), Arc::clone(json)))
                .collect(),
            gone: BTreeSet::new(),
        }
    }

    /// What changed since `version`; none where that is not known any more.
    pub(super) fn since(&self, version: u64) -> Option<Difference> {
        if version > self.version || version < self.complete_since {
            return None;
        }
        let first: (u64, Id) = (version + 1, Arc::from(""));
        let changed = self.changed.range(first..);
        let items: BTreeMap<Id, Json> = changed
            .filter_map(|(_, id)| Some((Arc::clone(id), Arc::clone(&self.items.get(id)?.1))))
            .collect();
        let gone = self.gone.iter().rev().take_while(|(at, _)| *at > version);
        Some(Difference {
            version: self.version,
            gone: gone
                .map(|(_, id)| Arc::clone(id))
                .filter(|id| !self.items.contains_key(id))
                .collect(),
            items,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn json(number: u32) -> Json {
        Json::from(number.to_string())
    }

    fn texts(items: &BTreeMap<Id, Json>) -> BTreeMap<String, String> {
        let text = |(id, json): (&Id, &Json)| (id.to_string(), json.to_string());
        items.iter().map(text).collect()
    }

    proptest! {
        /// Whatever version somebody knows, what is told brings them to the present.
        #[test]
        fn what_changed_since_any_version_leads_to_the_present(
            notes in prop::collection::vec(
                prop::collection::vec((0_u8..6, prop::option::of(0_u32..3)), 1..4), 1..30)
        ) {
            let mut book = Book::default();
            let mut known = vec![book.all()];
            for note in notes {
                book.note(note.iter().map(|(id, value)| {
                    (Id::from(id.to_string()), value.map(json))
                }));
                known.push(book.all());
            }
            let now = book.all();
            for old in known {
                let difference = book.since(old.version).unwrap();
                let mut items = old.items.clone();
                items.retain(|id, _| !difference.gone.contains(id));
                items.extend(difference.items);
                prop_assert_eq!(texts(&items), texts(&now.items));
                prop_assert_eq!(difference.version, now.version);
            }
        }
    }

    #[test]
    fn who_has_missed_too_much_or_knows_another_book_is_told_so() {
        let mut book = Book::default();
        let id = |number: usize| Id::from(number.to_string());
        for number in 0..=MOST_GONE {
            book.note([(id(number), Some(json(1)))]);
        }
        let known = book.version();
        for number in 0..=MOST_GONE {
            book.note([(id(number), None)]);
        }
        assert!(book.since(known).is_none());
        assert!(book.since(known + 1).is_some());
        assert!(book.since(book.version() + 1).is_none());
        assert!(!book.note([(id(1), None)]), "that is no news");
    }
}
