//! The requests that a worker works on now: counted for its load reports, cancelled by their user.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
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
    /// Bits of an f64; negative: not known.
    known_rate: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    capacity: Option<u32>,
    is_limited: bool,
    next: u64,
    calls: BTreeMap<u64, Call>,
    /// The time that all requests have taken together, up to `since`.
    busy: Duration,
    since: Option<Instant>,
}

/// What a worker has done so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    /// When that was.
    pub(super) at: Instant,
    /// Requests that have begun.
    pub(super) begun: u64,
    /// The time that all of them have taken together.
    pub(super) busy: Duration,
}

impl Table {
    /// Counts the time up to `now`. To be called before requests come or go.
    fn account(&mut self, now: Instant) {
        if let Some(since) = self.since {
            let running = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
            self.busy += now.duration_since(since) * running;
        }
        self.since = Some(now);
    }
}

impl Default for Requests {
    /// No requests yet, and a capacity that is not known.
    fn default() -> Self {
        Self(Arc::new(Shared {
            known_rate: AtomicU64::new((-1.0_f64).to_bits()),
            table: Mutex::default(),
        }))
    }
}

impl Requests {
    /// Begins a request; it ends when what is returned is dropped. A request without an owner cannot be
    /// cancelled. None when there is no room, which is never where requests are not limited.
    pub fn begin(&self, owner: Option<Owner>) -> Option<Running> {
        let mut table = self.table();
        let room = table.capacity.filter(|_| table.is_limited);
        if room.is_some_and(|room| table.calls.len() >= room as usize) {
            return None;
        }
        table.account(Instant::now());
        let id = table.next;
        table.next += 1;
        let call = Call::default();
        if let Some(owner) = owner {
            call.belongs_to(owner);
        }
        table.calls.insert(id, call.clone());
        Some(Running {
            requests: self.clone(),
            id,
            call,
        })
    }

    /// Cancels the running requests of `owner`. Returns whether there were any.
    pub fn cancel(&self, owner: &Owner) -> bool {
        let table = self.table();
        let theirs = table.calls.values().filter(|call| call.is_of(owner));
        theirs.inspect(|call| call.0.token.cancel()).count() > 0
    }

    /// What was done so far.
    pub(super) fn totals(&self) -> Totals {
        let mut table = self.table();
        let at = Instant::now();
        table.account(at);
        Totals {
            at,
            begun: table.next,
            busy: table.busy,
        }
    }

    /// How many run now.
    pub fn current(&self) -> usize {
        self.table().calls.len()
    }

    /// How many can run at once; none: not known.
    pub fn capacity(&self) -> Option<u32> {
        self.table().capacity
    }

    /// Sets [`Requests::capacity`]; what runs goes on.
    pub fn set_capacity(&self, capacity: Option<u32>) {
        self.table().capacity = capacity;
    }

    /// From now on no request begins beyond the capacity.
    pub fn limit(&self) {
        self.table().is_limited = true;
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
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is worked on. Dropping it ends it.
pub struct Running {
    requests: Requests,
    id: u64,
    call: Call,
}

impl Running {
    /// What its handler knows it by.
    pub fn call(&self) -> Call {
        self.call.clone()
    }

    /// Resolves when it is cancelled and its handler leaves the rest to us.
    pub(super) fn interrupted(&self) -> impl Future<Output = ()> + Send + 'static {
        let call = self.call();
        async move {
            call.0.token.cancelled().await;
            if call.0.is_token_taken.load(Relaxed) {
                std::future::pending().await
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut table = self.requests.table();
        table.account(Instant::now());
        table.calls.remove(&self.id);
    }
}

/// A request, as its handler sees it. Cheap to clone; clones are the same request. The default is one that nobody
/// cancels.
#[derive(Clone, Default)]
pub struct Call(Arc<Inner>);

#[derive(Default)]
struct Inner {
    owner: Mutex<Option<Owner>>,
    token: CancellationToken,
    is_token_taken: AtomicBool,
}

impl Call {
    /// That of the request a handler was given; none when no [`Layer`](super::Layer) counts it.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// Says whose it is, where only its message tells.
    pub fn belongs_to(&self, owner: Owner) {
        *self.0.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(owner);
    }

    /// Cancelled when its user cancels it. Whoever asks for it ends the request by themselves from then on;
    /// one whose token nobody has asked for is cut off.
    pub fn token(&self) -> CancellationToken {
        self.0.is_token_taken.store(true, Relaxed);
        self.0.token.clone()
    }

    fn is_of(&self, owner: &Owner) -> bool {
        let own = self.0.owner.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_ref() == Some(owner)
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

    fn is_cancelled(running: &Running) -> bool {
        running.interrupted().now_or_never().is_some()
    }

    #[test]
    fn a_request_takes_a_unit_of_limited_capacity_until_it_is_dropped() {
        let requests = Requests::default();
        requests.set_capacity(Some(2));
        requests.limit();
        let first = requests.begin(None).unwrap();
        let _second = requests.begin(None).unwrap();
        assert!(requests.begin(None).is_none());
        assert_eq!(requests.current(), 2);
        drop(first);
        assert!(requests.begin(None).is_some());
    }

    #[test]
    fn a_capacity_that_is_only_told_refuses_nobody() {
        let requests = Requests::default();
        requests.set_capacity(Some(1));
        let running = [requests.begin(None), requests.begin(None)];
        assert!(running.iter().all(Option::is_some));
        assert_eq!(requests.current(), 2);
    }

    #[test]
    fn cancelling_reaches_the_requests_of_that_user_in_that_environment_only() {
        let requests = Requests::default();
        let begin = |owner| requests.begin(owner).unwrap();
        let theirs = begin(Some(owner("ann", "test")));
        let elsewhere = begin(Some(owner("ann", "live")));
        let others = begin(Some(owner("bob", "test")));
        let nobodys = begin(None);
        assert!(requests.cancel(&owner("ann", "test")));
        assert!(is_cancelled(&theirs));
        assert!(
            ![&elsewhere, &others, &nobodys]
                .map(is_cancelled)
                .contains(&true)
        );
        assert!(!requests.cancel(&owner("", "")), "nobody's are nobody's");
    }

    #[test]
    fn cancelling_says_when_there_was_nothing_to_cancel() {
        let requests = Requests::default();
        assert!(!requests.cancel(&owner("ann", "test")));
        drop(requests.begin(Some(owner("ann", "test"))));
        assert!(!requests.cancel(&owner("ann", "test")));
    }

    #[test]
    fn a_request_whose_token_is_taken_is_not_cut_off() {
        let requests = Requests::default();
        let running = requests.begin(None).unwrap();
        running.call().belongs_to(owner("ann", "test"));
        let token = running.call().token();
        assert!(requests.cancel(&owner("ann", "test")));
        assert!(token.is_cancelled());
        assert!(!is_cancelled(&running));
    }
}
