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
#[derive(Clone, Default)]
pub(super) struct Leases {
    leases: BTreeMap<i64, Lease>,
    /// The same, by their end.
    ends: BTreeSet<(Moment, i64)>,
    /// The lease of each bound key.
    bound: BTreeMap<Bytes, i64>,
}

/// One lease.
#[derive(Clone)]
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

    /// Starts the time of every lease anew, as an etcd does that begins to lead.
    pub(super) fn renew_all(&mut self, now: Moment) {
        let ids: Vec<i64> = self.leases.keys().copied().collect();
        for id in ids {
            self.renew(id, now);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lease_ends_when_its_time_is_over_unless_it_is_renewed() {
        let mut leases = Leases::default();
        leases.grant(1, 10, at(0)).unwrap();
        assert_eq!(leases.ended(at(9)), None);
        assert_eq!(leases.ended(at(10)), Some(1));
        assert_eq!(leases.renew(1, at(9)), Some(10));
        assert_eq!(leases.next_end(), Some(at(19)));
        assert_eq!(leases.ended(at(10)), None);
    }

    #[test]
    fn leases_end_in_the_order_of_their_times_not_of_their_ids() {
        let mut leases = Leases::default();
        leases.grant(1, 30, at(0)).unwrap();
        leases.grant(2, 10, at(0)).unwrap();
        leases.grant(3, 20, at(0)).unwrap();
        assert_eq!(leases.ids().collect::<Vec<_>>(), [2, 3, 1]);
        assert_eq!(leases.ended(at(60)), Some(2));
    }

    #[test]
    fn a_time_that_is_too_short_is_lengthened_and_one_that_is_too_long_refused() {
        let mut leases = Leases::default();
        assert_eq!(leases.grant(1, -1, at(0)), Ok(2));
        assert_eq!(leases.grant(2, 9_000_000_000, at(0)), Ok(9_000_000_000));
        assert_eq!(
            leases.grant(3, 9_000_000_001, at(0)),
            Err(Refusal::TtlTooLarge)
        );
        assert_eq!(leases.grant(1, 10, at(0)), Err(Refusal::LeaseExists));
    }

    #[test]
    fn a_key_belongs_to_the_last_lease_it_was_bound_to() {
        let mut leases = Leases::default();
        leases.grant(1, 10, at(0)).unwrap();
        leases.grant(2, 10, at(0)).unwrap();
        let (a, b) = (Bytes::from("a"), Bytes::from("b"));
        leases.bind(&a, 1);
        leases.bind(&b, 1);
        leases.bind(&a, 2);
        leases.bind(&b, 0);
        assert_eq!(leases.revoke(1), Ok(BTreeSet::new()));
        assert_eq!(leases.revoke(2), Ok(BTreeSet::from([a])));
        assert_eq!(leases.revoke(2), Err(Refusal::LeaseNotFound));
        assert_eq!((leases.next_end(), leases.bound.len()), (None, 0));
    }
}
