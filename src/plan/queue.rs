//! The queue of those who wait for a ticket of one service, and what is known of its units.
//!
//! Who has waited longest is next, wherever it has waited: a queue that is begun anew, because its keeper is
//! gone, comes out in the old order. What is known of units is only a hint: the agents decide. A unit for which
//! an answer is outstanding is not asked for again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{Instance, Moment, Name, Units};

/// So many may wait for one service. Each costs some kilobytes at two balancers.
pub const LONGEST: usize = 10_000;

/// A queue that begins with someone who has waited elsewhere gives others who may have the time to come too.
const GATHER: Duration = Duration::from_secs(1);

/// Who has waited for longer than this when it comes has waited elsewhere.
const ELSEWHERE: Duration = Duration::from_millis(250);

/// An instance that was free by all that was known, and refused, is asked again after this time.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Where a unit is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node whose agent grants it.
    pub node: Name,
    /// The instance.
    pub instance: Instance,
}

/// Names one who waits; no other ever gets the same.
pub type Caller = u64;

/// The queue of one service.
#[derive(Debug, Default)]
pub struct Queue {
    /// Those who wait, by how long.
    waiting: BTreeSet<(Moment, Caller)>,
    /// Since when each of them waits, those included whose grant is under way.
    since: BTreeMap<Caller, Moment>,
    seats: BTreeMap<Place, Seat>,
    /// Nothing is given out before.
    opens: Moment,
}

/// What is known of the units of one instance.
#[derive(Debug, Default)]
struct Seat {
    units: Units,
    /// The agent's count of changes that this reflects.
    sequence: u64,
    /// Grants without an answer.
    asked: u32,
    /// It is not asked again before.
    not_before: Moment,
}

/// There are too many in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LONGEST} callers wait already")]
pub struct Full;

impl Queue {
    /// Someone comes who has waited since `since`, here or elsewhere.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&mut self, caller: Caller, since: Moment, now: Moment) -> Result<(), Full> {
        if self.since.len() >= LONGEST {
            return Err(Full);
        }
        if self.since.is_empty() && now.since(since) > ELSEWHERE {
            self.opens = now + GATHER;
        }
        self.since.insert(caller, since);
        self.waiting.insert((since, caller));
        Ok(())
    }

    /// Someone has gone, or has got what it came for.
    pub fn leave(&mut self, caller: Caller) {
        if let Some(since) = self.since.remove(&caller) {
            self.waiting.remove(&(since, caller));
        }
    }

    /// All who are there leave. Returns who that was.
    pub fn dissolve(&mut self) -> Vec<Caller> {
        self.waiting.clear();
        std::mem::take(&mut self.since).into_keys().collect()
    }

    /// Takes in what an agent says of all its units of the service.
    pub fn learn(&mut self, node: &Name, sequence: u64, units: &BTreeMap<Instance, Units>) {
        for (place, seat) in &mut self.seats {
            if place.node == *node && !units.contains_key(&place.instance) {
                seat.units = Units::default();
            }
        }
        for (instance, units) in units {
            let place = Place {
                node: node.clone(),
                instance: instance.clone(),
            };
            self.seats.entry(place).or_default().learn(sequence, *units);
        }
        self.seats
            .retain(|_, seat| seat.asked > 0 || seat.units.capacity > 0);
    }

    /// An agent cannot be reached: what is free there is not known.
    pub fn lose(&mut self, node: &Name) {
        for (_, seat) in self
            .seats
            .iter_mut()
            .filter(|(place, _)| place.node == *node)
        {
            seat.units = Units::default();
            // The next one may count anew.
            seat.sequence = 0;
        }
        self.seats
            .retain(|_, seat| seat.asked > 0 || seat.units.capacity > 0);
    }

    /// Who is next, and which unit to ask for. Say what became of it with [`Queue::granted`],
    /// [`Queue::refused`], or [`Queue::settled`] once that is known.
    pub fn next(&mut self, now: Moment) -> Option<(Caller, Place)> {
        if now < self.opens {
            return None;
        }
        let (_, caller) = *self.waiting.first()?;
        let to_be_had = self
            .seats
            .iter_mut()
            .filter(|(_, seat)| now >= seat.not_before);
        let (place, seat) = to_be_had
            .filter(|(_, seat)| seat.free() > 0)
            .max_by_key(|(_, seat)| seat.free())?;
        seat.asked += 1;
        self.waiting.pop_first();
        Some((caller, place.clone()))
    }

    /// A unit was granted; `units` is what the agent knows of the instance since.
    pub fn granted(&mut self, place: &Place, sequence: u64, units: Units) {
        if let Some(seat) = self.seats.get_mut(place) {
            seat.asked = seat.asked.saturating_sub(1);
            seat.learn(sequence, units);
        }
    }

    /// A unit was refused: somebody else was faster, or what was known was old.
    pub fn refused(&mut self, place: &Place, now: Moment) {
        if let Some(seat) = self.seats.get_mut(place) {
            seat.asked = seat.asked.saturating_sub(1);
            seat.not_before = now + AFTER_REFUSAL;
        }
    }

    /// It is certain now that nobody has the unit that was asked for without an answer.
    pub fn settled(&mut self, place: &Place) {
        if let Some(seat) = self.seats.get_mut(place) {
            seat.asked = seat.asked.saturating_sub(1);
        }
    }

    /// One who was next got nothing, and is where it was.
    pub fn back(&mut self, caller: Caller) {
        if let Some(since) = self.since.get(&caller) {
            self.waiting.insert((*since, caller));
        }
    }

    /// Who waits, the next one first.
    pub fn waiting(&self) -> impl Iterator<Item = Caller> {
        self.waiting.iter().map(|(_, caller)| *caller)
    }

    /// The place of one who waits; 1 is the next.
    pub fn place(&self, caller: Caller) -> Option<usize> {
        let since = self.since.get(&caller)?;
        Some(self.waiting.range(..(*since, caller)).count() + 1)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// How many units there are, taken or not, where agents can be reached.
    pub fn units(&self) -> u32 {
        self.seats.values().map(|seat| seat.units.capacity).sum()
    }

    /// When something can be given out that cannot now, though nothing else happens.
    pub fn wake(&self, now: Moment) -> Option<Moment> {
        if self.waiting.is_empty() {
            return None;
        }
        let seats = self.seats.values().filter(|seat| seat.free() > 0);
        let seats = seats.map(|seat| seat.not_before.max(self.opens));
        seats.min().filter(|at| *at > now)
    }
}

impl Seat {
    fn learn(&mut self, sequence: u64, units: Units) {
        if sequence >= self.sequence {
            (self.sequence, self.units) = (sequence, units);
        }
    }

    fn free(&self) -> u32 {
        self.units.free().saturating_sub(self.asked)
    }
}

/// Which of several balancers keeps the queue of `service`: the same for all who know the same ones, and with
/// one more or less only its own queues move (rendezvous hashing).
pub fn keeper<'a>(service: &Name, balancers: impl Iterator<Item = &'a Name>) -> Option<&'a Name> {
    balancers.max_by_key(|balancer| (score(service, balancer), *balancer))
}

fn score(service: &Name, balancer: &Name) -> u64 {
    let text = format!("{service} {balancer}");
    // FNV-1a, and a mix of its bits: their last ones differ little for names that end alike.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
