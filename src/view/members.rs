//! The endpoints of one name, in an order that the policies build on.

use std::{
    cmp::Ordering,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    Endpoint,
    dial::Dial,
    hosts::Hosts,
    near::Near,
    policy::{Aids, Rules},
    ranking::Kept,
    roll::Roll,
    tree::{ABSENT, Tree},
};

mod change;

pub(super) use change::Change;

/// A member on its way into [`Members`].
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// Whether its node may be gone: nobody says so, but nobody vouches for it either.
    pub suspect: bool,
}

impl Candidate {
    /// Whether it comes after all others.
    pub(super) fn is_last(&self) -> bool {
        self.suspect || self.endpoint.is_ejected()
    }
}

/// A set of endpoints: those in normal use, then the suspects and the ejected, each part ordered by host (its case
/// does not count), then port. No place occurs twice. Who is in it never changes; what is derived from their load does.
#[derive(Debug)]
pub(super) struct Members {
    endpoints: Roll,
    /// How many of them, from the front, are in normal use.
    normal: usize,
    /// How many are suspect, even if they are in normal use.
    suspects: usize,
    /// Whether several claimed one place.
    had_doubles: bool,
    terms: Terms,
    /// The effective loads as keys, by position.
    tree: Tree,
    /// What the policy needs to know beside the loads.
    aids: Aids,
    /// Those whom `prefer` prefers, where the rules have one.
    near: Option<Near>,
    hosts: OnceLock<Hosts>,
    /// The order of `DiscoverTopServices`, where it pays to keep it.
    pub(super) kept: Kept,
    /// Whether somebody was picked since the last look.
    picked: AtomicBool,
    /// Requests that all of them work on or were picked for, about.
    work: AtomicU64,
}

/// By what members are chosen.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// What all loads depend on.
    pub dial: Arc<Dial>,
    /// The rules of their name.
    pub rules: Arc<Rules>,
    /// How many steps a round has gone; goes on when members change.
    pub round: Arc<AtomicUsize>,
    /// Members as busy as this key says take no requests. [`ABSENT`]: all do.
    full: u32,
}

impl Terms {
    /// Terms that hold however busy a member is.
    pub(super) fn new(dial: Arc<Dial>, rules: Arc<Rules>, round: Arc<AtomicUsize>) -> Self {
        Self {
            dial,
            rules,
            round,
            full: ABSENT,
        }
    }

    /// The same for members of their own round that take requests up to that effective load only.
    pub(super) fn up_to(&self, load: f64) -> Self {
        Self {
            // Each begins elsewhere.
            round: Arc::new(AtomicUsize::new(self.round.fetch_add(1, Relaxed))),
            full: key(Some(load), false),
            ..self.clone()
        }
    }

    fn key(&self, endpoint: &Endpoint, is_last: bool) -> u32 {
        let key = key(endpoint.effective_load(&self.dial), is_last);
        if key < self.full { key } else { ABSENT }
    }
}

/// What the keys of suspects begin with: they come after all others.
const SUSPECT: u32 = 1 << 27;

