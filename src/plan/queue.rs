//! The queue of those who wait for a ticket of one service, and what is known of its units.
//!
//! Units are asked for in nobody's name: whoever has waited longest when a grant comes gets it, so that an agent
//! that takes its time holds up no one in particular. What is known of units is only a hint: the agents decide. A
//! unit for which an answer is outstanding is not asked for again.
//!
//! Who has waited longest is next, wherever it has waited. A queue tells callers by a [`Stamp`] when they came. When
//! its keeper is gone they show that at the next one, which so has them in the old order, however long each took
//! to get there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    Instance, Moment, Name, Units,
    ticket::{Age, Stamp},
};

/// So many may wait for one service. Each costs some kilobytes at two balancers.
pub const LONGEST: usize = 10_000;

/// A queue to which callers of another one come gives the others of that one the time to come too: at least this.
const GATHER: Duration = Duration::from_secs(1);

/// It waits on while they are coming, until nobody has for this long,
const QUIET: Duration = Duration::from_millis(500);

/// but no longer than this in all.
const LONGEST_GATHER: Duration = Duration::from_secs(5);

/// Nor does it begin to wait again before this time: stamps are only words.
const GATHER_AGAIN: Duration = Duration::from_secs(10);

/// Who has no stamp, and has waited for longer than this when it comes, has waited elsewhere.
const ELSEWHERE: Duration = Duration::from_millis(250);

/// So many other queues are remembered.
const ORIGINS: usize = 8;

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
#[derive(Debug)]
pub struct Queue {
    /// Names it in stamps.
    id: u64,
    /// Those who wait, by how long.
    waiting: BTreeSet<(Moment, Caller)>,
    /// Since when each of them waits.
    since: BTreeMap<Caller, Moment>,
    seats: BTreeMap<Place, Seat>,
    /// Grants that may yet be answered.
    asked: usize,
    /// Other queues that callers have come from.
    origins: Vec<Origin>,
    /// When callers of another one began to come last.
    gathers: Option<Moment>,
    /// Nothing is given out before.
    opens: Moment,
}

/// Another queue, and how its time is told in ours: what was `theirs` there is `ours` here.
#[derive(Debug)]
struct Origin {
    queue: u64,
    theirs: Moment,
    ours: Moment,
}

/// What is known of the units of one instance.
#[derive(Debug, Default)]
struct Seat {
    units: Units,
    /// The agent's count of changes that this reflects.
    sequence: u64,
    /// Grants of which it is not known what became of them.
    asked: u32,
    /// It is not asked again before.
    not_before: Moment,
}

/// There are too many in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LONGEST} callers wait already")]
pub struct Full;

