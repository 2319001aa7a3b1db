//! How many picks balancers answer in a second, by what each has counted since it began.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, join_all};

use crate::model::Moment;

/// Tells what balancers have counted.
pub trait Counts: Send + Sync {
    /// Picks that the balancer at `address` (`host:port`) has answered since it began; none where it does not tell.
    fn answered(&self, address: &str) -> BoxFuture<'static, Option<u64>>;

    /// No others will be asked again.
    fn keep_only(&self, addresses: &[String]);
}

/// What each balancer told, by its address.
pub(super) type Told = BTreeMap<String, u64>;

/// Asks all balancers at once.
pub(super) async fn ask(asked: &dyn Counts, addresses: Vec<String>) -> Told {
    asked.keep_only(&addresses);
    let answers = addresses.iter().map(|address| asked.answered(address));
    let answers = join_all(answers).await;
    let told = addresses.into_iter().zip(answers);
    told.filter_map(|(address, count)| Some((address, count?)))
        .collect()
}

/// What balancers told last, and when.
#[derive(Default)]
pub(super) struct Rates(BTreeMap<String, (Moment, u64)>);

impl Rates {
    /// Picks in a second, of all who told a count before and at `now`; none where nobody did. Those of one that has
    /// begun anew count from its next answer on.
    pub(super) fn take(&mut self, told: Told, now: Moment) -> Option<f32> {
        let rate = |(address, count): (&String, &u64)| {
            let (then, before) = self.0.get(address)?;
            let seconds = now.since(*then).as_secs_f64();
            let picks = count.checked_sub(*before)?;
            (seconds > 0.0).then(|| picks as f64 / seconds)
        };
        let rates: Vec<f64> = told.iter().filter_map(rate).collect();
        let known = told.into_iter();
        self.0 = known.map(|(from, count)| (from, (now, count))).collect();
        (!rates.is_empty()).then(|| rates.iter().sum::<f64>() as f32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(counts: &[(&str, u64)]) -> Told {
        let told = counts.iter();
        told.map(|(from, count)| ((*from).to_owned(), *count))
            .collect()
    }

    #[test]
    fn rates_of_balancers_add_up_and_a_new_one_or_a_restarted_one_counts_from_its_second_answer() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let mut rates = Rates::default();
        assert_eq!(rates.take(told(&[("a", 100)]), at(0)), None);
        assert_eq!(
            rates.take(told(&[("a", 300), ("b", 7)]), at(2)),
            Some(100.0)
        );
        assert_eq!(
            rates.take(told(&[("a", 310), ("b", 17)]), at(4)),
            Some(10.0)
        );
        // It begins anew: what it counted meanwhile is not known.
        assert_eq!(rates.take(told(&[("a", 3), ("b", 17)]), at(5)), Some(0.0));
        assert_eq!(rates.take(told(&[("a", 5)]), at(6)), Some(2.0));
        assert_eq!(rates.take(Told::new(), at(7)), None);
    }
}
