//! The watchers of one stream. They keep no queue of events: each remembers how far it has come and
//! reads on from the map's history, so that a slow reader costs nothing and is at last compacted.
//!
//! Pure: what to answer next is decided here, when is decided by the stream
//! ([`super::service::watch`]).

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use etcd_client::{
    EventType, WatchFilterType,
    proto::{PbEvent, PbWatchRequestUnion, PbWatchResponse},
};

use super::{
    interval::Interval,
    kv,
    mvcc::{Map, Version},
};

/// The watch id of answers that belong to no watcher.
const NO_WATCHER: i64 = -1;

/// After this many revisions with events a response is full, as in etcd.
const MAX_REVISIONS: usize = 1_000;

/// After this many bytes of keys and values a response is full; clients accept 4 MiB by default.
const MAX_BYTES: usize = 1 << 20;

/// All watchers of one stream, and the answers to its requests that have not been sent.
#[derive(Default)]
pub(super) struct Watchers {
    watchers: BTreeMap<i64, Watcher>,
    /// Where the search for a free id begins.
    next_id: i64,
    /// Sent before any event.
    answers: VecDeque<PbWatchResponse>,
    /// Whether the client has asked how far the stream is.
    is_progress_wanted: bool,
    /// The watcher that had the last response: the others come first.
    last: i64,
}

struct Watcher {
    interval: Interval,
    /// The first revision not looked at; none once it was compacted away and the watcher cancelled.
    next: Option<i64>,
    wants_puts: bool,
    wants_deletes: bool,
    wants_previous: bool,
    /// Wants to hear from time to time how far it is.
    wants_progress: bool,
    /// Has been silent since the last [`Watchers::tick`].
    is_silent: bool,
}

impl Watchers {
    /// Whether an answer waits to be sent. Until then no further request should be taken.
    pub(super) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Takes a request of the client.
    pub(super) fn handle(&mut self, map: &Map, request: PbWatchRequestUnion) {
        match request {
            PbWatchRequestUnion::CreateRequest(create) => {
                // No key means the smallest.
                let key: &[u8] = if create.key.is_empty() {
                    b"\0"
                } else {
                    &create.key
                };
                let next = match create.start_revision {
                    0 => map.revision() + 1,
                    revision => revision,
                };
                let wants = |filter| !create.filters.contains(&(filter as i32));
                let watcher = Watcher {
                    interval: Interval::new(key, &create.range_end),
                    next: Some(next),
                    wants_puts: wants(WatchFilterType::NoPut),
                    wants_deletes: wants(WatchFilterType::NoDelete),
                    wants_previous: create.prev_kv,
                    wants_progress: create.progress_notify,
                    is_silent: true,
                };
                self.create(map, create.watch_id, watcher);
            }
            PbWatchRequestUnion::CancelRequest(cancel) => {
                // An unknown watcher is left without an answer, as in etcd.
                if self.watchers.remove(&cancel.watch_id).is_some() {
                    self.answers.push_back(PbWatchResponse {
                        header: kv::at(map.revision()),
                        watch_id: cancel.watch_id,
                        canceled: true,
                        ..PbWatchResponse::default()
                    });
                }
            }
            PbWatchRequestUnion::ProgressRequest(_) => self.is_progress_wanted = true,
        }
    }

