//! How many picks balancers answer in a second, by what each has counted since it began; and which of their clients by
//! xDS do not take what they are sent.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, join_all};
use serde::Serialize;

use crate::model::Moment;

/// Tells what balancers have counted.
pub trait Counts: Send + Sync {
    /// What the balancer at `address` (`host:port`) has counted since it began; none where it does not tell.
    fn count(&self, address: &str) -> BoxFuture<'static, Option<Count>>;

    /// No others will be asked again.
    fn keep_only(&self, addresses: &[String]);
}

/// What a balancer has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Picks that were answered since it began.
    pub answered: u64,
    /// The same by the name that was asked for. Older balancers do not tell.
    pub names: BTreeMap<String, u64>,
    /// Its clients that refuse what they are sent.
    pub refusing: Refusing,
}

/// Clients by xDS of a balancer that are connected and have not taken something that they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusing {
    /// How many.
    pub clients: u32,
    /// What one of them said.
    pub words: String,
}

/// What each balancer told, by its address.
pub(super) type Told = BTreeMap<String, Count>;

/// Asks all balancers at once.
pub(super) async fn ask(asked: &dyn Counts, addresses: Vec<String>) -> Told {
    asked.keep_only(&addresses);
    let answers = addresses.iter().map(|address| asked.count(address));
    let answers = join_all(answers).await;
    let told = addresses.into_iter().zip(answers);
    told.filter_map(|(address, count)| Some((address, count?)))
        .collect()
}

/// Picks in a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pace {
    /// All of them; none where no balancer tells.
    pub(super) all: Option<f32>,
    /// Those of a name, where a balancer tells.
    pub(super) names: BTreeMap<String, f32>,
}

/// What balancers told last, and when.
#[derive(Default)]
pub(super) struct Rates(BTreeMap<String, (Moment, Count)>);

impl Rates {
    /// Picks in a second, of all who told a count before and at `now`. Those of one that has begun anew count from
    /// its next answer on.
    pub(super) fn take(&mut self, told: Told, now: Moment) -> Pace {
        let mut pace = Pace::default();
        for (address, count) in &told {
            let Some((then, before)) = self.0.get(address) else {
                continue;
            };
            let seconds = now.since(*then).as_secs_f64();
            if seconds <= 0.0 {
                continue;
            }
            let rate = |now: u64, before: u64| {
                let picks = now.checked_sub(before)?;
                Some((picks as f64 / seconds) as f32)
            };
            if let Some(rate) = rate(count.answered, before.answered) {
                *pace.all.get_or_insert_default() += rate;
            }
            for (name, count) in &count.names {
                let before = before.names.get(name).copied().unwrap_or_default();
                if let Some(rate) = rate(*count, before) {
                    *pace.names.entry(name.clone()).or_default() += rate;
                }
            }
        }
        let known = told.into_iter();
        self.0 = known.map(|(from, count)| (from, (now, count))).collect();
        pace
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(counts: &[(&str, u64)]) -> Told {
        let told = counts.iter().map(|(from, answered)| {
            let count = Count {
                answered: *answered,
                ..Count::default()
            };
            ((*from).to_owned(), count)
        });
        told.collect()
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn rates_of_balancers_add_up_and_a_new_one_or_a_restarted_one_counts_from_its_second_answer() {
        let mut rates = Rates::default();
        let mut take = |counts: &[(&str, u64)], seconds| rates.take(told(counts), at(seconds)).all;
        assert_eq!(take(&[("a", 100)], 0), None);
        assert_eq!(take(&[("a", 300), ("b", 7)], 2), Some(100.0));
        assert_eq!(take(&[("a", 310), ("b", 17)], 4), Some(10.0));
        // It begins anew: what it counted meanwhile is not known.
        assert_eq!(take(&[("a", 3), ("b", 17)], 5), Some(0.0));
        assert_eq!(take(&[("a", 5)], 6), Some(2.0));
        assert_eq!(take(&[], 7), None);
    }

    #[test]
    fn rates_of_a_name_add_up_over_balancers_and_one_that_is_new_to_a_balancer_counts_from_zero() {
        let named = |from: &str, names: &[(&str, u64)]| {
            let names = names
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count));
            let count = Count {
                names: names.collect(),
                ..Count::default()
            };
            (from.to_owned(), count)
        };
        let mut rates = Rates::default();
        let first = [named("a", &[("Worker", 10)]), named("b", &[("Worker", 50)])];
        assert_eq!(rates.take(first.into(), at(0)).names, BTreeMap::new());
        let second = [
            named("a", &[("Other", 8), ("Worker", 30)]),
            named("b", &[("Worker", 60)]),
        ];
        let pace = rates.take(second.into(), at(2));
        let expected = [("Other".to_owned(), 4.0), ("Worker".to_owned(), 15.0)];
        assert_eq!(pace.names, expected.into());
    }
}
