//! All endpoints of a service, and what changes.

use std::sync::Arc;

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Answers, Refused, Seen};
use crate::{host::Clock, view::Described};

/// One reader of a service's endpoints. What it holds is small: the endpoints themselves are shared.
pub struct Watching {
    answers: Answers,
    service: String,
    /// What is to be told, or was told last.
    described: Described,
    /// What was told; none: nothing yet.
    told: Option<Told>,
    _permit: OwnedSemaphorePermit,
}

/// What is different from what was told before.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Whether `changed` is everything there is; so it is the first time.
    pub complete: bool,
    /// Endpoints that are new or described differently; a load that changes is no reason.
    pub changed: Vec<Seen>,
    /// Where endpoints were that are gone or not healthy any more.
    pub removed: Vec<(String, u16)>,
    /// How long ago the store was last heard, in milliseconds.
    pub age_millis: u64,
}

impl Watching {
    pub(super) fn new(
        answers: Answers,
        service: String,
        described: Described,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            answers,
            service,
            described,
            told: None,
            _permit: permit,
        }
    }

    /// The next thing to tell, once there is one. Cancel-safe.
    ///
    /// # Errors
    /// The service is gone, or is given out by tickets now.
    pub async fn next(&mut self) -> Result<Changes, Refused> {
        loop {
            if self.told.is_some() {
                self.described.changed().await;
                self.described = self.answers.describe(&self.service)?;
            }
            let directory = &self.answers.directory;
            let endpoints = self.described.endpoints();
            let moment = self.answers.host.clock.now();
            let mut now: Vec<Seen> = endpoints
                .map(|endpoint| Seen::of(endpoint.clone(), directory, moment))
                .collect();
            now.sort_by(|a, b| a.place().cmp(&b.place()));
            let complete = self.told.is_none();
            let told = self.told.as_ref().map(|told| &told.seen[..]);
            let (changed, removed) = difference(told.unwrap_or_default(), &now);
            self.told = Some(Told::new(now, Arc::clone(&self.answers.host.clock)));
            if complete || !changed.is_empty() || !removed.is_empty() {
                return Ok(Changes {
                    complete,
                    changed,
                    removed,
                    age_millis: self.answers.age_millis(),
                });
            }
        }
    }

    /// One change after the other, until `stop` or an error. Nothing is made before the reader has room for it:
    /// between two looks any number of changes may have passed.
    pub fn until(self, stop: CancellationToken) -> BoxStream<'static, Result<Changes, Refused>> {
        let changes = stream::unfold(Some(self), |watching| async {
            let mut watching = watching?;
            let next = watching.next().await;
            let goes_on = next.is_ok().then_some(watching);
            Some((next, goes_on))
        });
        changes.take_until(stop.cancelled_owned()).boxed()
    }
}

/// What a reader was told, sorted by place: until it is told otherwise it may call there.
struct Told {
    seen: Vec<Seen>,
    clock: Arc<dyn Clock>,
}

impl Told {
    fn new(seen: Vec<Seen>, clock: Arc<dyn Clock>) -> Self {
        seen.iter().for_each(|seen| seen.endpoint.watch());
        Self { seen, clock }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // What replaces it, or that there is no more, is only now on its way.
        let now = self.clock.now();
        for seen in &self.seen {
            seen.endpoint.note_named(now);
            seen.endpoint.unwatch();
        }
    }
}

/// What is new or described differently, and where something is gone. Both sides are sorted by place.
fn difference(told: &[Seen], now: &[Seen]) -> (Vec<Seen>, Vec<(String, u16)>) {
    let mut changed = Vec::new();
    let mut removed = Vec::new();
    let gone = |seen: &Seen| (seen.endpoint.host().to_owned(), seen.endpoint.port());
    let mut told = told.iter().peekable();
    for seen in now {
        while let Some(former) = told.next_if(|former| former.place() < seen.place()) {
            removed.push(gone(former));
        }
        let former = told.next_if(|former| former.place() == seen.place());
        if !former.is_some_and(|former| former.describes_like(seen)) {
            changed.push(seen.clone());
        }
    }
    removed.extend(told.map(gone));
    (changed, removed)
}
