//! How often one peer may ask: a bucket of tokens each, in bounded memory.
//!
//! The bucket is kept as the moment at which it is full again (the "generic cell rate algorithm"): one number per
//! peer. Peers are kept in two generations. When the younger is full it becomes the older, and the older is
//! forgotten: who has not asked for so long has a full bucket anyway, unless thousands of other peers asked meanwhile.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use crate::model::Moment;

/// Peers of one generation.
const GENERATION: usize = 4096;

/// The buckets of all peers.
#[derive(Debug)]
pub struct Buckets {
    /// The time in which one token comes.
    interval: Duration,
    /// How long an empty bucket takes to be full.
    depth: Duration,
    young: HashMap<IpAddr, Moment>,
    old: HashMap<IpAddr, Moment>,
}

impl Buckets {
    /// Buckets that get `per_second` tokens a second, not 0, and hold as many as come in a second.
    pub fn new(per_second: u32) -> Self {
        let depth = Duration::from_secs(1);
        Self {
            interval: depth / per_second.max(1),
            depth,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Takes a token out of the bucket of `peer`.
    ///
    /// # Errors
    /// In how long there is one, if there is none now.
    pub fn take(&mut self, peer: IpAddr, now: Moment) -> Result<(), Duration> {
        let peer = neighbourhood(peer);
        let known = self.young.get(&peer).or_else(|| self.old.get(&peer));
        let full_at = known.copied().unwrap_or(now).max(now);
        let missing = full_at.since(now) + self.interval;
        if missing > self.depth {
            return Err(missing - self.depth);
        }
        if self.young.len() >= GENERATION && !self.young.contains_key(&peer) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(peer, now + missing);
        Ok(())
    }
}

/// Addresses that one peer has for the asking count as one: all of an IPv6 network of 64 bits.
fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn v4(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_second_of_tokens_is_there_at_once_and_then_one_per_interval() {
        let mut buckets = Buckets::new(10);
        let taken = |buckets: &mut Buckets, now| {
            (0..99).filter(|_| buckets.take(v4(1), now).is_ok()).count()
        };
        assert_eq!(taken(&mut buckets, at(5_000)), 10);
        assert_eq!(
            buckets.take(v4(1), at(5_000)),
            Err(Duration::from_millis(100))
        );
        assert_eq!(taken(&mut buckets, at(5_350)), 3);
        // Others have their own, and a pause fills it up, not over.
        assert_eq!(buckets.take(v4(2), at(5_350)), Ok(()));
        assert_eq!(taken(&mut buckets, at(99_000)), 10);
    }

    #[test]
    fn addresses_of_one_network_share_a_bucket_and_mapped_ones_are_what_they_stand_for() {
        let mut buckets = Buckets::new(1);
        let now = at(1);
        let address = |text: &str| text.parse().unwrap();
        assert!(buckets.take(address("2001:db8::1"), now).is_ok());
        assert!(buckets.take(address("2001:db8::ffff:2"), now).is_err());
        assert!(buckets.take(address("2001:db8:0:1::1"), now).is_ok());
        assert!(buckets.take(address("10.0.0.1"), now).is_ok());
        assert!(buckets.take(address("::ffff:10.0.0.1"), now).is_err());
    }

    #[test]
    fn any_number_of_peers_takes_bounded_memory_and_a_busy_one_is_not_forgotten() {
        let mut buckets = Buckets::new(2);
        for peer in 0..100_000 {
            let now = at(u64::from(peer) / 100);
            let _ = buckets.take(v4(peer), now);
            let _ = buckets.take(v4(u32::MAX), now);
            assert!(buckets.young.len() + buckets.old.len() <= 2 * GENERATION);
        }
        assert!(buckets.take(v4(u32::MAX), at(1_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_peer_gets_more_than_its_rate(
            per_second in 1..50_u32,
            pauses in proptest::collection::vec(0..300_u64, 1..300),
        ) {
            let mut buckets = Buckets::new(per_second);
            let (mut now, mut taken) = (0, 0_u64);
            for pause in pauses {
                now += pause;
                taken += u64::from(buckets.take(v4(7), at(now)).is_ok());
                let most = u64::from(per_second) * (1_000 + now) / 1_000 + 1;
                prop_assert!(taken <= most, "{taken} of {most} after {now} ms");
            }
        }
    }
}
