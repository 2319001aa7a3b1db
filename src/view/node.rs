//! The hosts of endpoints, as far as choices depend on them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use arc_swap::ArcSwap;

use crate::model::{Name, service::Labels};

/// A node, shared by its endpoints.
#[derive(Debug)]
pub struct Node {
    name: Name,
    labels: ArcSwap<Labels>,
    trusted: AtomicBool,
}

impl Node {
    /// A node of which nothing is known but its name.
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            labels: ArcSwap::default(),
            trusted: AtomicBool::new(false),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its labels, as its agent said last.
    pub fn labels(&self) -> Arc<Labels> {
        self.labels.load_full()
    }

    /// Whether its agent is there and has its instances in hand; else its endpoints are suspect.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Relaxed)
    }

    /// Takes over what a session says; returns whether that is new.
    pub(super) fn set(&self, trusted: bool, labels: Option<Labels>) -> bool {
        let mut changed = self.trusted.swap(trusted, Relaxed) != trusted;
        if let Some(labels) = labels
            && **self.labels.load() != labels
        {
            self.labels.store(Arc::new(labels));
            changed = true;
        }
        changed
    }
}
