//! One stream of changes from one endpoint: ends when anything is wrong with it.

use std::mem;

use etcd_client::{
    Event, EventType, WatchOptions, WatchRequestSender, WatchResponseStream, WatchStream,
};
use futures::FutureExt as _;

use super::{Change, Entry, Store, failure::Failure, range::Range};

/// A stream with a watcher for each range.
pub(super) struct Watch {
    endpoint: usize,
    requests: WatchRequestSender,
    answers: WatchResponseStream,
    /// So many are asked for.
    expected: usize,
    /// So many exist already.
    watchers: Vec<Watcher>,
}

/// The watcher of one range. They come into being in the order of the ranges.
struct Watcher {
    id: i64,
    /// What came of an answer that the server sends in several parts.
    parts: Vec<Change>,
}

/// What the server said.
pub(super) enum Heard {
    /// All watchers exist; the store was at this revision.
    Created(i64),
    /// Changes of one range, whole revisions in their order.
    Changes(usize, Vec<Change>),
    /// Nothing new, but the server lives. The revision it names is not to be trusted: etcd 3.4 may
    /// send it ahead of changes that are older.
    Alive,
}

impl Watch {
    /// A stream at `endpoint` of what happens in each range after the revision beside it.
    pub(super) async fn open(
        store: Store,
        endpoint: usize,
        ranges: Vec<(Range, i64)>,
    ) -> Result<Self, Failure> {
        let Some((first, others)) = ranges.split_first() else {
            return std::future::pending().await;
        };
        let opening = store.attempt_at(endpoint, async |client| {
            let (key, options) = request(first);
            let mut stream: WatchStream = client.watch_client().watch(key, options).await?;
            for range in others {
                let (key, options) = request(range);
                stream.watch(key, options).await?;
            }
            Ok(stream)
        });
        let (requests, answers) = opening.await?.split();
        Ok(Self {
            endpoint,
            requests,
            answers,
            expected: ranges.len(),
            watchers: Vec::new(),
        })
    }

    /// Index of the endpoint that serves the stream.
    pub(super) fn endpoint(&self) -> usize {
        self.endpoint
    }

    /// Asks the server for a sign of life, which will be [`Heard::Alive`].
    pub(super) fn ask(&mut self) {
        // Never waits for room: a request that does not fit would only be behind others like it.
        let _ = self.requests.request_progress().now_or_never();
    }

    /// The next answer. Cancel-safe. After an error the stream is of no more use;
    /// [`Failure::Compacted`]: changes are missing.
    pub(super) async fn next(&mut self) -> Result<Heard, Failure> {
        let answer = match self.answers.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(Failure::Lost("the server ended the stream".to_owned())),
            Err(error) => return Err(error.into()),
        };
        if answer.canceled() {
            let reason = answer.cancel_reason();
            return Err(match answer.compact_revision() {
                // A right that we do not have, or a login that has run out.
                0 if reason.contains("permission denied") => Failure::Refused(reason.to_owned()),
                0 => Failure::Lost(format!("watch ended: {reason}")),
                _ => Failure::Compacted,
            });
        }
        let id = answer.watch_id();
        if answer.created() {
            self.watchers.push(Watcher {
                id,
                parts: Vec::new(),
            });
            let revision = answer.header().map_or(0, |header| header.revision());
            return Ok(match self.watchers.len() == self.expected {
                true => Heard::Created(revision),
                false => Heard::Alive,
            });
        }
        let Some(index) = self.watchers.iter().position(|watcher| watcher.id == id) else {
            return Ok(Heard::Alive);
        };
        let parts = &mut self.watchers[index].parts;
        parts.extend(answer.events().iter().filter_map(change));
        if answer.0.fragment || parts.is_empty() {
            return Ok(Heard::Alive);
        }
        Ok(Heard::Changes(index, mem::take(parts)))
    }
}

fn request((range, after): &(Range, i64)) -> (Vec<u8>, Option<WatchOptions>) {
    let options = WatchOptions::new()
        .with_range(range.end.clone())
        .with_start_revision(after + 1)
        // Else a large transaction could exceed what the client library accepts.
        .with_fragment();
    (range.start.clone(), Some(options))
}

/// The change; none for a key that is not text, which is not one of ours.
fn change(event: &Event) -> Option<Change> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(Entry::of(kv.clone())?),
        EventType::Delete => Change::Delete {
            key: kv.key_str().ok()?.to_owned(),
            revision: kv.mod_revision(),
        },
    })
}
