//! What a name finds, and how often it was asked for.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;

use super::{members::Members, watched::Watched};

/// One name.
pub(super) struct Cell {
    pub(super) members: ArcSwap<Members>,
    pub(super) watched: Watched,
    /// Picks that were answered. Apart from the members, which every pick reads: a line of the cache that all
    /// processors write to would slow that down.
    picked: Arc<AtomicU64>,
}

impl Cell {
    /// One that finds `members`, and goes on counting where that of the same name did which it takes the place of.
    pub(super) fn new(members: Members, former: Option<&Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            members: ArcSwap::from_pointee(members),
            watched: Watched::default(),
            picked: former.map_or_else(Arc::default, |former| Arc::clone(&former.picked)),
        })
    }

    /// A pick was answered.
    pub(super) fn note_pick(&self) {
        self.picked.fetch_add(1, Relaxed);
    }

    /// Picks that were answered since the name was first found.
    pub(super) fn picks(&self) -> u64 {
        self.picked.load(Relaxed)
    }
}
