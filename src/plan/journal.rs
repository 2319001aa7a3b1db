//! The events that somebody records: what is new, what is known to be stored, what has to go.
//!
//! The same event again counts up. There is room for a number of events; when it is used up the one that
//! happened longest ago goes. One that goes before it was ever stored is counted, and that is an event itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::model::{
    Timestamp,
    event::{Event, Note, Object},
};

/// Events last at least this long after they happened last.
pub const KEPT: Duration = Duration::from_secs(3_600);

/// Digits of the id of an event.
const ID_DIGITS: usize = 16;

/// Longer messages are cut, in characters.
const LONGEST_MESSAGE: usize = 500;

/// The reason of the event that says that events were dropped.
pub const DROPPED: &str = "EventsDropped";

/// An event, and what the store is known to hold of it.
#[derive(Clone, Debug)]
struct Entry {
    event: Event,
    /// Whether it holds the event as it is.
    stored: bool,
    /// Whether it holds the event as it was once.
    ever_stored: bool,
}

/// What somebody has recorded.
#[derive(Clone, Debug)]
pub struct Journal {
    by: String,
    /// What it is that events are dropped of.
    own: Object,
    most: usize,
    entries: BTreeMap<String, Entry>,
    /// Stored ones that have to go.
    doomed: BTreeSet<String>,
}

/// What is to be written under an id; none: it is to be deleted.
pub type Line = (String, Option<Event>);

impl Journal {
    /// An empty journal of `by`, with room for `most` events.
    pub fn new(by: String, own: Object, most: usize) -> Self {
        Self {
            by,
            own,
            most,
            entries: BTreeMap::new(),
            doomed: BTreeSet::new(),
        }
    }

    /// Records what happened.
    pub fn note(&mut self, notes: impl IntoIterator<Item = Note>, now: Timestamp) {
        for mut note in notes {
            if let Some((end, _)) = note.message.char_indices().nth(LONGEST_MESSAGE) {
                note.message.truncate(end);
                note.message.push('…');
            }
            self.count(note, 1, now);
        }
        self.make_room(now);
    }

    fn count(&mut self, note: Note, times: u64, now: Timestamp) {
        let id = id(&note);
        let was_doomed = self.doomed.remove(&id);
        let by = self.by.clone();
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            event: Event {
                note: note.clone(),
                count: 0,
                first_at: now,
                last_at: now,
                by,
            },
            stored: false,
            ever_stored: was_doomed,
        });
        entry.event.count += times;
        entry.event.last_at = now;
        entry.event.note = note;
        entry.stored = false;
    }

    /// Lets those go that happened longest ago: first of those that are stored.
    fn make_room(&mut self, now: Timestamp) {
        while self.entries.len() > self.most {
            let excess = self.entries.len() - self.most;
            let dispensable = self.entries.iter();
            let dispensable = dispensable.filter(|(_, entry)| entry.event.note.reason != DROPPED);
            let mut oldest: Vec<(bool, Timestamp, String)> = dispensable
                .map(|(id, entry)| (!entry.stored, entry.event.last_at, id.clone()))
                .collect();
            oldest.sort();
            oldest.truncate(excess);
            if oldest.is_empty() {
                return;
            }
            let mut lost = 0;
            for (is_unwritten, _, id) in oldest {
                let gone = self.entries.remove(&id);
                lost += u64::from(is_unwritten);
                if gone.is_some_and(|entry| entry.ever_stored) {
                    self.doomed.insert(id);
                }
            }
            if lost > 0 {
                let message = "more happened than could be recorded";
                let note = Note {
                    warning: true,
                    ..Note::new(self.own.clone(), DROPPED, message)
                };
                self.count(note, lost, now);
            }
        }
    }

    /// Takes in what the store holds from an earlier time.
    pub fn recall(&mut self, events: impl IntoIterator<Item = (String, Event)>, now: Timestamp) {
        for (id, event) in events {
            match self.entries.get_mut(&id) {
                None => {
                    let entry = Entry {
                        event,
                        stored: true,
                        ever_stored: true,
                    };
                    self.entries.insert(id, entry);
                }
                Some(entry) => {
                    entry.event.count += event.count;
                    entry.event.first_at = event.first_at;
                    entry.ever_stored = true;
                }
            }
        }
        self.make_room(now);
    }

    /// What is to be written, at most `most` lines: what has to go first, then in the order in which it happened.
    pub fn unwritten(&self, most: usize) -> Vec<Line> {
        let gone = self.doomed.iter().map(|id| (id.clone(), None));
        let mut new: Vec<(&String, &Event)> = (self.entries.iter())
            .filter(|(_, entry)| !entry.stored)
            .map(|(id, entry)| (id, &entry.event))
            .collect();
        new.sort_by_key(|(id, event)| (event.last_at, *id));
        let new = new
            .into_iter()
            .map(|(id, event)| (id.clone(), Some(event.clone())));
        gone.chain(new).take(most).collect()
    }

    /// Whether there is something to be written.
    pub fn is_unwritten(&self) -> bool {
        !self.doomed.is_empty() || self.entries.values().any(|entry| !entry.stored)
    }

    /// Takes in that `lines` are stored.
    pub fn written(&mut self, lines: Vec<Line>) {
        for (id, event) in lines {
            match (event, self.entries.get_mut(&id)) {
                (None, _) => drop(self.doomed.remove(&id)),
                // It may have happened again meanwhile.
                (Some(event), Some(entry)) => {
                    entry.stored |= entry.event == event;
                    entry.ever_stored = true;
                }
                // It had to go meanwhile.
                (Some(_), None) => drop(self.doomed.insert(id)),
            }
        }
    }

    /// Forgets what the store has let go: stored events that last happened longer ago than `lifetime`.
    pub fn expire(&mut self, lifetime: Duration, now: Timestamp) {
        self.entries
            .retain(|_, entry| !entry.stored || now.since(entry.event.last_at) <= lifetime);
    }
}

