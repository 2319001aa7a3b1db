//! Falls of the store: it was restored from a backup, and what it says waits until an operator has confirmed that.

use super::Cluster;
use crate::model::Name;

impl Cluster {
    /// The store is known to have been at `revision`, and has another past now.
    pub fn fell_from(&mut self, revision: i64) {
        if revision > self.fallen_from {
            self.fallen_from = revision;
            self.touched.add_everything();
        }
    }

    /// The same, seen to happen: what has been confirmed so far was said of earlier falls.
    pub fn fell_again_from(&mut self, revision: i64) {
        self.fell_from(revision.max(self.restore_confirmed() + 1));
    }

    /// The revision from which the store has fallen, as long as nobody has confirmed that.
    pub fn restored_from(&self) -> Option<i64> {
        (self.fallen_from > self.restore_confirmed()).then_some(self.fallen_from)
    }

    fn restore_confirmed(&self) -> i64 {
        let spec = self.spec.as_ref().and_then(|spec| spec.value);
        spec.map_or(0, |spec| spec.restore_confirmed)
    }

    /// What a session says of falls: that it began in a store that is not as far as its agent had seen it, or that its agent
    /// has noticed one since.
    pub(super) fn look_back(&mut self, name: &Name) {
        let stored = self.nodes.get(name).and_then(|node| node.session.as_ref());
        let session = stored.and_then(|stored| Some((stored.value.as_ref()?, stored.revision)));
        let Some((session, revision)) = session else {
            return;
        };
        let is_ahead = session.seen_revision > revision;
        let before = if is_ahead { session.seen_revision } else { 0 };
        self.fell_from(before.max(session.fell_from));
    }
}
