//! The book of leases: who lives until when, and which keys end with them. Pure: time is passed in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;

use super::refusal::Refusal;
use crate::model::Moment;

/// The shortest lease, in seconds: etcd's for its default election timeout of 1 s. Shorter ones are
/// lengthened.
const MIN_TTL: i64 = 2;

/// The longest lease, in seconds, as in etcd.
const MAX_TTL: i64 = 9_000_000_000;

/// All leases.
#[derive(Default)]
pub(super) struct Leases {
    leases: BTreeMap<i64, Lease>,
    /// The same, by their end.
    ends: BTreeSet<(Moment, i64)>,
    /// The lease of each bound key.
    bound: BTreeMap<Bytes, i64>,
}

/// One lease.
pub(super) struct Lease {
    /// Seconds it lives after each renewal.
    pub ttl: i64,
    /// When it ends unless it is renewed.
    pub end: Moment,
    /// The keys that end with it.
    pub keys: BTreeSet<Bytes>,
}

impl Leases {
    /// Adds a lease under `id` and returns its time to live in seconds, which may be longer than
    /// asked for.
    ///
    /// # Errors
    /// `LeaseExists` when the id is taken, `TtlTooLarge`.
    pub(super) fn grant(&mut self, id: i64, ttl: i64, now: Moment) -> Result<i64, Refusal> {
        if ttl > MAX_TTL {
            return Err(Refusal::TtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        let ttl = ttl.max(MIN_TTL);
        let lease = Lease {
            ttl,
            end: now + seconds(ttl),
            keys: BTreeSet::new(),
        };
        self.ends.insert((lease.end, id));
        self.leases.insert(id, lease);
        Ok(ttl)
    }

    /// Starts a lease's time anew and returns its length in seconds; none where there is no such
    /// lease.
    pub(super) fn renew(&mut self, id: i64, now: Moment) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        self.ends.remove(&(lease.end, id));
        lease.end = now + seconds(lease.ttl);
        self.ends.insert((lease.end, id));
        Some(lease.ttl)
    }

    /// Removes a lease and returns the keys to delete.
    ///
    /// # Errors
    /// `LeaseNotFound`.
    pub(super) fn revoke(&mut self, id: i64) -> Result<BTreeSet<Bytes>, Refusal> {
        let lease = self.leases.remove(&id).ok_or(Refusal::LeaseNotFound)?;
        self.ends.remove(&(lease.end, id));
        for key in &lease.keys {
            self.bound.remove(key);
        }
        Ok(lease.keys)
    }

    /// A lease.
    pub(super) fn get(&self, id: i64) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// All ids, the next to end first.
    pub(super) fn ids(&self) -> impl Iterator<Item = i64> {
        self.ends.iter().map(|(_, id)| *id)
    }

    /// When the next lease ends.
    pub(super) fn next_end(&self) -> Option<Moment> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// The lease that ended first, if any has by `now`.
    pub(super) fn ended(&self, now: Moment) -> Option<i64> {
        let (end, id) = self.ends.first()?;
        (*end <= now).then_some(*id)
    }

    /// Binds `key` to `lease` instead of the one it had; 0 binds it to none.
    pub(super) fn bind(&mut self, key: &Bytes, lease: i64) {
        if let Some(former) = self.bound.remove(key)
            && let Some(former) = self.leases.get_mut(&former)
        {
            former.keys.remove(key);
        }
        if let Some(owner) = self.leases.get_mut(&lease) {
            owner.keys.insert(key.clone());
            self.bound.insert(key.clone(), lease);
        }
    }
}

/// A time to live as a duration.
fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl.unsigned_abs())
}
