//! Endpoints, failover, reads and transactions.

use super::{Config, Entry, Error, Follow, Leadership, Lease, Listing, Outcome, Txn};
use crate::host::Host;
use std::time::Duration;

/// A connection to the store. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Store {
    #[expect(dead_code)]
    host: Host,
}

#[expect(clippy::todo, unused_variables)]
impl Store {
    /// A store at `config`'s endpoints, connected at the first use.
    ///
    /// # Errors
    /// [`Error::Refused`] for endpoints that are not addresses.
    pub fn new(config: Config, host: Host) -> Result<Self, Error> {
        todo!()
    }

    /// The key's entry, read linearizably; none where there is no such key.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        todo!()
    }

    /// Everything under `prefix` at one revision, read linearizably, in pages.
    pub async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        todo!()
    }

    /// Writes what `txn` says if its guards hold. Retried on another endpoint only where nothing can
    /// have been written.
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        todo!()
    }

    /// Everything under `prefixes`, now and from now on.
    pub fn follow(&self, prefixes: Vec<String>) -> Follow {
        todo!()
    }

    /// A new lease that ends `ttl` after it was last renewed.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        todo!()
    }

    /// Waits until nobody leads at `key`, then leads.
    pub async fn campaign(&self, key: &str, ttl: Duration) -> Result<Leadership, Error> {
        todo!()
    }
}
