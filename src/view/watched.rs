//! Being told when the members of a name change.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt as _, channel::oneshot};

use super::{
    Directory, Endpoint,
    members::Members,
    share::{self, Share},
};
use crate::model::service::Weighing;

/// Those who wait for a change. The only lock of the view; no pick takes it.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Vec<oneshot::Sender<()>>>);

impl Watched {
    /// Resolves, one way or the other, at the next change.
    pub(super) fn changed(&self) -> oneshot::Receiver<()> {
        let (waiting, changed) = oneshot::channel();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            // Those who have gone meanwhile.
            all.retain(|waiting| !waiting.is_canceled());
        }
        all.push(waiting);
        changed
    }

    /// Tells all who wait.
    pub(super) fn wake(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
    }
}

impl Directory {
    /// Whether anything is found under `name`.
    pub fn has(&self, name: &str) -> bool {
        self.members(name).is_some()
    }
}

/// The endpoints of a name at one time.
pub struct Described {
    members: Arc<Members>,
    changed: oneshot::Receiver<()>,
}

impl Described {
    pub(super) fn new(members: Arc<Members>, changed: oneshot::Receiver<()>) -> Self {
        Self { members, changed }
    }

    /// The endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.members.endpoints().iter()
    }

    /// Whether they are given out by tickets only.
    pub fn is_exclusive(&self) -> bool {
        self.members.rules().spec.exclusive
    }

    /// Those that take requests, for clients that choose by themselves.
    pub fn shares(&self) -> Vec<Share> {
        share::shares(&self.members)
    }

    /// Who weighs them, where clients choose by themselves.
    pub fn weighing(&self) -> Weighing {
        self.members.rules().spec.weights.unwrap_or_default()
    }

    /// Whether nothing but loads changed from one to the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.members, &other.members)
    }

    /// Resolves when they are different.
    pub fn changed(&mut self) -> impl Future<Output = ()> + Send {
        // Dropped or sent, it says the same.
        (&mut self.changed).map(drop)
    }
}