    /// Adds a watcher; id 0 takes a free one.
    fn create(&mut self, map: &Map, id: i64, watcher: Watcher) {
        let refusal = if watcher.interval.is_empty() {
            Some("mvcc: watcher range is empty")
        } else if id != 0 && self.watchers.contains_key(&id) {
            Some("mvcc: duplicate watch ID provided on the WatchStream")
        } else {
            None
        };
        let watch_id = match (refusal, id) {
            (Some(_), _) => NO_WATCHER,
            (None, 0) => self.free_id(),
            (None, id) => id,
        };
        if refusal.is_none() {
            self.watchers.insert(watch_id, watcher);
        }
        self.answers.push_back(PbWatchResponse {
            header: kv::at(map.revision()),
            watch_id,
            created: true,
            canceled: refusal.is_some(),
            cancel_reason: refusal.unwrap_or_default().to_owned(),
            ..PbWatchResponse::default()
        });
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// The next response: an answer to a request, else what a watcher has not seen, else the progress
    /// that was asked for. A progress is said only after all events up to it, unlike etcd 3.4, which
    /// may say it ahead of them.
    pub(super) fn next(&mut self, map: &Map) -> Option<PbWatchResponse> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let others = (Bound::Excluded(self.last), Bound::Unbounded);
        let mut turn: Vec<i64> = self.watchers.range(others).map(|(id, _)| *id).collect();
        turn.extend(self.watchers.range(..=self.last).map(|(id, _)| *id));
        for id in turn {
            let watcher = self.watchers.get_mut(&id)?;
            if let Some(mut response) = watcher.advance(map) {
                response.watch_id = id;
                self.last = id;
                return Some(response);
            }
        }
        std::mem::take(&mut self.is_progress_wanted).then(|| PbWatchResponse {
            header: kv::at(map.revision()),
            watch_id: NO_WATCHER,
            ..PbWatchResponse::default()
        })
    }

    /// Tells those watchers that asked for it, and have had nothing else since the last time, how far
    /// they are.
    pub(super) fn tick(&mut self, map: &Map) {
        for (id, watcher) in &mut self.watchers {
            let is_synced = watcher.next.is_some_and(|next| next > map.revision());
            if watcher.wants_progress && watcher.is_silent && is_synced {
                self.answers.push_back(PbWatchResponse {
                    header: kv::at(map.revision()),
                    watch_id: *id,
                    ..PbWatchResponse::default()
                });
            }
            watcher.is_silent = true;
        }
    }
}

impl Watcher {
    /// Reads on in the history: whole revisions, until there is enough for one response.
    fn advance(&mut self, map: &Map) -> Option<PbWatchResponse> {
        let first = self.next?;
        if first < map.compacted() {
            self.next = None;
            return Some(PbWatchResponse {
                // As in etcd, without a revision.
                header: kv::at(0),
                canceled: true,
                compact_revision: map.compacted(),
                ..PbWatchResponse::default()
            });
        }
        if first > map.revision() {
            return None;
        }
        let mut events = Vec::new();
        let (mut revisions, mut bytes) = (0, 0);
        let mut seen = map.revision();
        for (revision, changes) in map.changes_from(first) {
            let before = events.len();
            for change in changes.iter().filter(|change| self.wants(change)) {
                bytes += change.key.len() + change.value.as_ref().map_or(0, |value| value.len());
                events.push(self.event(map, change));
            }
            revisions += usize::from(events.len() > before);
            if revisions >= MAX_REVISIONS || bytes >= MAX_BYTES {
                seen = revision;
                break;
            }
        }
        self.next = Some(seen + 1);
        if events.is_empty() {
            return None;
        }
        self.is_silent = false;
        Some(PbWatchResponse {
            header: kv::at(seen),
            events,
            ..PbWatchResponse::default()
        })
    }

    fn wants(&self, change: &Version) -> bool {
        let is_wanted = if change.value.is_some() {
            self.wants_puts
        } else {
            self.wants_deletes
        };
        is_wanted && self.interval.contains(&change.key)
    }

