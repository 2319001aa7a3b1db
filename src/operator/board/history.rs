//! How many were ready, how busy they were, and how many picks there were, over the last half hour.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::Serialize;

use super::picks::Pace;
use crate::{
    model::{LoadReport, Name, ServiceObject, Timestamp},
    operator::inventory::Raw,
};

/// So many are kept: half an hour, where one is taken every 5 s.
const MOST: usize = 360;

/// Samples of all services.
#[derive(Default)]
pub(super) struct History {
    services: BTreeMap<Name, VecDeque<Sample>>,
    picks: VecDeque<Option<f32>>,
    /// The time between two samples.
    step: Duration,
    last: Option<Timestamp>,
}

/// How a service, or all of them, was at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    ready: u32,
    all: u32,
    /// The sum of all loads, and of how many instances that is.
    load: (f32, u32),
    cpu: f32,
    memory: f32,
    /// Of the names under which it is found.
    picks: Option<f32>,
}

/// A course of time, the oldest first. All lists that are not empty are equally long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Course {
    /// Milliseconds between two samples.
    pub step: u64,
    /// When the last one was taken.
    pub last: Option<Timestamp>,
    /// Instances that clients may be sent to.
    pub ready: Vec<u32>,
    /// Instances.
    pub all: Vec<u32>,
    /// The mean of their loads as a part of their capacity; none where none tells it.
    pub load: Vec<Option<f32>>,
    /// Processors in use.
    pub cpu: Vec<f32>,
    /// Resident memory in bytes.
    pub memory: Vec<f32>,
    /// Picks that balancers answered in a second, for one service those of the names under which it is found; none
    /// where no balancer tells.
    pub picks: Vec<Option<f32>>,
}

impl History {
    /// One of which a sample is taken every `step`.
    pub(super) fn new(step: Duration) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }

    /// Takes a sample; `pace`: how many picks there are in a second.
    pub(super) fn sample(&mut self, raw: &Raw, pace: &Pace, now: Timestamp) {
        self.picks.push_back(pace.all);
        if self.picks.len() > MOST {
            self.picks.pop_front();
        }
        let mut samples: BTreeMap<Name, Sample> = BTreeMap::new();
        for seat in raw.seats() {
            let (instance, node) = seat;
            let sample = samples.entry(instance.service.clone()).or_default();
            sample.all += 1;
            sample.ready += u32::from(raw.state(seat).is_some_and(|state| state.ready));
            let Some(load) = raw.load(node) else {
                continue;
            };
            if let Some(rate) = load.instances.get(instance).and_then(LoadReport::rate) {
                sample.load.0 += rate as f32;
                sample.load.1 += 1;
            }
            if let Some(usage) = load.usage.get(instance) {
                sample.cpu += usage.cpu as f32;
                sample.memory += usage.memory as f32;
            }
        }
        for (name, sample) in &mut samples {
            sample.picks = picks_of(raw.object(name), pace);
        }
        self.services.retain(|name, samples| {
            // What is gone is forgotten once it would be out of sight.
            samples.iter().any(|sample| sample.all > 0) || raw.service(name).is_some()
        });
        for name in samples.keys() {
            self.services.entry(name.clone()).or_default();
        }
        for (name, kept) in &mut self.services {
            kept.push_back(samples.get(name).copied().unwrap_or_default());
            if kept.len() > MOST {
                kept.pop_front();
            }
        }
        self.last = Some(now);
    }

    /// That of a service, or of all together.
    pub(super) fn course(&self, service: Option<&Name>) -> Course {
        let chosen = self.services.iter();
        let chosen = chosen.filter(|(name, _)| service.is_none_or(|wanted| wanted == *name));
        let mut sum: Vec<Sample> = Vec::new();
        for (_, samples) in chosen {
            if samples.len() > sum.len() {
                let missing = samples.len() - sum.len();
                sum.splice(0..0, std::iter::repeat_n(Sample::default(), missing));
            }
            let from = sum.len() - samples.len();
            for (total, sample) in sum[from..].iter_mut().zip(samples) {
                total.add(sample);
            }
        }
        let mean = |(load, count): (f32, u32)| (count > 0).then(|| load / count as f32);
        Course {
            step: u64::try_from(self.step.as_millis()).unwrap_or(u64::MAX),
            last: self.last,
            ready: sum.iter().map(|sample| sample.ready).collect(),
            all: sum.iter().map(|sample| sample.all).collect(),
            load: sum.iter().map(|sample| mean(sample.load)).collect(),
            cpu: sum.iter().map(|sample| sample.cpu).collect(),
            memory: sum.iter().map(|sample| sample.memory).collect(),
            picks: match service {
                Some(_) => sum.iter().map(|sample| sample.picks).collect(),
                // Without services there are no other lists.
                None => self
                    .picks
                    .iter()
                    .rev()
                    .take(sum.len())
                    .rev()
                    .copied()
                    .collect(),
            },
        }
    }
}

