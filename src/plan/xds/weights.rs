//! How much of a service's calls each endpoint gets. Clients that are told weights choose by them until they
//! are told others, so a weight follows what is usual, not the moment; and no change is told that hardly
//! matters.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::model::Moment;

/// A change of load shows to two thirds after this time. Workers of one request at a time are idle or fully busy
/// at any one moment; only over time are they something between.
const SMOOTH: Duration = Duration::from_secs(5);

/// Weights alone are told no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// The average weight.
const AVERAGE: f64 = 1000.0;

/// A weight that moved by a tenth of itself is told...
const TENTH: f64 = 0.1;

/// ... but not if that is less than this: the calls of those that get few hardly matter to the others.
const LITTLE: f64 = AVERAGE / 20.0;

/// Up to this load the free part is the weight. Beyond, the weight falls ever more slowly and never to nothing:
/// who gets no calls at all never shows that it could take some.
const NEARLY_FULL: f64 = 0.95;

/// What the part of an endpoint follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// How busy it is; 1 is fully.
    Load(f64),
    /// A fixed number. Endpoints of 0 get calls only where there are no others.
    Fixed(u64),
    /// It gets no calls any more: it is told for clients to know that it goes.
    Leaving,
}

/// An endpoint that takes calls, or did until now.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// `host:port`, as configured. No place occurs twice.
    pub place: Arc<str>,
    /// Where that leads.
    pub address: SocketAddr,
    /// Whether it is for use only when none of the others works.
    pub is_reserve: bool,
    /// What its part follows from.
    pub part: Part,
}

/// What clients are told of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// `host:port`, as configured.
    pub place: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// Its part of the calls, beside those of the same priority; not 0.
    pub weight: u32,
    /// 0 is used first. Without gaps.
    pub priority: u32,
    /// Whether it gets no new calls: what it works on goes on.
    pub is_leaving: bool,
}

/// The endpoints of one service, with a memory.
#[derive(Debug, Default)]
pub struct Weights {
    /// The usual free part of each.
    usual: BTreeMap<Arc<str>, f64>,
    at: Moment,
    /// What was told last, and when; none: nothing yet.
    told: Option<(Vec<Seat>, Moment)>,
}

impl Weights {
    /// Takes in who takes calls at `now`. Returns what clients are to be told, if anything.
    pub fn turn(&mut self, candidates: Vec<Candidate>, now: Moment) -> Option<Vec<Seat>> {
        self.follow(&candidates, now);
        let seats = self.seats(candidates);
        let is_due = match &self.told {
            None => true,
            Some((told, _)) if !are_same(told, &seats) => true,
            Some((told, at)) => now.since(*at) >= PAUSE && have_moved(told, &seats),
        };
        is_due.then(|| {
            self.told = Some((seats.clone(), now));
            seats
        })
    }

    /// Lets what is usual follow what is.
    fn follow(&mut self, candidates: &[Candidate], now: Moment) {
        let elapsed = now.since(self.at).as_secs_f64() / SMOOTH.as_secs_f64();
        self.at = now;
        let kept = (-elapsed).exp();
        let mut usual = BTreeMap::new();
        for candidate in candidates {
            let part = match candidate.part {
                Part::Load(load) => {
                    let now = free(load);
                    let before = self.usual.get(&candidate.place).copied();
                    before.map_or(now, |before| now + (before - now) * kept)
                }
                Part::Fixed(weight) => weight as f64,
                Part::Leaving => continue,
            };
            usual.insert(Arc::clone(&candidate.place), part);
        }
        self.usual = usual;
    }

    fn seats(&self, mut candidates: Vec<Candidate>) -> Vec<Seat> {
        // Several names may lead to one address, which clients refuse. Who goes may have a successor there already.
        candidates.sort_by_key(|candidate| candidate.part == Part::Leaving);
        let mut addresses = BTreeSet::new();
        candidates.retain(|candidate| addresses.insert(candidate.address));
        let stays = candidates.partition_point(|candidate| candidate.part != Part::Leaving);
        let leaving = candidates.split_off(stays);
        let part = |candidate: &Candidate| {
            let part = self.usual.get(&candidate.place).copied();
            part.unwrap_or_default()
        };
        let mut seats = Vec::with_capacity(candidates.len());
        let mut priority = 0;
        for is_reserve in [false, true] {
            let group = candidates
                .iter()
                .filter(|each| each.is_reserve == is_reserve);
            let group: Vec<&Candidate> = group.collect();
            let sum: f64 = group.iter().map(|candidate| part(candidate)).sum();
            let before = seats.len();
            for candidate in &group {
                let share = match sum > 0.0 {
                    true => part(candidate) / sum * group.len() as f64,
                    false => 1.0,
                };
                if share == 0.0 {
                    continue;
                }
                seats.push(Seat {
                    place: Arc::clone(&candidate.place),
                    address: candidate.address,
                    weight: ((share * AVERAGE).round() as u32).max(1),
                    priority,
                    is_leaving: false,
                });
            }
            if seats.len() > before {
                priority += 1;
            }
        }
        // Beside those that are used first, so that there is no priority of them alone.
        seats.extend(leaving.into_iter().map(|candidate| Seat {
            place: candidate.place,
            address: candidate.address,
            weight: 1,
            priority: 0,
            is_leaving: true,
        }));
        seats
    }
}

