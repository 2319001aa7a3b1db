//! etcd, as the rest of the program sees it: reads, guarded writes, followed prefixes, leases.
//!
//! The client library knows neither failover nor resumed watches; both are added here. Whether an
//! error may be retried is decided here, once ([`Error`]).
//!
//! - `client`: failover, reads and transactions
//!   - `endpoint`: one member: its address, and the connection to it
//!   - `failure`: what a failed attempt means
//!   - `range`: ranges of keys, and reading them whole
//!   - `status`: how its members are
//! - `follow`: list, then watch, for good
//!   - `watch`: one stream of changes
//!   - `ledger`: what was said so far
//! - `lease`: leases that survive reconnects
//! - `election`: at most one leader, fenced
//! - `chronicle`: writes events, beside everything else
//! - `mark`: how far it has come, for those who come after us
//! - [`embedded`]: the store in memory, for development and simulation

mod chronicle;
mod client;
mod election;
pub mod embedded;
mod endpoint;
mod failure;
mod follow;
mod lease;
mod ledger;
mod mark;
mod range;
mod status;
mod watch;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::host::Network;

pub use chronicle::Chronicle;
pub use client::Store;
pub use election::Leadership;
pub use follow::{Change, Follow, Update};
pub use lease::Lease;
pub use mark::Mark;
pub use status::Status;

/// Where the store is, who we are to it, and how long to wait for it.
#[derive(Clone)]
pub struct Config {
    /// `https://host:port` or `http://host:port` of every member; `host:port` means the latter.
    pub endpoints: Vec<String>,
    /// How long one request may take on one endpoint before the next is tried.
    pub request_timeout: Duration,
    /// What members at `https://` are connected to by.
    pub secured: Option<Arc<dyn Network>>,
    /// Who we are, where the store does not take that from our certificate.
    pub login: Option<Login>,
}

/// A user of the store.
#[derive(Clone)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Config {
    /// The given endpoints with the default time-out.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            request_timeout: Duration::from_secs(5),
            secured: None,
            login: None,
        }
    }
}

/// A key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Revision of the write that created the key (after its last deletion).
    pub create_revision: i64,
    /// Revision of the last write.
    pub mod_revision: i64,
}

/// What a prefix held at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision at which they were read.
    pub revision: i64,
}

/// Writes that happen together if every guard holds, and not at all otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What is then done. At most 128, and no key twice.
    pub writes: Vec<Write>,
}

impl Txn {
    /// A transaction without guards or writes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a guard.
    #[must_use]
    pub fn when(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn then(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }
}

/// Something that must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(String),
    /// The key was last written at this revision.
    ModRevision(String, i64),
    /// The key was created at this revision.
    CreateRevision(String, i64),
    /// The key holds this value.
    Value(String, Bytes),
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key, bound to a lease if one is given.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
        /// The lease with which the key ends.
        lease: Option<i64>,
    },
    /// Deletes the key.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// Sets `key` to `value`, for good.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        }
    }

    /// Sets `key` to `value` until the lease ends.
    pub fn put_leased(key: impl Into<String>, value: impl Into<Bytes>, lease: i64) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        }
    }

    /// Deletes `key`.
    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, at this revision.
    Committed(i64),
    /// A guard did not hold; nothing was written.
    Conflict,
}

/// Why the store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint could be reached, or none had a leader. Nothing was written; try again later.
    #[error("the store cannot be reached at {endpoints}: {cause}")]
    Unavailable {
        /// The endpoints that were tried.
        endpoints: String,
        /// What the last of them said.
        cause: String,
    },
    /// The answer to a write was lost: it may or may not have happened. Read before doing anything.
    #[error("it is not known whether the write to {keys} happened: {cause}")]
    OutcomeUnknown {
        /// The keys written.
        keys: String,
        /// How the answer was lost.
        cause: String,
    },
    /// The store has no space left; reads, deletions and lease renewals still work.
    #[error(
        "the store is full (NOSPACE): compact and defragment it, then run `etcdctl alarm disarm`"
    )]
    Full,
    /// The lease of the write does not exist any more.
    #[error("the lease has ended")]
    LeaseEnded,
    /// This cannot be where the store is.
    #[error("`{endpoint}` is not an endpoint of the store: {cause}")]
    Address {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The store will not do this, however often it is asked.
    #[error("the store refused {what}: {cause}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its reason.
        cause: String,
    },
}

impl Error {
    /// Whether the same request may succeed later. Of writes with an unknown outcome: no, because
    /// they must be read first.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full)
    }
}