impl Members {
    /// The members of a name.
    ///
    /// Suspects are for use after all others. When more than half of the members are suspect, the
    /// fault is more likely between us and the nodes than in so many nodes: then all are in normal
    /// use. Who is ejected comes after all others in any case.
    pub(super) fn new(mut candidates: Vec<Candidate>, terms: Terms) -> Self {
        let in_order = |a: &Candidate, b: &Candidate| {
            by_place(&a.endpoint, &b.endpoint).then(a.suspect.cmp(&b.suspect))
        };
        if !candidates.is_sorted_by(|a, b| in_order(a, b).is_le()) {
            // The stable sort leaves equals in the order in which they came, which the index fixes.
            candidates.sort_by(in_order);
        }
        let claims = candidates.len();
        candidates.dedup_by(|b, a| by_place(&a.endpoint, &b.endpoint).is_eq());
        let had_doubles = candidates.len() < claims;

        let suspects = candidates.iter().filter(|member| member.suspect).count();
        if most(suspects, candidates.len()) {
            candidates
                .iter_mut()
                .for_each(|member| member.suspect = false);
        }
        let (last, normal): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Candidate::is_last);
        let near = Near::new(&terms, normal.iter().map(|member| &member.endpoint));
        let keys = [(&normal, false), (&last, true)];
        let keys = keys
            .into_iter()
            .flat_map(|(part, is_last)| part.iter().map(move |member| (&member.endpoint, is_last)));
        let keys = keys
            .map(|(endpoint, is_last)| terms.key(endpoint, is_last))
            .collect();
        let count = normal.len();
        let all = normal.into_iter().chain(last);
        let endpoints = all.map(|member| member.endpoint).collect();
        Self {
            suspects,
            had_doubles,
            ..Self::of(endpoints, count, keys, near, terms)
        }
    }

    /// Endpoints, ordered by place and all in normal use, of which none is preferred.
    pub(super) fn alike(endpoints: Vec<Arc<Endpoint>>, terms: Terms) -> Self {
        let keys = endpoints.iter().map(|endpoint| terms.key(endpoint, false));
        let keys = keys.collect();
        let normal = endpoints.len();
        Self::of(endpoints.into_iter().collect(), normal, keys, None, terms)
    }

    fn of(
        endpoints: Roll,
        normal: usize,
        keys: Vec<u32>,
        near: Option<Near>,
        terms: Terms,
    ) -> Self {
        let members = Self {
            aids: Aids::new(&terms.rules, endpoints.iter().take(normal)),
            tree: Tree::new(keys.into_iter()),
            endpoints,
            normal,
            suspects: 0,
            had_doubles: false,
            near,
            hosts: OnceLock::new(),
            kept: Kept::default(),
            // As likely as not: those before them were.
            picked: AtomicBool::new(true),
            work: AtomicU64::new(0),
            terms,
        };
        members.count_work();
        members
    }

    /// All of them, those in normal use first.
    pub(super) fn endpoints(&self) -> &Roll {
        &self.endpoints
    }

    /// How many are in normal use; the rest, at the end, is suspect or ejected.
    pub(super) fn normal(&self) -> usize {
        self.normal
    }

    /// Their hosts.
    pub(super) fn hosts(&self) -> &Hosts {
        self.hosts.get_or_init(|| Hosts::new(&self.endpoints))
    }

    /// How to choose among them.
    pub(super) fn rules(&self) -> &Rules {
        &self.terms.rules
    }

    /// How many steps a round has gone.
    pub(super) fn round(&self) -> &AtomicUsize {
        &self.terms.round
    }

    /// What the policy needs to know beside the loads.
    pub(super) fn aids(&self) -> &Aids {
        &self.aids
    }

    /// Those whom the rules prefer.
    pub(super) fn near(&self) -> Option<&Near> {
        self.near.as_ref()
    }

    /// What all loads depend on.
    pub(super) fn dial(&self) -> &Dial {
        &self.terms.dial
    }

    /// The keys of all.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The key of a member as it is now: what is smaller is less busy, [`ABSENT`] takes no requests.
    pub(super) fn key(&self, position: usize) -> u32 {
        self.terms
            .key(&self.endpoints[position], position >= self.normal)
    }

    /// Whether a member takes requests.
    pub(super) fn takes(&self, position: usize) -> bool {
        self.key(position) != ABSENT
    }

    /// Counts a pick of the member, if its key is still what it was chosen for, and nobody else picks it at
    /// the same time. Else the tree is put right.
    pub(super) fn pick_if_still(&self, position: usize, chosen_for: u32) -> bool {
        let suspect = position >= self.normal;
        let endpoint = &self.endpoints[position];
        let picked = endpoint.pick_if(self.dial(), |load| key(load, suspect) == chosen_for);
        self.renew(position, endpoint);
        if picked {
            self.note_pick();
        }
        picked
    }

    /// Counts a pick of the member.
    pub(super) fn pick(&self, position: usize) {
        let endpoint = &self.endpoints[position];
        endpoint.pick(self.dial());
        self.renew(position, endpoint);
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

    /// Takes over that an endpoint was picked as one of those [`Members::near`].
    pub(super) fn note_pick_of(&self, endpoint: &Endpoint) {
        if let Some(position) = self.search(|member| by_place(member, endpoint)) {
            self.refresh_key(position, endpoint);
        }
        self.note_pick();
    }

    /// Takes over the key of a member.
    #[cfg(test)]
    pub(super) fn refresh(&self, position: usize) {
        self.renew(position, &self.endpoints[position]);
    }

    /// Takes over the key of an endpoint, if it is a member.
    pub(super) fn refresh_endpoint(&self, endpoint: &Endpoint) {
        if let Some(position) = self.search(|member| by_place(member, endpoint)) {
            self.renew(position, &self.endpoints[position]);
        }
    }

    /// Takes over the key of a member, here and among those near.
    fn renew(&self, position: usize, endpoint: &Endpoint) {
        self.refresh_key(position, endpoint);
        if let Some(near) = &self.near {
            near.refresh(endpoint);
        }
    }

    fn refresh_key(&self, position: usize, endpoint: &Endpoint) {
        let is_last = position >= self.normal;
        (self.tree).refresh(position, || self.terms.key(endpoint, is_last));
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
        let parts = [0..self.normal, self.normal..self.endpoints.len()];
        parts.into_iter().find_map(|part| {
            let end = part.end;
            let at = (self.endpoints).partition_point(part, |member| beside(member).is_lt());
            (at < end && beside(&self.endpoints[at]).is_eq()).then_some(at)
        })
    }

    /// Takes over the keys of all, if `turned` or somebody was picked.
    pub(super) fn settle(&self, turned: bool) {
        if turned && (self.picked.swap(false, Relaxed) || self.stale()) {
            self.refresh_all();
        }
        self.count_work();
    }

    /// Takes over the keys of all.
    pub(super) fn refresh_all(&self) {
        for (position, endpoint) in self.endpoints.iter().enumerate() {
            self.refresh_key(position, endpoint);
        }
        if let Some(near) = &self.near {
            near.refresh_all();
        }
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
            let work = self.endpoints.iter().map(|member| member.work(self.dial()));
            self.work.store(work.sum(), Relaxed);
        }
    }
}

/// Whether so many suspects are more than half of all.
fn most(suspects: usize, all: usize) -> bool {
    suspects * 2 > all
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
mod tests;