/// What a load leaves, between 0 and 1 and never nothing.
fn free(load: f64) -> f64 {
    let load = if load.is_finite() {
        load.max(0.0)
    } else {
        f64::from(f32::MAX)
    };
    let little = 1.0 - NEARLY_FULL;
    match load <= NEARLY_FULL {
        true => 1.0 - load,
        // Meets the other branch with the same slope.
        false => little * little / (2.0 * little - (1.0 - load)),
    }
}

/// Whether both have the same endpoints.
fn are_same(a: &[Seat], b: &[Seat]) -> bool {
    let told = |seat: &Seat| {
        let place = Arc::clone(&seat.place);
        (place, seat.address, seat.priority, seat.is_leaving)
    };
    a.len() == b.len() && a.iter().map(told).eq(b.iter().map(told))
}

/// Whether some weight is another one.
fn have_moved(a: &[Seat], b: &[Seat]) -> bool {
    a.iter().zip(b).any(|(before, now)| {
        let (before, now) = (f64::from(before.weight), f64::from(now.weight));
        (now - before).abs() > (before.max(now) * TENTH).max(LITTLE)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn candidate(number: u8, part: Part, is_reserve: bool) -> Candidate {
        Candidate {
            place: format!("h{number}:1").into(),
            address: ([10, 0, 0, number], 1).into(),
            is_reserve,
            part,
        }
    }

    fn loads(loads: &[f64]) -> Vec<Candidate> {
        let number = |(index, load): (usize, &f64)| {
            candidate(u8::try_from(index).unwrap(), Part::Load(*load), false)
        };
        loads.iter().enumerate().map(number).collect()
    }

    fn weights(seats: &[Seat]) -> Vec<u32> {
        seats.iter().map(|seat| seat.weight).collect()
    }

    #[test]
    fn calls_are_shared_out_by_what_is_free() {
        let seats = Weights::default()
            .turn(loads(&[0.4, 0.7, 0.9]), at(0))
            .unwrap();
        assert_eq!(weights(&seats), [1800, 900, 300]);
    }

    #[test]
    fn who_is_fully_busy_gets_little_and_who_has_a_queue_gets_less_but_not_nothing() {
        let seats = Weights::default().turn(loads(&[0.0, 1.0, 20.0, f64::INFINITY]), at(0));
        let weights = weights(&seats.unwrap());
        assert!(weights[1] < 150 && weights[2] < weights[1], "{weights:?}");
        assert!(weights.iter().all(|weight| *weight > 0), "{weights:?}");
    }

    #[test]
    fn a_moment_changes_little_and_what_lasts_is_told() {
        let mut service = Weights::default();
        service.turn(loads(&[0.0, 0.0]), at(0)).unwrap();
        assert_eq!(service.turn(loads(&[1.0, 0.0]), at(250)), None);
        assert_eq!(service.turn(loads(&[0.0, 0.0]), at(500)), None);
        let mut told = Vec::new();
        for tick in 4..200 {
            told.extend(service.turn(loads(&[1.0, 0.0]), at(tick * 250)));
        }
        let last = weights(told.last().unwrap());
        assert!(last[0] < 120 && last[1] > 1880, "{last:?}");
        assert!(told.len() < 20, "{} pushes", told.len());
    }

    #[test]
    fn loads_that_rise_together_are_no_news() {
        let mut service = Weights::default();
        service.turn(loads(&[0.1, 0.1]), at(0)).unwrap();
        for tick in 1..100 {
            let load = f64::from(u32::try_from(tick).unwrap()) / 120.0;
            assert_eq!(service.turn(loads(&[load, load]), at(tick * 250)), None);
        }
    }

    #[test]
    fn who_comes_or_goes_is_told_at_once() {
        let mut service = Weights::default();
        assert_eq!(service.turn(Vec::new(), at(0)), Some(Vec::new()));
        assert_eq!(service.turn(Vec::new(), at(1)), None);
        assert!(service.turn(loads(&[0.5]), at(2)).is_some());
        assert!(service.turn(loads(&[0.5, 0.5]), at(3)).is_some());
        assert_eq!(service.turn(Vec::new(), at(4)), Some(Vec::new()));
    }

    #[test]
    fn reserves_come_second_and_first_where_there_is_nobody_else() {
        let group = |reserves: &[bool]| {
            let each = reserves.iter().enumerate().map(|(number, is_reserve)| {
                candidate(u8::try_from(number).unwrap(), Part::Load(0.5), *is_reserve)
            });
            let seats = Weights::default().turn(each.collect(), at(0)).unwrap();
            seats.iter().map(|seat| seat.priority).collect::<Vec<_>>()
        };
        assert_eq!(group(&[true, false, true]), [0, 1, 1]);
        assert_eq!(group(&[true]), [0]);
    }

    #[test]
    fn fixed_weights_hold_at_once_and_nothing_means_only_without_others() {
        let fixed = |weights: &[u64]| {
            let each = weights.iter().enumerate().map(|(number, weight)| {
                candidate(u8::try_from(number).unwrap(), Part::Fixed(*weight), false)
            });
            each.collect::<Vec<_>>()
        };
        let mut service = Weights::default();
        let told = |seats: Option<Vec<Seat>>| weights(&seats.unwrap());
        assert_eq!(told(service.turn(fixed(&[3, 1, 0]), at(0))), [2250, 750]);
        assert_eq!(
            told(service.turn(fixed(&[1, 1, 0]), at(1000))),
            [1500, 1500]
        );
        assert_eq!(told(service.turn(fixed(&[0, 0]), at(2000))), [1000, 1000]);
    }

    #[test]
    fn who_goes_is_told_as_going_at_once_and_gets_no_part_of_the_calls() {
        let mut service = Weights::default();
        let mut three = loads(&[0.5, 0.5, 0.5]);
        service.turn(three.clone(), at(0)).unwrap();
        three[1].part = Part::Leaving;
        let seats = service.turn(three.clone(), at(1)).unwrap();
        let told: Vec<_> = (seats.iter())
            .map(|seat| (&*seat.place, seat.weight, seat.priority, seat.is_leaving))
            .collect();
        let expected = [
            ("h0:1", 1000, 0, false),
            ("h2:1", 1000, 0, false),
            ("h1:1", 1, 0, true),
        ];
        assert_eq!(told, expected);
        // Its successor at the same address is not told as going, nor is the address told twice.
        three[1].address = three[0].address;
        let seats = service.turn(three.clone(), at(2)).unwrap();
        assert!(seats.len() == 2 && seats.iter().all(|seat| !seat.is_leaving));
        let gone = vec![three.remove(1)];
        let seats = service.turn(gone, at(3)).unwrap();
        assert!(seats[0].is_leaving && seats[0].priority == 0);
    }

    #[test]
    fn two_names_of_one_address_are_one_endpoint() {
        let mut both = loads(&[0.5, 0.5]);
        both[1].address = both[0].address;
        let seats = Weights::default().turn(both, at(0)).unwrap();
        assert_eq!(seats.len(), 1);
    }

    proptest! {
        #[test]
        fn no_weight_is_nothing_no_priority_is_left_out_and_pushes_are_few(
            steps in prop::collection::vec(
                prop::collection::vec((any::<Option<f64>>(), any::<bool>()), 0..6),
                1..40,
            ),
        ) {
            let mut service = Weights::default();
            for (second, step) in steps.iter().enumerate() {
                let each = step.iter().enumerate().map(|(number, (load, is_reserve))| {
                    let part = load.map_or(Part::Leaving, Part::Load);
                    candidate(u8::try_from(number).unwrap(), part, *is_reserve)
                });
                let now = at(second as u64 * 1000);
                let told = service.turn(each.clone().collect(), now);
                prop_assert_eq!(service.turn(each.collect(), now), None);
                let Some(seats) = told else { continue };
                prop_assert_eq!(seats.len(), step.len());
                let priorities: BTreeSet<u32> = seats.iter().map(|seat| seat.priority).collect();
                prop_assert!(priorities.iter().copied().eq(0..priorities.len() as u32));
                prop_assert!(seats.iter().all(|seat| seat.weight > 0));
            }
        }
    }
}
