//! The endpoints of one name, in an order that the policies build on.

use std::{cmp::Ordering, sync::Arc};

use super::Endpoint;

/// A member on its way into [`Members`].
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// Whether its node may be gone: nobody says so, but nobody vouches for it either.
    pub suspect: bool,
}

/// An immutable set of endpoints: those in normal use, then the suspects, each part ordered by host
/// (its case does not count), then port. No place occurs twice.
#[derive(Debug, Default)]
pub(super) struct Members {
    endpoints: Vec<Arc<Endpoint>>,
    /// How many of them, from the front, are in normal use.
    normal: usize,
    /// For each, the number of its host; hosts count from 0.
    hosts: Vec<u32>,
    host_count: usize,
}

impl Members {
    /// The members of a name.
    ///
    /// Suspects are for use after all others. When more than half of the members are suspect, the
    /// fault is more likely between us and the nodes than in so many nodes: then all are in normal
    /// use.
    pub(super) fn new(mut candidates: Vec<Candidate>) -> Self {
        // The stable sort leaves equals in the order in which they came, which the index fixes.
        candidates
            .sort_by(|a, b| by_place(&a.endpoint, &b.endpoint).then(a.suspect.cmp(&b.suspect)));
        candidates.dedup_by(|b, a| by_place(&a.endpoint, &b.endpoint).is_eq());

        let mut host = 0;
        let mut numbered = Vec::with_capacity(candidates.len());
        let mut former: Option<Arc<Endpoint>> = None;
        for candidate in candidates {
            if former.is_some_and(|former| by_host(&former, &candidate.endpoint).is_ne()) {
                host += 1;
            }
            former = Some(Arc::clone(&candidate.endpoint));
            numbered.push((candidate, host));
        }

        let suspects = numbered
            .iter()
            .filter(|(candidate, _)| candidate.suspect)
            .count();
        let most_are_suspect = suspects * 2 > numbered.len();
        if !most_are_suspect {
            numbered.sort_by_key(|(candidate, _)| candidate.suspect);
        }
        Self {
            normal: numbered.len() - if most_are_suspect { 0 } else { suspects },
            host_count: numbered.last().map_or(0, |_| host as usize + 1),
            hosts: numbered.iter().map(|(_, host)| *host).collect(),
            endpoints: numbered
                .into_iter()
                .map(|(candidate, _)| candidate.endpoint)
                .collect(),
        }
    }

    /// All of them, those in normal use first.
    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many are in normal use; the rest, at the end, is suspect.
    pub(super) fn normal(&self) -> usize {
        self.normal
    }

    /// For each endpoint the number of its host, below [`Members::host_count`].
    pub(super) fn hosts(&self) -> &[u32] {
        &self.hosts
    }

    /// How many hosts there are.
    pub(super) fn host_count(&self) -> usize {
        self.host_count
    }
}

fn by_place(a: &Endpoint, b: &Endpoint) -> Ordering {
    by_host(a, b).then(a.port().cmp(&b.port()))
}

fn by_host(a: &Endpoint, b: &Endpoint) -> Ordering {
    a.host_in_lower_case().cmp(b.host_in_lower_case())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(candidates: &[(&str, u16, bool)]) -> Members {
        let candidates = candidates.iter().map(|(host, port, suspect)| Candidate {
            endpoint: Arc::new(Endpoint::new((*host).to_owned(), *port)),
            suspect: *suspect,
        });
        Members::new(candidates.collect())
    }

    fn places(members: &Members) -> Vec<String> {
        let place = |endpoint: &Arc<Endpoint>| format!("{}:{}", endpoint.host(), endpoint.port());
        members.endpoints().iter().map(place).collect()
    }

    #[test]
    fn members_are_ordered_by_host_in_any_case_then_port() {
        let members = members(&[
            ("b", 1, false),
            ("A", 10, false),
            ("a", 9, false),
            ("C", 0, false),
        ]);
        assert_eq!(places(&members), ["a:9", "A:10", "b:1", "C:0"]);
        assert_eq!(members.hosts(), [0, 0, 1, 2]);
        assert_eq!(members.host_count(), 3);
    }

    #[test]
    fn suspects_come_after_all_others() {
        let members = members(&[
            ("a", 1, true),
            ("b", 1, false),
            ("c", 1, true),
            ("d", 1, false),
        ]);
        assert_eq!(places(&members), ["b:1", "d:1", "a:1", "c:1"]);
        assert_eq!(members.normal(), 2);
        assert_eq!(members.hosts(), [1, 3, 0, 2]);
    }

    #[test]
    fn when_more_than_half_are_suspect_all_are_in_normal_use() {
        let members = members(&[("a", 1, true), ("b", 1, false), ("c", 1, true)]);
        assert_eq!(places(&members), ["a:1", "b:1", "c:1"]);
        assert_eq!(members.normal(), 3);
    }

    #[test]
    fn a_place_that_two_instances_claim_is_one_member_and_not_suspect_if_one_is_not() {
        let members = members(&[
            ("a", 1, true),
            ("A", 1, false),
            ("a", 1, true),
            ("b", 1, false),
        ]);
        assert_eq!(places(&members), ["A:1", "b:1"]);
        assert_eq!(members.normal(), 2);
    }

    #[test]
    fn a_name_can_have_no_members() {
        let members = members(&[]);
        assert!(members.endpoints().is_empty());
        assert_eq!(members.host_count(), 0);
    }
}
