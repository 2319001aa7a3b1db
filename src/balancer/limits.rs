//! How much a balancer takes on, and what it turned away.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{model::Moment, plan::rate::Buckets};

/// Bounds of what one balancer does at a time, over all its surfaces unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// gRPC connections. Each takes a descriptor and some ten kilobytes; further ones are closed at once, which
    /// their clients take for a server that is not there, and ask another one.
    pub connections: usize,
    /// Calls at once on one gRPC connection. A client that opens more waits; others do not notice.
    pub streams: u32,
    /// Bytes of a question. Answers are not bounded by it.
    pub message: usize,
    /// Bytes of a request's head.
    pub head: u32,
    /// Watches that are open. What one holds is small, but each is told of every change.
    pub watches: usize,
    /// Questions per second from one address; as many may come at once. None: any number.
    pub peer_rate: Option<u32>,
    /// How long what is being answered may take once the balancer is told to end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 1024,
            // A thousand places to exclude take more than a name and a number do.
            message: 128 * 1024,
            // gRPC's own default, which its clients keep to, is half of it; HTTP's servers take about as much.
            head: 16 * 1024,
            watches: 4096,
            peer_rate: None,
            // Answers take milliseconds; what is still open then is a slow reader.
            drain: Duration::from_secs(2),
        }
    }
}

/// What was turned away since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// Connections that found no room.
    pub connections: u64,
    /// Questions beyond the rate of their address.
    pub requests: u64,
    /// Watches that found no room.
    pub watches: u64,
}

/// Counts what is turned away. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Arc<AtomicU64>,
    requests: AtomicU64,
    watches: AtomicU64,
    /// When the log last told of it, in seconds since the clock's origin, plus 1; 0: never.
    told: AtomicU64,
}

/// The log tells of it this often at most.
const TELL: Duration = Duration::from_secs(10);

impl Counters {
    /// What was counted so far.
    pub fn read(&self) -> Shed {
        Shed {
            connections: self.shared.connections.load(Relaxed),
            requests: self.shared.requests.load(Relaxed),
            watches: self.shared.watches.load(Relaxed),
        }
    }

    /// The count of connections, for whoever accepts them.
    pub fn connections(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.connections)
    }

    /// Counts a question that came too soon.
    pub(super) fn request(&self, now: Moment) {
        self.shared.requests.fetch_add(1, Relaxed);
        self.tell(now);
    }

    /// Counts a watch that found no room.
    pub(super) fn watch(&self, now: Moment) {
        self.shared.watches.fetch_add(1, Relaxed);
        self.tell(now);
    }

    fn tell(&self, now: Moment) {
        let second = now.since(Moment::default()).as_secs() + 1;
        let told = self.shared.told.load(Relaxed);
        let is_due = told == 0 || second.saturating_sub(told) >= TELL.as_secs();
        let exchange = |told| {
            let shared = &self.shared.told;
            shared.compare_exchange(told, second, Relaxed, Relaxed)
        };
        if is_due && exchange(told).is_ok() {
            let Shed {
                connections,
                requests,
                watches,
            } = self.read();
            tracing::warn!(
                connections,
                requests,
                watches,
                "turned away since the start"
            );
        }
    }
}

/// Lets each address ask as often as it may. A question costs one short lock, shared with a part of the others.
#[derive(Debug)]
pub(super) struct Gate {
    shards: Option<[Mutex<Buckets>; SHARDS]>,
}

/// A power of two.
const SHARDS: usize = 16;

impl Gate {
    pub(super) fn new(peer_rate: Option<u32>) -> Self {
        let shards = |rate| std::array::from_fn(|_| Mutex::new(Buckets::new(rate)));
        Self {
            shards: peer_rate.map(shards),
        }
    }

    /// Whether a question of `peer` may be answered at `now`.
    ///
    /// # Errors
    /// In how long it may.
    pub(super) fn admit(&self, peer: IpAddr, now: Moment) -> Result<(), Duration> {
        let Some(shards) = &self.shards else {
            return Ok(());
        };
        // The network's part of an address, as addresses of one network share a bucket.
        let shard = match peer.to_canonical() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        let mut buckets = shards[usize::from(shard) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        buckets.take(peer, now)
    }
}
