//! An endpoint as it was seen when it was answered.

use std::sync::Arc;

use crate::{
    model::{Moment, service::Labels},
    view::{Directory, Endpoint, Load},
};

/// An endpoint with what may have changed a moment later. Small: where it is, it shares with all others who were
/// told of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it is, and what runs there.
    pub endpoint: Arc<Endpoint>,
    /// The labels of its node.
    pub labels: Arc<Labels>,
    /// What it last said of its load.
    pub load: Load,
    /// What `leastLoad` goes by; infinite: it takes no requests.
    pub effective_load: f64,
    /// Whether its node has not been heard of for a while.
    pub suspect: bool,
    /// Whether it comes after all others, because calls to it fail.
    pub ejected: bool,
}

impl Seen {
    /// The endpoint as it is `now`, to be named to somebody.
    pub(super) fn of(endpoint: Arc<Endpoint>, directory: &Directory, now: Moment) -> Self {
        endpoint.note_named(now);
        Self {
            labels: endpoint.node().labels(),
            load: endpoint.load(),
            effective_load: directory.effective_load(&endpoint).unwrap_or(f64::INFINITY),
            suspect: !endpoint.node().is_trusted(),
            ejected: endpoint.is_ejected(),
            endpoint,
        }
    }

    /// Where it is; there is one endpoint at a place.
    pub(super) fn place(&self) -> (&str, u16) {
        (self.endpoint.host(), self.endpoint.port())
    }

    /// Whether both say the same, save of the load.
    pub(super) fn describes_like(&self, other: &Self) -> bool {
        let (own, others) = (&self.endpoint, &other.endpoint);
        let same_endpoint = Arc::ptr_eq(own, others)
            || self.place() == other.place()
                && own.instance() == others.instance()
                && own.node().name() == others.node().name();
        let same_labels = Arc::ptr_eq(&self.labels, &other.labels) || self.labels == other.labels;
        let same_use = (self.suspect, self.ejected) == (other.suspect, other.ejected);
        same_endpoint && same_labels && same_use
    }
}
