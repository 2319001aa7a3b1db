//! List, then watch, for good.

use std::time::Duration;

use super::Entry;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put(Entry),
    /// The key was deleted, at this revision or (when a relist found it missing) before it.
    Delete {
        /// The key.
        key: String,
        /// The revision.
        revision: i64,
    },
}

/// Changes that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// In the order in which they happened; per key never older than what was said before.
    pub changes: Vec<Change>,
    /// Everything under the changes' prefixes is known up to this revision.
    pub revision: i64,
}

/// A followed set of prefixes.
///
/// The first update holds everything under all of them; each later one only what changed. Broken
/// streams, silent servers and compacted revisions are handled inside: after a relist the
/// difference to what was said before is reported, deletions included.
pub struct Follow {}

#[expect(clippy::todo)]
impl Follow {
    /// The next update. Waits for good when nothing changes or the store is away. Cancel-safe.
    pub async fn next(&mut self) -> Update {
        todo!()
    }

    /// For how long nothing has been heard from the store; small while all is well.
    pub fn silence(&self) -> Duration {
        todo!()
    }
}
