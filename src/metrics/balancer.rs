//! What the balancer answers. A pick costs one addition per count, and takes no lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::{MetricType, counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::reading::Reading;
use crate::model::service::Policy;

/// What may come of a pick: the reasons of the surfaces, and first that there is an answer.
const RESULTS: [&str; 9] = [
    "answered",
    "NotSynced",
    "NotFound",
    "NothingHealthy",
    "AllExcluded",
    "Exclusive",
    "Forbidden",
    "TooLarge",
    "other",
];

/// The policies in the order of their declaration; last, those picks that did not come as far as to one.
const POLICIES: [&str; 8] = [
    "leastLoad",
    "p2c",
    "ordered",
    "roundRobin",
    "random",
    "weighted",
    "hash",
    "none",
];

/// Upper ends of the buckets of a pick's time, in nanoseconds; the last one has no end.
const BUCKETS: [u64; 10] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000,
];

/// Picks, queues, and clients by xDS.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    picks: Arc<Picks>,
    queues: Arc<Mutex<BTreeMap<String, (usize, u32)>>>,
    xds_clients: Gauge,
    xds_refusals: Counter,
}

#[derive(Debug, Default)]
struct Picks {
    counts: [[AtomicU64; RESULTS.len()]; POLICIES.len()],
    /// Not cumulated.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanos: AtomicU64,
}

impl Answers {
    /// A pick came to its end, which took that long. `refusal`: why nothing was answered, in the word of the
    /// surfaces. `policy`: that of the service, where the pick came as far as to one.
    pub fn picked(&self, policy: Option<Policy>, refusal: Option<&str>, took: Duration) {
        let result = refusal.map_or(0, |reason| {
            let known = RESULTS.iter().position(|result| *result == reason);
            known.unwrap_or(RESULTS.len() - 1)
        });
        let policy = policy.map_or(POLICIES.len() - 1, |policy| policy as usize);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|end| *end < nanos);
        self.picks.counts[policy][result].fetch_add(1, Relaxed);
        self.picks.buckets[bucket].fetch_add(1, Relaxed);
        self.picks.nanos.fetch_add(nanos, Relaxed);
    }

    /// Picks that were answered so far, and those that were not.
    pub fn picks(&self) -> (u64, u64) {
        let of = |result: &AtomicU64| result.load(Relaxed);
        let sum = |(answered, refused), counts: &[AtomicU64; RESULTS.len()]| {
            let others: u64 = counts[1..].iter().map(of).sum();
            (answered + of(&counts[0]), refused + others)
        };
        self.picks.counts.iter().fold((0, 0), sum)
    }

    /// How many wait for tickets of each service, and how many units it has.
    pub fn wait(&self, queues: impl Iterator<Item = (String, (usize, u32))>) {
        let mut known = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        *known = queues.collect();
    }

    /// A client by xDS came.
    pub fn xds_came(&self) {
        self.xds_clients.inc();
    }

    /// A client by xDS went.
    pub fn xds_went(&self) {
        self.xds_clients.dec();
    }

    /// A client by xDS did not take what it was sent.
    pub fn xds_refused(&self) {
        self.xds_refusals.inc();
    }

    /// Picks by policy and result, and the queues.
    pub(super) fn read(&self) -> Vec<Reading> {
        let mut picks = Reading::counter(
            "quaestor_balancer_picks",
            "Picks, by the policy of the service and what came of them.",
        );
        for (policy, counts) in POLICIES.iter().zip(&self.picks.counts) {
            for (result, count) in RESULTS.iter().zip(counts) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let labels = [
                        ("policy", policy.to_string()),
                        ("result", result.to_string()),
                    ];
                    picks.push(labels, count as f64);
                }
            }
        }
        let mut waiting = Reading::gauge(
            "quaestor_balancer_queue_length",
            "Callers who wait here for a ticket of the service.",
        );
        let mut units = Reading::gauge(
            "quaestor_balancer_queue_units",
            "Units of the service that tickets are given for, as far as agents can be reached.",
        );
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, (length, all)) in queues.iter() {
            waiting.push([("service", service.clone())], *length as f64);
            units.push([("service", service.clone())], f64::from(*all));
        }
        vec![picks, waiting, units]
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "balancer_xds_clients",
            "Clients that are connected by xDS",
            self.xds_clients.clone(),
        );
        registry.register(
            "balancer_xds_refusals",
            "Updates that a client by xDS did not take (NACK)",
            self.xds_refusals.clone(),
        );
        registry.register_collector(Box::new(Times(Arc::clone(&self.picks))));
    }
}

/// The times of picks as a histogram. The library's own takes a lock for each observation.
#[derive(Debug)]
struct Times(Arc<Picks>);

impl Collector for Times {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ends = BUCKETS.iter().map(|nanos| *nanos as f64 / 1e9);
        let counts = self.0.buckets.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = ends.chain([f64::MAX]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.nanos.load(Relaxed) as f64 / 1e9;
        let mut metric = encoder.encode_descriptor(
            "balancer_pick_seconds",
            "How long a pick took, without the way there and back.",
            None,
            MetricType::Histogram,
        )?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_counted_by_policy_result_and_time() {
        let answers = Answers::default();
        answers.picked(Some(Policy::LeastLoad), None, Duration::from_nanos(250));
        answers.picked(
            Some(Policy::Hash),
            Some("AllExcluded"),
            Duration::from_secs(60),
        );
        answers.picked(None, Some("Novel"), Duration::from_nanos(251));
        assert_eq!(answers.picks(), (1, 2));
        let labels = |labels: &[(&str, String)]| {
            let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
            values.join(" ")
        };
        let picks = &answers.read()[0];
        let seen: Vec<String> = picks.samples().iter().map(|(own, _)| labels(own)).collect();
        assert_eq!(
            seen,
            ["leastLoad answered", "hash AllExcluded", "none other"]
        );
        let counts: Vec<u64> = answers
            .picks
            .buckets
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