/// Picks in a second of the names under which a service is found; none where no balancer tells of any.
fn picks_of(object: Option<&ServiceObject>, pace: &Pace) -> Option<f32> {
    let object = object?;
    let names = object.spec.discovery_names(&object.metadata.name);
    let known = names.iter().filter_map(|name| pace.names.get(*name));
    known.copied().reduce(|one, other| one + other)
}

impl Sample {
    fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.all += other.all;
        self.load = (self.load.0 + other.load.0, self.load.1 + other.load.1);
        self.cpu += other.cpu;
        self.memory += other.memory;
        self.picks = match (self.picks, other.picks) {
            (Some(own), Some(others)) => Some(own + others),
            (own, others) => own.or(others),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;

    fn raw(node: &str, instances: &[(&str, bool, f64)]) -> Raw {
        let mut raw = Raw::default();
        let node: Name = node.parse().unwrap();
        let mut reports = serde_json::Map::new();
        for (name, ready, rate) in instances {
            let state = serde_json::json!({
                "instance": name, "node": node, "phase": "Running", "ready": ready,
                "observedGeneration": 1, "epoch": 1,
            });
            let key = Key::State(node.clone(), name.parse().unwrap());
            raw.take(key, Some(state.to_string().as_bytes()));
            reports.insert((*name).to_owned(), serde_json::json!({"knownRate": rate}));
        }
        let load = serde_json::json!({"at": "2026-01-01T00:00:00Z", "instances": reports});
        raw.take(Key::Load(node), Some(load.to_string().as_bytes()));
        raw
    }

    #[test]
    fn services_that_came_later_count_as_nothing_before() {
        let mut history = History::default();
        let at = Timestamp::from_millis(0);
        history.sample(&raw("n", &[("a-0", true, 0.5)]), &Pace::default(), at);
        let pace = Pace {
            all: Some(7.0),
            ..Pace::default()
        };
        let both = raw("n", &[("a-0", false, 0.5), ("b-0", true, 0.0)]);
        history.sample(&both, &pace, at);
        let all = history.course(None);
        assert_eq!(all.ready, [1, 1]);
        assert_eq!(all.all, [1, 2]);
        assert_eq!(all.load, [Some(0.5), Some(0.25)]);
        assert_eq!(all.picks, [None, Some(7.0)]);
        let b = history.course(Some(&"b".parse().unwrap()));
        assert_eq!((b.all, b.load), (vec![1], vec![Some(0.0)]));
        let nobody = history.course(Some(&"c".parse().unwrap()));
        assert_eq!(nobody.all, [0; 0]);
    }

    #[test]
    fn picks_of_a_service_are_those_of_the_names_under_which_it_is_found() {
        let object = serde_json::json!({
            "metadata": {"name": "a"}, "generation": 1,
            "spec": {"command": ["x"], "serviceNames": ["A", "B"]},
        });
        let mut raw = raw("n", &[("a-0", true, 0.5)]);
        let key = Key::ServiceSpec("a".parse().unwrap());
        raw.take(key, Some(object.to_string().as_bytes()));
        let pace = |names: &[(&str, f32)]| {
            let names = names.iter().map(|(name, rate)| ((*name).to_owned(), *rate));
            Pace {
                all: Some(9.0),
                names: names.collect(),
            }
        };
        let mut history = History::default();
        let at = Timestamp::from_millis(0);
        history.sample(&raw, &pace(&[]), at);
        history.sample(&raw, &pace(&[("A", 1.5), ("B", 2.0), ("a", 5.0)]), at);
        let course = history.course(Some(&"a".parse().unwrap()));
        assert_eq!(course.picks, [None, Some(3.5)]);
        assert_eq!(history.course(None).picks, [Some(9.0), Some(9.0)]);
    }

    #[test]
    fn no_more_than_half_an_hour_is_kept_and_what_is_gone_is_forgotten() {
        let mut history = History::default();
        let at = Timestamp::from_millis(0);
        history.sample(&raw("n", &[("a-0", true, 0.5)]), &Pace::default(), at);
        for _ in 0..=MOST {
            history.sample(&Raw::default(), &Pace::default(), at);
        }
        assert_eq!(history.services.len(), 0);
    }
}
