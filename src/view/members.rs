//! The endpoints of one name, in an order that the policies build on.

use std::{
    cmp::Ordering,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    Endpoint,
    dial::Dial,
    policy::{Aids, Rules},
    ranking::Kept,
    tree::{ABSENT, Tree},
};

/// A member on its way into [`Members`].
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// Whether its node may be gone: nobody says so, but nobody vouches for it either.
    pub suspect: bool,
}

/// A set of endpoints: those in normal use, then the suspects and the ejected, each part ordered by host (its case
/// does not count), then port. No place occurs twice. Who is in it never changes; what is derived from their load does.
#[derive(Debug)]
pub(super) struct Members {
    endpoints: Vec<Arc<Endpoint>>,
    /// How many of them, from the front, are in normal use.
    normal: usize,
    /// For each, the number of its host; hosts count from 0.
    hosts: Vec<u32>,
    host_count: usize,
    dial: Arc<Dial>,
    /// The effective loads as keys, by position.
    tree: Tree,
    rules: Arc<Rules>,
    /// What the policy needs to know beside the loads.
    aids: Aids,
    /// The order of `DiscoverTopServices`, where it pays to keep it.
    pub(super) kept: Kept,
    /// Whether somebody was picked since the last look.
    picked: AtomicBool,
    /// How many steps a round has gone; goes on when members change.
    pub(super) round: Arc<AtomicUsize>,
    /// Requests that all of them work on or were picked for, about.
    work: AtomicU64,
}

/// What the keys of suspects begin with: they come after all others.
const SUSPECT: u32 = 1 << 27;

impl Members {
    /// The members of a name.
    ///
    /// Suspects are for use after all others. When more than half of the members are suspect, the
    /// fault is more likely between us and the nodes than in so many nodes: then all are in normal
    /// use. Who is ejected comes after all others in any case.
    pub(super) fn new(
        mut candidates: Vec<Candidate>,
        dial: Arc<Dial>,
        rules: Arc<Rules>,
        round: Arc<AtomicUsize>,
    ) -> Self {
        let in_order = |a: &Candidate, b: &Candidate| {
            by_place(&a.endpoint, &b.endpoint).then(a.suspect.cmp(&b.suspect))
        };
        if !candidates.is_sorted_by(|a, b| in_order(a, b).is_le()) {
            // The stable sort leaves equals in the order in which they came, which the index fixes.
            candidates.sort_by(in_order);
        }
        candidates.dedup_by(|b, a| by_place(&a.endpoint, &b.endpoint).is_eq());

        let suspects = candidates.iter().filter(|member| member.suspect).count();
        let most_are_suspect = suspects * 2 > candidates.len();
        let mut endpoints = Vec::with_capacity(candidates.len());
        let mut hosts = Vec::with_capacity(candidates.len());
        let mut later = Vec::new();
        let mut host = 0;
        let mut former: Option<Arc<Endpoint>> = None;
        for candidate in candidates {
            let endpoint = candidate.endpoint;
            if former.is_some_and(|former| by_host(&former, &endpoint).is_ne()) {
                host += 1;
            }
            former = Some(Arc::clone(&endpoint));
            if candidate.suspect && !most_are_suspect || endpoint.is_ejected() {
                later.push((endpoint, host));
            } else {
                endpoints.push(endpoint);
                hosts.push(host);
            }
        }
        let host_count = former.map_or(0, |_| host as usize + 1);
        let normal = endpoints.len();
        for (endpoint, host) in later {
            endpoints.push(endpoint);
            hosts.push(host);
        }
        let keys = (endpoints.iter().enumerate())
            .map(|(position, endpoint)| key(endpoint.effective_load(&dial), position >= normal));
        let tree = Tree::new(keys);
        let members = Self {
            aids: Aids::new(&rules, &endpoints[..normal]),
            normal,
            hosts,
            host_count,
            tree,
            rules,
            kept: Kept::default(),
            picked: AtomicBool::new(false),
            round,
            work: AtomicU64::new(0),
            dial,
            endpoints,
        };
        members.count_work();
        members
    }

    /// All of them, those in normal use first.
    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many are in normal use; the rest, at the end, is suspect or ejected.
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

    /// How to choose among them.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What the policy needs to know beside the loads.
    pub(super) fn aids(&self) -> &Aids {
        &self.aids
    }

    /// What all loads depend on.
    pub(super) fn dial(&self) -> &Dial {
        &self.dial
    }

    /// The keys of all.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The key of a member as it is now: what is smaller is less busy, [`ABSENT`] takes no requests.
    pub(super) fn key(&self, position: usize) -> u32 {
        let load = self.endpoints[position].effective_load(&self.dial);
        key(load, position >= self.normal)
    }

    /// Whether a member takes requests.
    pub(super) fn takes(&self, position: usize) -> bool {
        self.key(position) != ABSENT
    }