    fn event(&self, map: &Map, change: &Version) -> PbEvent {
        let is_create = change.create_revision == change.mod_revision;
        let before = change.mod_revision - 1;
        // Where the revision before has been compacted there is none, as in etcd.
        let previous = (self.wants_previous && !is_create)
            .then(|| map.get(&change.key, before))
            .flatten();
        let kind = match change.value {
            Some(_) => EventType::Put,
            None => EventType::Delete,
        };
        PbEvent {
            r#type: kind as i32,
            kv: Some(kv::key_value(change)),
            prev_kv: previous.map(|version| kv::key_value(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(map: &mut Map, key: &'static str, value: impl Into<Bytes>) {
        let mut write = map.write();
        write.put(key.into(), value.into(), 0);
        write.commit();
    }

    /// Asks for a watcher of `key` and takes the answer.
    fn create(watchers: &mut Watchers, map: &Map, key: &str, start_revision: i64) {
        let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
        if let PbWatchRequestUnion::CreateRequest(create) = &mut request {
            create.key = key.into();
            create.start_revision = start_revision;
            create.progress_notify = true;
        }
        watchers.handle(map, request);
        assert!(watchers.next(map).unwrap().created);
    }

    fn revision(response: &PbWatchResponse) -> i64 {
        response.header.as_ref().unwrap().revision
    }

    #[test]
    fn a_watcher_far_behind_catches_up_in_responses_of_bounded_size() {
        let mut map = Map::new();
        for _ in 0..2_500 {
            put(&mut map, "a", "1");
        }
        let mut watchers = Watchers::default();
        create(&mut watchers, &map, "a", 1);
        let responses: Vec<_> = std::iter::from_fn(|| watchers.next(&map)).collect();
        let events = responses.iter().map(|response| response.events.len());
        assert_eq!(events.collect::<Vec<_>>(), [1_000, 1_000, 500]);
        assert_eq!(
            responses.iter().map(revision).collect::<Vec<_>>(),
            [1_001, 2_001, 2_501]
        );

        for _ in 0..10 {
            put(&mut map, "a", vec![0; MAX_BYTES / 4]);
        }
        let events =
            std::iter::from_fn(|| watchers.next(&map)).map(|response| response.events.len());
        assert_eq!(events.collect::<Vec<_>>(), [4, 4, 2]);
    }

    #[test]
    fn a_watcher_behind_the_compaction_is_cancelled_and_told_where_to_begin() {
        let mut map = Map::new();
        let mut watchers = Watchers::default();
        create(&mut watchers, &map, "a", 0);
        for _ in 0..3 {
            put(&mut map, "a", "1");
        }
        map.compact(4).unwrap();
        let response = watchers.next(&map).unwrap();
        assert!(response.canceled);
        assert_eq!(response.compact_revision, 4);
        put(&mut map, "a", "1");
        assert_eq!(watchers.next(&map), None);
    }

    #[test]
    fn progress_is_said_after_all_events_before_it() {
        let mut map = Map::new();
        let mut watchers = Watchers::default();
        create(&mut watchers, &map, "a", 0);
        put(&mut map, "a", "1");
        let request = PbWatchRequestUnion::ProgressRequest(Default::default());
        watchers.handle(&map, request);
        assert_eq!(watchers.next(&map).unwrap().events.len(), 1);
        let progress = watchers.next(&map).unwrap();
        assert_eq!((progress.watch_id, revision(&progress)), (-1, 2));
        assert_eq!(watchers.next(&map), None);
    }

    #[test]
    fn silent_watchers_are_told_how_far_they_are_and_others_are_not() {
        let mut map = Map::new();
        let mut watchers = Watchers::default();
        create(&mut watchers, &map, "busy", 0);
        create(&mut watchers, &map, "silent", 0);
        put(&mut map, "busy", "1");
        while watchers.next(&map).is_some() {}
        watchers.tick(&map);
        let progress = watchers.next(&map).unwrap();
        assert_eq!((progress.watch_id, revision(&progress)), (1, 2));
        assert_eq!(watchers.next(&map), None);
        watchers.tick(&map);
        assert_eq!(std::iter::from_fn(|| watchers.next(&map)).count(), 2);
    }

    #[test]
    fn watchers_of_one_stream_take_turns() {
        let mut map = Map::new();
        let mut watchers = Watchers::default();
        create(&mut watchers, &map, "a", 0);
        create(&mut watchers, &map, "a", 0);
        let mut turns = Vec::new();
        for _ in 0..4 {
            put(&mut map, "a", "1");
            turns.push(watchers.next(&map).unwrap().watch_id);
        }
        assert_eq!(turns, [1, 0, 1, 0]);
    }
}
