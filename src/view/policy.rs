//! By what an endpoint is chosen. Each policy answers only members that take requests and that the question
//! admits; suspects after all others.
//!
//! - `least_load`: the exact minimum of the effective load
//! - `chance`: `p2c`, `random`, `weighted`
//! - `round_robin`: one after the other
//! - `hash`: the same for the same key, within bounds
//! - `score`: the owner's own expression
//! - `prefer`: those near the asker first, by any of these
//! - `ordered` is [`super::top`]
//!
//! Whatever is answered counts as picked, so that the loads tell the truth whatever the policy.

mod aids;
mod chance;
mod hash;
mod least_load;
pub(super) mod prefer;
mod round_robin;
mod score;

use std::{collections::BTreeSet, ops::Range, sync::Arc, time::Duration};

use super::{Endpoint, members::Members, numbers::Numbers, question::Question, top};
use crate::model::{
    score::Score,
    service::{BalanceSpec, Policy},
};

pub(super) use aids::Aids;

/// How to choose among the members of a name.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// What the manifest says.
    pub spec: BalanceSpec,
    /// Its score, ready for use. One that cannot be read, which only a newer program can have let in, is left out.
    pub(super) score: Option<Score>,
}

impl Rules {
    /// The rules of a route.
    pub(super) fn new(spec: BalanceSpec) -> Self {
        let score = spec.score.as_deref().and_then(|text| Score::new(text).ok());
        Self { spec, score }
    }

    /// `own`, with only those callers whom all rules `of` a name allow: an answer may be of any of its services.
    pub(super) fn guarded<'a>(own: &Arc<Self>, of: impl Iterator<Item = &'a Self>) -> Arc<Self> {
        let mut allow = own.spec.allow.clone();
        for others in of.filter_map(|rules| rules.spec.allow.as_ref()) {
            match &mut allow {
                None => allow = Some(others.clone()),
                Some(allow) => allow.retain(|name| others.contains(name)),
            }
        }
        if allow == own.spec.allow {
            return Arc::clone(own);
        }
        Arc::new(Self::new(BalanceSpec {
            allow,
            ..own.spec.clone()
        }))
    }

    /// What `weighted` goes by.
    fn weight(&self, endpoint: &Endpoint) -> u64 {
        let label = self.spec.weight_label.as_deref().unwrap_or("weight");
        let labels = endpoint.node().labels();
        let weight = labels.get(label).and_then(|text| text.parse::<u32>().ok());
        weight.map_or(1, u64::from)
    }

    /// How much of all requests the endpoint is to get, where clients choose by themselves and that does not
    /// follow from its load.
    pub(super) fn fixed_weight(&self, endpoint: &Endpoint) -> Option<u64> {
        if self.score.is_some() {
            return None;
        }
        match self.policy() {
            Policy::LeastLoad | Policy::P2c | Policy::Ordered => None,
            Policy::Weighted => Some(self.weight(endpoint)),
            Policy::RoundRobin | Policy::Random | Policy::Hash => Some(1),
        }
    }

    pub(super) fn policy(&self) -> Policy {
        self.spec.policy.unwrap_or_default()
    }
}

/// The members to answer `question` with, the best first. An endpoint that is handed out by
/// [`Policy::Ordered`] comes after the others for `recently`.
pub(super) fn choose(
    members: &Members,
    question: &Question<'_>,
    recently: Duration,
) -> Vec<Arc<Endpoint>> {
    let numbers = &mut Numbers::new(question.seed);
    if let Some(score) = &members.rules().score {
        return score::choose(score, members, question, numbers);
    }
    match members.rules().policy() {
        Policy::LeastLoad => least_load::choose(members, question, numbers),
        Policy::Ordered => {
            let may = |endpoint: &Endpoint| question.admits(endpoint);
            top::choose(members, question.count, may, recently, question.now)
        }
        Policy::P2c => each(members, question, |free| {
            chance::p2c(members, free, numbers)
        }),
        Policy::Random => each(members, question, |free| free.draw(numbers)),
        Policy::Weighted => each(members, question, |free| {
            chance::weighted(members, free, numbers)
        }),
        Policy::RoundRobin => each(members, question, |free| round_robin::next(members, free)),
        Policy::Hash => hash::choose(members, question),
    }
}

/// The members that may still be chosen, within a part of all.
struct Free<'a> {
    range: Range<usize>,
    may: &'a dyn Fn(usize) -> bool,
}

impl Free<'_> {
    /// One at random. So many misses in a row are unlikely unless few are left; then they are searched for.
    fn draw(&self, numbers: &mut Numbers) -> Option<usize> {
        const MISSES: usize = 16;
        let count = self.range.len();
        if count == 0 {
            return None;
        }
        for _ in 0..MISSES {
            let position = self.range.start + numbers.below(count);
            if (self.may)(position) {
                return Some(position);
            }
        }
        self.next_from(numbers.below(count))
    }

    /// The first at or behind the `offset`th of the part, going round.
    fn next_from(&self, offset: usize) -> Option<usize> {
        let (behind, before) = (
            self.range.start + offset..self.range.end,
            self.range.start..,
        );
        behind.chain(before.take(offset)).find(|at| (self.may)(*at))
    }
}

/// As many members as the question wants, each the `next` of those that are free: of the normal ones while there
/// are any, then of the suspects.
fn each(
    members: &Members,
    question: &Question<'_>,
    mut next: impl FnMut(&Free<'_>) -> Option<usize>,
) -> Vec<Arc<Endpoint>> {
    let mut chosen = BTreeSet::new();
    let mut answer = Vec::new();
    let (normal, all) = (members.normal(), members.endpoints().len());
    for range in [0..normal, normal..all] {
        while answer.len() < question.count {
            let may = |position: usize| {
                members.takes(position)
                    && !chosen.contains(&position)
                    && question.admits(&members.endpoints()[position])
            };
            let free = Free {
                range: range.clone(),
                may: &may,
            };
            let Some(position) = next(&free) else { break };
            members.pick(position);
            answer.push(Arc::clone(&members.endpoints()[position]));
            if question.count > 1 {
                chosen.insert(position);
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests;
