//! `DiscoverServices`: a random order.

use std::{ops::Range, sync::Arc};

use super::{Endpoint, members::Members, numbers::Numbers};

/// At most `at_most` of `members` in an order that `seed` chooses; suspects after all others.
pub(super) fn choose(members: &Members, at_most: usize, seed: u64) -> Vec<Arc<Endpoint>> {
    let (normal, all) = (members.normal(), members.endpoints().len());
    let mut numbers = Numbers::new(seed);
    let mut chosen = draw(0..normal, at_most, &mut numbers);
    chosen.extend(draw(normal..all, at_most - chosen.len(), &mut numbers));
    let endpoints = chosen.iter().map(|at| &members.endpoints()[*at]);
    endpoints.cloned().collect()
}

/// Draws without putting back: the first steps of a Fisher-Yates shuffle.
fn draw(from: Range<usize>, at_most: usize, numbers: &mut Numbers) -> Vec<usize> {
    let count = at_most.min(from.len());
    if count == 1 {
        return vec![from.start + numbers.below(from.len())];
    }
    let mut order: Vec<usize> = from.collect();
    for at in 0..count {
        let rest = order.len() - at;
        order.swap(at, at + numbers.below(rest));
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::view::{
        members::Candidate,
        tests::{Setting, endpoint},
    };

    fn members(normal: u16, suspect: u16) -> Members {
        let candidates = (0..normal + suspect).map(|port| Candidate {
            endpoint: Arc::new(endpoint("h", port)),
            suspect: port >= normal,
        });
        Setting::default().members(candidates.collect())
    }

    fn ports(members: &Members, at_most: usize, seed: u64) -> Vec<u16> {
        choose(members, at_most, seed)
            .iter()
            .map(|endpoint| endpoint.port())
            .collect()
    }

    #[test]
    fn every_member_is_named_once_and_suspects_last() {
        let members = members(6, 3);
        for seed in 0..100 {
            let mut ports = ports(&members, usize::MAX, seed);
            assert!(ports[..6].iter().all(|port| *port < 6), "{ports:?}");
            ports.sort_unstable();
            assert_eq!(ports, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
    }

    #[test]
    fn no_more_are_named_than_were_asked_for() {
        let members = members(3, 2);
        for at_most in 0..=5 {
            assert_eq!(ports(&members, at_most, 1).len(), at_most);
        }
        assert_eq!(ports(&members, 6, 1).len(), 5);
    }

    #[test]
    fn every_order_comes_equally_often() {
        let members = members(3, 0);
        let mut orders = BTreeMap::new();
        for seed in 0..6_000 {
            *orders.entry(ports(&members, usize::MAX, seed)).or_insert(0) += 1;
        }
        assert_eq!(orders.len(), 6);
        // 1 000 each; 5 standard deviations are 144.
        assert!(
            orders.values().all(|times| (850..1_150).contains(times)),
            "{orders:?}"
        );
    }

    #[test]
    fn a_single_member_is_drawn_evenly() {
        let members = members(4, 0);
        let mut times = [0; 4];
        for seed in 0..4_000 {
            times[usize::from(ports(&members, 1, seed)[0])] += 1;
        }
        assert!(
            times.iter().all(|times| (850..1_150).contains(times)),
            "{times:?}"
        );
    }
}