    /// Counts a pick of the member, if its key is still what it was chosen for, and nobody else picks it at
    /// the same time. Else the tree is put right.
    pub(super) fn pick_if_still(&self, position: usize, chosen_for: u32) -> bool {
        let suspect = position >= self.normal;
        let picked =
            self.endpoints[position].pick_if(&self.dial, |load| key(load, suspect) == chosen_for);
        self.refresh(position);
        if picked {
            self.note_pick();
        }
        picked
    }

    /// Counts a pick of the member.
    pub(super) fn pick(&self, position: usize) {
        self.endpoints[position].pick(&self.dial);
        self.refresh(position);
        self.note_pick();
    }

    fn note_pick(&self) {
        // Only read as a rule: a line that all write to would be passed from core to core.
        if !self.picked.load(Relaxed) {
            self.picked.store(true, Relaxed);
        }
        if self.aids.needs_work() {
            self.work.fetch_add(1, Relaxed);
        }
    }

    /// Takes over the key of a member.
    pub(super) fn refresh(&self, position: usize) {
        self.tree.refresh(position, || self.key(position));
    }

    /// Takes over the key of an endpoint, if it is a member.
    pub(super) fn refresh_endpoint(&self, endpoint: &Endpoint) {
        if let Some(position) = self.search(|member| by_place(member, endpoint)) {
            self.refresh(position);
        }
    }

    /// The member at this place.
    pub(super) fn find(&self, host: &str, port: u16) -> Option<&Arc<Endpoint>> {
        let host = host.to_ascii_lowercase();
        let at = self.search(|member| {
            (member.host_in_lower_case(), member.port()).cmp(&(host.as_str(), port))
        });
        at.map(|at| &self.endpoints[at])
    }

    /// The position of the member that is neither before nor behind a place, in the order of places.
    fn search(&self, beside: impl Fn(&Endpoint) -> Ordering) -> Option<usize> {
        let (normal, others) = self.endpoints.split_at(self.normal);
        let find = |part: &[Arc<Endpoint>]| part.binary_search_by(|member| beside(member)).ok();
        find(normal).or_else(|| find(others).map(|at| at + self.normal))
    }

    /// Takes over the keys of all, if `turned` or somebody was picked.
    pub(super) fn settle(&self, turned: bool) {
        if turned && (self.picked.swap(false, Relaxed) || self.stale()) {
            for position in 0..self.endpoints.len() {
                self.refresh(position);
            }
        }
        self.count_work();
    }

    /// Whether some key is not what it should be, by a look at a few.
    fn stale(&self) -> bool {
        let step = (self.endpoints.len() / 16).max(1);
        (0..self.endpoints.len())
            .step_by(step)
            .any(|position| self.tree.key(position) != self.key(position))
    }

    /// Requests that all of them work on or were picked for, about. Counted only for policies that ask.
    pub(super) fn work(&self) -> u64 {
        self.work.load(Relaxed)
    }

    fn count_work(&self) {
        if self.aids.needs_work() {
            let work = self.endpoints.iter().map(|member| member.work(&self.dial));
            self.work.store(work.sum(), Relaxed);
        }
    }
}

/// A load as a key: numbers that are not negative are ordered as their bits are. 19 bits of the fraction are
/// kept, so that loads differ that are a millionth apart.
fn key(load: Option<f64>, suspect: bool) -> u32 {
    let Some(load) = load else { return ABSENT };
    let bits = (load.max(0.0) as f32).to_bits() >> 4;
    if suspect { bits | SUSPECT } else { bits }
}

/// The order of places.
pub(super) fn by_place(a: &Endpoint, b: &Endpoint) -> Ordering {
    by_host(a, b).then(a.port().cmp(&b.port()))
}

fn by_host(a: &Endpoint, b: &Endpoint) -> Ordering {
    if a.shares_host(b) {
        return Ordering::Equal;
    }
    a.host_in_lower_case().cmp(b.host_in_lower_case())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{Setting, endpoint};

    fn members(candidates: &[(&str, u16, bool)]) -> Members {
        let candidates = candidates.iter().map(|(host, port, suspect)| Candidate {
            endpoint: Arc::new(endpoint(host, *port)),
            suspect: *suspect,
        });
        Setting::default().members(candidates.collect())
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

    #[test]
    fn keys_are_ordered_as_loads_are_and_suspects_come_last() {
        let loads = [0.0, 1e-9, 0.25, 0.250_001, 1.0, 70.0, 1e30, f64::INFINITY];
        let keys: Vec<u32> = loads.iter().map(|load| key(Some(*load), false)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert!(keys.last() < Some(&key(Some(0.0), true)));
        assert!(key(Some(f64::INFINITY), true) < key(None, false));
    }
}
