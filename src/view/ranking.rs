//! The order of `DiscoverTopServices`, kept: for names with so many endpoints that looking at each of them for
//! every question would take too long.
//!
//! The writer sorts the endpoints now and then; who asks takes the first one that was not handed out lately.
//! That is the order of [`super::top`], at most as old as [`pause`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;

use super::{Endpoint, bits::Bits, members::Members, top};
use crate::model::Moment;

/// With fewer members a look at each of them is faster than anything else.
pub(super) const WORTHWHILE: usize = 64;

/// The time between two rankings of so many members: sorting is to take a few hundredths of it.
fn pause(members: usize) -> Duration {
    Duration::from_micros(5 * members as u64)
}

/// Positions of members, the best first.
#[derive(Debug)]
pub(super) struct Ranking {
    order: Vec<u32>,
    /// How many of them, from the front, are not suspect.
    normal: usize,
    /// Indexes into `order` of those that were not handed out lately.
    free: Bits,
    made: Moment,
}

impl Ranking {
    fn new(members: &Members, recently: Duration, now: Moment) -> Self {
        let order = top::static_order(members);
        let normal = order.partition_point(|position| (*position as usize) < members.normal());
        let ranking = Self {
            free: Bits::new(order.len()),
            normal,
            order,
            made: now,
        };
        for (rank, position) in ranking.order.iter().enumerate() {
            if !members.endpoints()[*position as usize].was_handed_out(recently, now) {
                ranking.free.set(rank);
            }
        }
        ranking
    }

    /// The best, which counts as handed out from `now` on.
    pub(super) fn take(
        &self,
        members: &Members,
        recently: Duration,
        now: Moment,
    ) -> Option<Arc<Endpoint>> {
        let endpoint = |rank: usize| Some(&members.endpoints()[*self.order.get(rank)? as usize]);
        while let Some(rank) = self.free.first() {
            if rank >= self.normal && self.normal > 0 {
                break;
            }
            // Somebody else may be faster, here or by way of another name.
            let mine = self.free.clear(rank);
            let endpoint = endpoint(rank)?;
            if mine && !endpoint.was_handed_out(recently, now) && !endpoint.hand_out(recently, now)
            {
                return Some(Arc::clone(endpoint));
            }
        }
        let first = endpoint(0)?;
        first.hand_out(recently, now);
        Some(Arc::clone(first))
    }

    /// Lets those be found again that were handed out long enough ago.
    fn settle(&self, members: &Members, recently: Duration, now: Moment) {
        for rank in self.free.missing(self.order.len()) {
            let position = self.order[rank] as usize;
            if !members.endpoints()[position].was_handed_out(recently, now) {
                self.free.set(rank);
            }
        }
    }
}

/// Brings the ranking of `members` up to date, or ends it when nobody asks for it any more.
pub(super) fn settle(members: &Members, recently: Duration, now: Moment) {
    let kept = &members.kept;
    let current = kept.ranking.load();
    let stale = kept.loads_changed.load(Relaxed);
    match current.as_ref() {
        Some(ranking) if !stale || now.since(ranking.made) < pause(members.endpoints().len()) => {
            ranking.settle(members, recently, now);
        }
        None if !kept.wanted.load(Relaxed) => {}
        _ => {
            kept.loads_changed.store(false, Relaxed);
            let wanted = kept.wanted.swap(false, Relaxed);
            let next = wanted.then(|| Arc::new(Ranking::new(members, recently, now)));
            kept.ranking.store(next);
        }
    }
}

/// The ranking of a name, as far as there is one.
#[derive(Debug, Default)]
pub(super) struct Kept {
    ranking: ArcSwapOption<Ranking>,
    /// Whether somebody asked since it was made.
    wanted: AtomicBool,
    /// Whether loads have changed since it was made.
    loads_changed: AtomicBool,
}

impl Kept {
    /// The ranking; asking for it sees to it that there will be one.
    pub(super) fn get(&self) -> arc_swap::Guard<Option<Arc<Ranking>>> {
        if !self.wanted.load(Relaxed) {
            self.wanted.store(true, Relaxed);
        }
        self.ranking.load()
    }

    /// Whether there is one, or is to be.
    fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed) || self.ranking.load().is_some()
    }

    /// Begins where the ranking of the former members ended: who wanted that one wants this one.
    pub(super) fn follow(&self, former: &Self) {
        self.wanted.store(former.is_wanted(), Relaxed);
    }

    /// Notes that the load of a member changed.
    pub(super) fn note_change(&self) {
        self.loads_changed.store(true, Relaxed);
    }
}