impl Queue {
    /// A queue in which nobody waits. No other one has the same `id`.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            waiting: BTreeSet::new(),
            since: BTreeMap::new(),
            seats: BTreeMap::new(),
            asked: 0,
            origins: Vec::new(),
            gathers: None,
            opens: Moment::default(),
        }
    }

    /// Someone comes who has waited for so long, here or elsewhere.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&mut self, caller: Caller, age: Age, now: Moment) -> Result<(), Full> {
        if self.since.len() >= LONGEST {
            return Err(Full);
        }
        let since = self.date(age, now).min(now);
        self.since.insert(caller, since);
        self.waiting.insert((since, caller));
        Ok(())
    }

    /// Since when someone of this `age` waits, in our time. Waits for others from where it comes.
    fn date(&mut self, age: Age, now: Moment) -> Moment {
        let by_its_word = now - age.waited;
        let Some(stamp) = age.stamp else {
            if self.since.is_empty() && age.waited > ELSEWHERE {
                self.gather(now);
            }
            return by_its_word;
        };
        if stamp.queue == self.id {
            return stamp.at;
        }
        let known = (self.origins.iter()).find(|origin| origin.queue == stamp.queue);
        if let Some(origin) = known {
            let since = match stamp.at >= origin.theirs {
                true => origin.ours + stamp.at.since(origin.theirs),
                false => origin.ours - origin.theirs.since(stamp.at),
            };
            if let Some(begun) = self.gathers.filter(|_| now < self.opens) {
                let opens = self.opens.max(now + QUIET);
                self.opens = opens.min(begun + LONGEST_GATHER);
            }
            return since;
        }
        if self.origins.len() >= ORIGINS {
            self.origins.remove(0);
        }
        // The first to come is the one that took the least time to do so.
        self.origins.push(Origin {
            queue: stamp.queue,
            theirs: stamp.at,
            ours: by_its_word,
        });
        self.gather(now);
        by_its_word
    }

    /// Closes until those have come whom the loss of another queue sends here.
    fn gather(&mut self, now: Moment) {
        let is_due = |begun: Moment| now.since(begun) >= GATHER_AGAIN;
        if self.gathers.is_none_or(is_due) {
            self.gathers = Some(now);
            self.opens = now + GATHER;
        }
    }

    /// Someone has gone.
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
        self.tidy();
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
        self.tidy();
    }

    fn tidy(&mut self) {
        self.seats
            .retain(|_, seat| seat.asked > 0 || seat.units.capacity > 0);
    }

    /// A unit to ask for, on behalf of whoever will be next. Say what became of it with [`Queue::granted`],
    /// [`Queue::refused`] or [`Queue::doubted`].
    pub fn next(&mut self, now: Moment) -> Option<Place> {
        if now < self.opens || self.asked >= self.waiting.len() {
            return None;
        }
        let to_be_had = self
            .seats
            .iter_mut()
            .filter(|(_, seat)| now >= seat.not_before);
        let (place, seat) = to_be_had
            .filter(|(_, seat)| seat.free() > 0)
            .max_by_key(|(_, seat)| seat.free())?;
        seat.asked += 1;
        self.asked += 1;
        Some(place.clone())
    }

    /// A unit was granted; `units` is what the agent knows of the instance since. Returns who gets it, and
    /// leaves with it; none when nobody waits any more.
    #[must_use = "a unit that nobody gets has to be given back"]
    pub fn granted(&mut self, place: &Place, sequence: u64, units: Units) -> Option<Caller> {
        self.asked = self.asked.saturating_sub(1);
        if let Some(seat) = self.seats.get_mut(place) {
            seat.asked = seat.asked.saturating_sub(1);
            seat.learn(sequence, units);
        }
        let (_, caller) = self.waiting.pop_first()?;
        self.since.remove(&caller);
        Some(caller)
    }

    /// A unit was refused: somebody else was faster, or what was known was old.
    pub fn refused(&mut self, place: &Place, now: Moment) {
        self.doubted();
        self.settled(place);
        if let Some(seat) = self.seats.get_mut(place) {
            seat.not_before = now + AFTER_REFUSAL;
        }
    }

    /// No answer came, so that nobody knows who has the unit that was asked for. It is not asked for again before
    /// [`Queue::settled`].
    pub fn doubted(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    /// It is certain now that nobody has the unit that was asked for without an answer.
    pub fn settled(&mut self, place: &Place) {
        if let Some(seat) = self.seats.get_mut(place) {
            seat.asked = seat.asked.saturating_sub(1);
        }
    }

    /// Who waits, the next one first, and their stamps.
    pub fn waiting(&self) -> impl Iterator<Item = (Caller, Stamp)> {
        let stamp = |at| Stamp { queue: self.id, at };
        let waiting = self.waiting.iter();
        waiting.map(move |(since, caller)| (*caller, stamp(*since)))
    }

    /// The place of one who waits, 1 is the next; and its stamp.
    pub fn place(&self, caller: Caller) -> Option<(usize, Stamp)> {
        let at = *self.since.get(&caller)?;
        let place = self.waiting.range(..(at, caller)).count() + 1;
        Some((place, Stamp { queue: self.id, at }))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many units there are, taken or not, where agents can be reached.
    pub fn units(&self) -> u32 {
        self.seats.values().map(|seat| seat.units.capacity).sum()
    }

    /// When something can be given out that cannot now, though nothing else happens.
    pub fn wake(&self, now: Moment) -> Option<Moment> {
        if self.asked >= self.waiting.len() {
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
