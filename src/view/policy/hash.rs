//! `hash`: the same endpoint for the same affinity key, while it has room.
//!
//! Multi-probe consistent hashing (Appleton and O'Reilly 2015): every endpoint is one point of a circle; the key
//! is hashed several times, and the hash that lies closest before a point decides. That spreads keys nearly as
//! evenly as hundreds of points per endpoint would, and costs nothing when members change. One that is gone
//! moves only its own keys.
//!
//! Bounded loads (Mirrokni, Thorup, Zadimoghaddam 2017): an endpoint has room while its requests, reported and
//! picked, are fewer than 1.25 times its fair share. Who finds none goes on to the next on the circle.

use std::{ops::Range, sync::Arc};

use crate::view::{Endpoint, members::Members, numbers::mix, question::Question};

/// Probes per key: no endpoint gets more than about 1.05 times its share of many keys.
const PROBES: u64 = 21;

/// What an endpoint may have to do, as parts of its fair share: 5 to 4.
const BOUND: (u64, u64) = (5, 4);

/// Points of endpoints on a circle.
#[derive(Debug)]
pub(in crate::view) struct Ring {
    /// Where on the circle, and which member; ordered.
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// The points of `endpoints`. They do not depend on each other, nor on the balancer.
    pub(super) fn new<'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint>>) -> Self {
        let point = |(endpoint, position): (&Arc<Endpoint>, u32)| {
            let host = hash(endpoint.host_in_lower_case().as_bytes());
            (mix(host ^ mix(u64::from(endpoint.port()))), position)
        };
        let mut points: Vec<_> = endpoints.zip(0..).map(point).collect();
        points.sort_unstable();
        Self { points }
    }

    /// All members, the one for `key` first, then on along the circle.
    fn from<'a>(&'a self, key: &str) -> impl Iterator<Item = usize> + 'a {
        let key = hash(key.as_bytes());
        let nearest = (0..PROBES)
            .filter_map(|probe| {
                let place = mix(key.wrapping_add(probe.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
                let at = self.points.partition_point(|(point, _)| *point < place);
                let at = if at == self.points.len() { 0 } else { at };
                let (point, _) = self.points.get(at)?;
                Some((point.wrapping_sub(place), at))
            })
            .min()
            .map_or(0, |(_, at)| at);
        let (before, behind) = self.points.split_at(nearest);
        let along = behind.iter().chain(before);
        along.map(|(_, position)| *position as usize)
    }
}

/// The members for the question's key: those with room first, on along the circle; suspects last.
pub(super) fn choose(members: &Members, question: &Question<'_>) -> Vec<Arc<Endpoint>> {
    let (normal, all) = (members.normal(), members.endpoints().len());
    let ring = members.aids().ring.as_ref();
    let along = |suspects: Range<usize>| {
        let normal = ring
            .into_iter()
            .flat_map(|ring| ring.from(question.affinity_key));
        let able = normal.chain(suspects).filter(|position| {
            members.takes(*position) && question.admits(&members.endpoints()[*position])
        });
        able.collect::<Vec<_>>()
    };
    let has_room = |position: &usize| {
        let share = (members.work() + 1) * BOUND.0;
        let most = share.div_ceil(BOUND.1 * normal.max(1) as u64);
        members.endpoints()[*position].work(members.dial()) < most
    };
    let mut chosen: Vec<usize> = match question.count {
        // What most ask for: only as far along as needed.
        1 => ring
            .into_iter()
            .flat_map(|ring| ring.from(question.affinity_key))
            .find(|position| {
                has_room(position)
                    && members.takes(*position)
                    && question.admits(&members.endpoints()[*position])
            })
            .into_iter()
            .collect(),
        _ => Vec::new(),
    };
    if chosen.is_empty() {
        let able = along(normal..all);
        let (room, full): (Vec<usize>, Vec<usize>) = able
            .into_iter()
            .partition(|at| *at < normal && has_room(at));
        chosen = room.into_iter().chain(full).take(question.count).collect();
    }
    let answer = chosen.into_iter().map(|position| {
        members.pick(position);
        Arc::clone(&members.endpoints()[position])
    });
    answer.collect()
}

/// A hash that is the same in every balancer of every version (FNV-1a, then mixed).
fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}
