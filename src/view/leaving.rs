//! Endpoints that clients are being sent away from, while what runs there finishes its work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Release},
    },
};

use super::{Directory, Endpoint};
use crate::model::{Instance, Name};

/// All of them, by node and instance.
pub type Leaving = BTreeMap<(Name, Instance), Leaver>;

/// One of them.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// The same that clients were told of.
    pub endpoint: Arc<Endpoint>,
    /// The names that it is found by.
    pub names: BTreeSet<String>,
}

impl Directory {
    /// Endpoints that clients are sent away from, while what runs there finishes its work.
    pub fn leaving(&self) -> Arc<Leaving> {
        self.leaving.load_full()
    }

    /// The revision of the store up to which the states of all instances are known; 0: none.
    pub fn seen(&self) -> i64 {
        self.seen.load(Acquire)
    }

    /// Notes that they are known up to there. To be called after they were taken in.
    pub fn note_seen(&self, revision: i64) {
        self.seen.store(revision, Release);
    }

    /// Replaces those that clients are sent away from.
    pub(super) fn set_leaving(&self, leaving: Leaving) {
        self.leaving.store(Arc::new(leaving));
    }
}
