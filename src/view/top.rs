//! `DiscoverTopServices`: the least busy first, by the rules of quaestor-mini-cluster.
//!
//! Its comparison was not a total order; this is one key per endpoint that says the same wherever
//! that was one. Smaller comes first:
//!
//! 1. suspects after all others
//! 2. those handed out lately after the rest
//! 3. those with a known rate, then those with counts only, then those without a report
//! 4. the known rate
//! 5. utilisation of the host: current requests over capacity of all endpoints of this name there
//! 6. its own current requests over its capacity
//! 7. host (its case does not count), then port
//!
//! What is not a number comes last within its rule. An endpoint that reports capacity 0 is left out.
//!
//! Where this differs: the ancestor compared an endpoint with a known rate to one without by rules 5
//! to 7, which makes cycles in mixed lists; here those with a known rate come first. It left out
//! endpoints without a report; here they come last, so that services without a load source can be
//! found. It let an unknown capacity (negative) lower the sum of its host; here such an endpoint does
//! not count in the sum, and its own ratio is unknown.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use super::{
    Endpoint,
    endpoint::{Counts, Load},
    members::Members,
    ranking,
};
use crate::model::Moment;

/// At most `at_most` of `members` that `may` be chosen, the least busy first. Those chosen count as handed out
/// from `now` on, for `recently`.
pub(super) fn choose(
    members: &Members,
    at_most: usize,
    may: impl Fn(&Endpoint) -> bool,
    recently: Duration,
    now: Moment,
) -> Vec<Arc<Endpoint>> {
    let ranks = || {
        ranks(members, |endpoint| endpoint.was_handed_out(recently, now))
            .filter(|rank| may(&members.endpoints()[rank.position]))
    };
    match at_most {
        0 => Vec::new(),
        1 => loop {
            // What most ask for: no list of ranks, however many members there are.
            let Some(rank) = ranks().min() else {
                return Vec::new();
            };
            let endpoint = &members.endpoints()[rank.position];
            let was_handed_out = endpoint.hand_out(recently, now);
            // Else somebody who asks at the same time was faster. The next look finds it handed out.
            if rank.recent || !was_handed_out {
                return vec![Arc::clone(endpoint)];
            }
        },
        _ => {
            let endpoint = |rank: Rank| {
                let endpoint = &members.endpoints()[rank.position];
                endpoint.hand_out(recently, now);
                Arc::clone(endpoint)
            };
            let chosen = smallest(ranks().collect(), at_most);
            chosen.into_iter().map(endpoint).collect()
        }
    }
}

/// The least busy, by a kept ranking if there is one.
pub(super) fn first(members: &Members, recently: Duration, now: Moment) -> Vec<Arc<Endpoint>> {
    if members.endpoints().len() >= ranking::WORTHWHILE
        && let Some(ranking) = members.kept.get().as_ref()
    {
        return ranking.take(members, recently, now).into_iter().collect();
    }
    choose(members, 1, |_| true, recently, now)
}

/// The positions of all that take requests, in the order that they have where none was handed out lately.
pub(super) fn static_order(members: &Members) -> Vec<u32> {
    let mut ranks: Vec<Rank> = ranks(members, |_| false).collect();
    ranks.sort_unstable();
    let position = |rank: &Rank| u32::try_from(rank.position).unwrap_or(u32::MAX);
    ranks.iter().map(position).collect()
}

/// The `count` smallest of `ranks`, in order: selected before they are sorted.
fn smallest(mut ranks: Vec<Rank>, count: usize) -> Vec<Rank> {
    if count < ranks.len() {
        ranks.select_nth_unstable(count);
        ranks.truncate(count);
    }
    ranks.sort_unstable();
    ranks
}

/// The total key, in the order of the rules. The position stands for the last one: members are
/// ordered by host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    suspect: bool,
    recent: bool,
    knowledge: Knowledge,
    rate: Measure,
    host_utilisation: Measure,
    own_utilisation: Measure,
    position: usize,
}

/// What an endpoint says of its load, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Knowledge {
    Rate,
    Counts,
    Nothing,
}

/// The rank of every member that takes requests, in the order of members.
fn ranks(members: &Members, is_recent: impl Fn(&Endpoint) -> bool) -> impl Iterator<Item = Rank> {
    let hosts = host_utilisation(members);
    let places = members.endpoints().iter().zip(&members.hosts().of);
    places
        .enumerate()
        .filter_map(move |(position, (endpoint, host))| {
            let load = endpoint.load();
            let takes_none = load.counts.is_some_and(|counts| counts.capacity == 0);
            (!takes_none).then(|| Rank {
                suspect: position >= members.normal(),
                recent: is_recent(endpoint),
                knowledge: match load {
                    Load {
                        known_rate: Some(_),
                        ..
                    } => Knowledge::Rate,
                    Load {
                        counts: Some(_), ..
                    } => Knowledge::Counts,
                    _ => Knowledge::Nothing,
                },
                rate: Measure::of(load.known_rate),
                host_utilisation: hosts[*host as usize],
                own_utilisation: Measure::of(load.counts.and_then(utilisation)),
                position,
            })
        })
}

/// Per host the sum of current requests over the sum of capacities.
fn host_utilisation(members: &Members) -> Vec<Measure> {
    let mut sums = vec![(0_i64, 0_i64); members.hosts().count];
    for (endpoint, host) in members.endpoints().iter().zip(&members.hosts().of) {
        if let Some(Counts {
            capacity: capacity @ 1..,
            current,
        }) = endpoint.load().counts
        {
            let (all_current, all_capacity) = &mut sums[*host as usize];
            *all_current += i64::from(current);
            *all_capacity += i64::from(capacity);
        }
    }
    let ratio = |(current, capacity)| (capacity > 0).then(|| current as f64 / capacity as f64);
    sums.into_iter()
        .map(|sum| Measure::of(ratio(sum)))
        .collect()
}

/// Its current requests over its capacity, where that is known.
fn utilisation(counts: Counts) -> Option<f64> {
    (counts.capacity > 0).then(|| f64::from(counts.current) / f64::from(counts.capacity))
}

/// A number in a total order: as numbers are, and what is not a number last.
#[derive(Clone, Copy, Debug)]
struct Measure(f64);

impl Measure {
    fn of(number: Option<f64>) -> Self {
        match number {
            // Adding 0 turns the negative zero, which the total order puts first, into zero.
            Some(number) if !number.is_nan() => Self(number + 0.0),
            _ => Self(f64::NAN),
        }
    }
}

impl Ord for Measure {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Measure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Measure {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Measure {}

#[cfg(test)]
mod tests;