/// What the key of an event ends with: the same for what counts as the same event.
fn id(note: &Note) -> String {
    let text = format!("{}\n{}\n{}", note.object, note.reason, note.message);
    let digits = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    digits[..ID_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(most: usize) -> Journal {
        Journal::new("agent n".to_owned(), Object::Cluster, most)
    }

    fn note(reason: &str) -> Note {
        Note::new(Object::Cluster, reason, "")
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1_000)
    }

    fn counts(journal: &Journal) -> Vec<(String, u64)> {
        let lines = journal
            .unwritten(99)
            .into_iter()
            .filter_map(|(_, event)| event);
        lines
            .map(|event| (event.note.reason, event.count))
            .collect()
    }

    #[test]
    fn the_same_event_again_counts_up() {
        let mut journal = journal(9);
        journal.note([note("Exited")], at(1));
        journal.note([note("Started")], at(2));
        journal.note([note("Exited")], at(3));
        assert_eq!(
            counts(&journal),
            [("Started".to_owned(), 1), ("Exited".to_owned(), 2)]
        );
        let exited = journal.unwritten(9)[1].1.clone().unwrap();
        assert_eq!((exited.first_at, exited.last_at), (at(1), at(3)));
    }

    #[test]
    fn what_is_stored_is_not_written_again_unless_it_happens_again() {
        let mut journal = journal(9);
        journal.note([note("Exited")], at(1));
        let lines = journal.unwritten(9);
        // While it was being written it happened again.
        journal.note([note("Exited")], at(2));
        journal.written(lines);
        assert_eq!(counts(&journal), [("Exited".to_owned(), 2)]);
        journal.written(journal.unwritten(9));
        assert!(!journal.is_unwritten());
    }

    #[test]
    fn stored_ones_make_room_first_and_are_deleted() {
        let mut journal = journal(2);
        journal.note([note("A")], at(1));
        journal.note([note("B")], at(2));
        let lines = journal.unwritten(9);
        let (oldest, _) = lines[0].clone();
        journal.written(lines);
        journal.note([note("C")], at(3));
        let lines = journal.unwritten(9);
        assert_eq!(lines[0], (oldest, None));
        assert_eq!(counts(&journal), [("C".to_owned(), 1)]);
    }

    #[test]
    fn what_goes_before_it_was_stored_is_counted() {
        let mut journal = journal(3);
        for reason in ["A", "B", "C", "D", "E"] {
            journal.note([note(reason)], at(1));
        }
        // Two of the five went, and one more for the event that says so.
        let counts = counts(&journal);
        let dropped = counts.iter().find(|(reason, _)| reason == DROPPED);
        assert_eq!(dropped, Some(&(DROPPED.to_owned(), 3)));
        assert_eq!(counts.len(), 3);
    }

    #[test]
    fn counting_goes_on_from_what_the_store_holds() {
        let mut before = journal(9);
        before.note([note("Exited")], at(1));
        let (id, event) = before.unwritten(9).remove(0);
        let mut journal = journal(9);
        journal.note([note("Exited")], at(5));
        journal.recall([(id, event.unwrap())], at(6));
        let event = journal.unwritten(9).remove(0).1.unwrap();
        assert_eq!(
            (event.count, event.first_at, event.last_at),
            (2, at(1), at(5))
        );
    }

    #[test]
    fn what_the_store_lets_go_is_forgotten() {
        let mut journal = journal(9);
        journal.note([note("A")], at(1));
        journal.expire(KEPT, at(99_999));
        assert!(journal.is_unwritten(), "it was never stored");
        journal.written(journal.unwritten(9));
        journal.expire(KEPT, at(99_999));
        assert!(journal.entries.is_empty());
    }
}
