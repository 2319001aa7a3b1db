//! The requests that a worker works on now: counted for its load reports, cancelled by their user.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio_util::sync::CancellationToken;

/// For whom a request is worked on, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Name of the user.
    pub user_name: String,
    /// The environment, as the users of the worker call it.
    pub environment: String,
}

/// The running requests of a worker. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Requests(Arc<Shared>);

struct Shared {
    capacity: u32,
    /// Bits of an f64; negative: not known.
    known_rate: AtomicU64,
    running: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    requests: BTreeMap<u64, (Owner, CancellationToken)>,
}

impl Requests {
    /// No requests yet, and room for `capacity` at once.
    pub fn new(capacity: u32) -> Self {
        Self(Arc::new(Shared {
            capacity,
            known_rate: AtomicU64::new((-1.0_f64).to_bits()),
            running: Mutex::default(),
        }))
    }

    /// Begins a request; it ends when what is returned is dropped. None when there is no room.
    pub fn begin(&self, owner: Owner) -> Option<Running> {
        let mut table = self.table();
        if table.requests.len() >= self.0.capacity as usize {
            return None;
        }
        let id = table.next;
        table.next += 1;
        let cancelled = CancellationToken::new();
        table.requests.insert(id, (owner, cancelled.clone()));
        Some(Running {
            requests: self.clone(),
            id,
            cancelled,
        })
    }

    /// Cancels the running requests of `owner`. Returns whether there were any.
    pub fn cancel(&self, owner: &Owner) -> bool {
        let table = self.table();
        let theirs = table.requests.values().filter(|(of, _)| of == owner);
        theirs.inspect(|(_, cancelled)| cancelled.cancel()).count() > 0
    }

    /// How many run now.
    pub fn current(&self) -> usize {
        self.table().requests.len()
    }

    /// How many can run at once.
    pub fn capacity(&self) -> u32 {
        self.0.capacity
    }

    /// The load rate that the worker computes itself, smaller is less busy; negative: it computes
    /// none, and its load is derived from the counts.
    pub fn known_rate(&self) -> f64 {
        f64::from_bits(self.0.known_rate.load(Relaxed))
    }

    /// Sets [`Requests::known_rate`].
    pub fn set_known_rate(&self, rate: f64) {
        self.0.known_rate.store(rate.to_bits(), Relaxed);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is worked on. Dropping it ends it.
pub struct Running {
    requests: Requests,
    id: u64,
    cancelled: CancellationToken,
}

impl Running {
    /// Resolves when its user cancels it.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.requests.table().requests.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn owner(user_name: &str, environment: &str) -> Owner {
        Owner {
            user_name: user_name.to_owned(),
            environment: environment.to_owned(),
        }
    }

    #[test]
    fn a_request_takes_a_unit_of_capacity_until_it_is_dropped() {
        let requests = Requests::new(2);
        let first = requests.begin(Owner::default()).unwrap();
        let _second = requests.begin(Owner::default()).unwrap();
        assert!(requests.begin(Owner::default()).is_none());
        assert_eq!(requests.current(), 2);
        drop(first);
        assert!(requests.begin(Owner::default()).is_some());
    }

    #[test]
    fn cancelling_reaches_the_requests_of_that_user_in_that_environment_only() {
        let requests = Requests::new(9);
        let theirs = requests.begin(owner("ann", "test")).unwrap();
        let elsewhere = requests.begin(owner("ann", "live")).unwrap();
        let others = requests.begin(owner("bob", "test")).unwrap();
        assert!(requests.cancel(&owner("ann", "test")));
        assert!(theirs.cancelled().now_or_never().is_some());
        assert!(elsewhere.cancelled().now_or_never().is_none());
        assert!(others.cancelled().now_or_never().is_none());
    }

    #[test]
    fn cancelling_says_when_there_was_nothing_to_cancel() {
        let requests = Requests::new(1);
        assert!(!requests.cancel(&owner("ann", "test")));
        drop(requests.begin(owner("ann", "test")));
        assert!(!requests.cancel(&owner("ann", "test")));
    }
}
