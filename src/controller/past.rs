//! How far the store had come, as far as this controller has seen it, or the one before it on its state directory.

use std::path::Path;

use crate::{host::Host, model::Moment, store::Mark};

/// The file in the state directory. An agent may keep its own things beside it.
const FILE: &str = "controller.mark";

/// The highest revision of the store, kept on disk where there is a place for it.
pub(super) struct Past {
    /// The store's uuid.
    store: String,
    seen: i64,
    mark: Option<Mark>,
}

impl Past {
    /// What the controller before this one has seen of that store. Nothing, where nothing can be kept.
    pub(super) fn recall(directory: Option<&Path>, store: String, host: &Host) -> Self {
        let mark = directory.and_then(|directory| {
            if let Err(error) = host.disk.create_directory(directory) {
                tracing::warn!(
                    directory = %directory.display(), %error,
                    "how far the store has come cannot be kept; choose another directory with --state-dir"
                );
                return None;
            }
            Some(Mark::open(host, directory.join(FILE)))
        });
        Self {
            seen: mark.as_ref().map_or(0, |mark| mark.of(&store)),
            store,
            mark,
        }
    }

    /// The highest revision that was seen.
    pub(super) fn seen(&self) -> i64 {
        self.seen
    }

    /// The store was seen at `revision`.
    pub(super) fn note(&mut self, revision: i64) {
        self.seen = self.seen.max(revision);
        if let Some(mark) = &mut self.mark {
            mark.note(&self.store, self.seen);
        }
    }

    /// Writes down what is due. Returns when there is more to write.
    pub(super) fn keep(&mut self, now: Moment) -> Option<Moment> {
        self.mark.as_mut()?.keep(now)
    }
}
