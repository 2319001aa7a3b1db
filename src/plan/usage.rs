//! What the trees of processes use up, from two looks at each.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{Instance, LoadReport, Moment, Usage};

/// Time between two looks: long enough that they cost nothing, short enough for those who balance by them.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// What counts as having moved: this part of what was reported.
const MUCH: f64 = 0.1;

/// Processors below which nothing counts as having moved.
const IDLE: f64 = 0.05;

/// Usage by instance.
pub type Usages = BTreeMap<Instance, Usage>;

/// Processor time per time: how many processors were in use.
pub fn cores(before: (Duration, Moment), now: (Duration, Moment)) -> Option<f64> {
    let time = now.1.since(before.1).as_secs_f64();
    let used = now.0.saturating_sub(before.0).as_secs_f64();
    (time > 0.0).then(|| used / time)
}

/// The load of an instance that uses so many processors where `all` of them are a rate of 1.
pub fn load(cores: f64, all: f64) -> LoadReport {
    LoadReport {
        known_rate: Some(cores / all.max(0.001)),
        stats: None,
    }
}

/// Whether the difference is worth being written.
pub fn moved(before: &Usages, current: &Usages) -> bool {
    before.len() != current.len()
        || current.iter().any(|(instance, now)| {
            before
                .get(instance)
                .is_none_or(|before| differs(before, now))
        })
}

fn differs(a: &Usage, b: &Usage) -> bool {
    let apart = |a: f64, b: f64, least: f64| (a - b).abs() > (MUCH * a.max(b)).max(least);
    #[allow(
        clippy::cast_precision_loss,
        reason = "no memory is so large that it matters"
    )]
    let memory = apart(a.memory as f64, b.memory as f64, 1024.0 * 1024.0);
    a.processes != b.processes || memory || apart(a.cpu, b.cpu, IDLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::new(Duration::from_secs(secs))
    }

    fn usages(cpu: f64, memory: u64, processes: u32) -> Usages {
        let usage = Usage {
            cpu,
            memory: memory << 20,
            processes,
        };
        Usages::from([("w-0".parse().unwrap(), usage)])
    }

    #[test]
    fn processors_are_time_by_time_and_never_less_than_none() {
        let looked = |secs| Duration::from_secs(secs);
        assert_eq!(cores((looked(10), at(0)), (looked(15), at(10))), Some(0.5));
        assert_eq!(cores((looked(10), at(0)), (looked(9), at(10))), Some(0.0));
        assert_eq!(cores((looked(10), at(5)), (looked(11), at(5))), None);
        assert_eq!(load(1.5, 3.0).known_rate, Some(0.5));
    }

    #[test]
    fn what_hardly_moved_is_not_worth_a_write() {
        let before = usages(0.5, 100, 3);
        for (current, worth) in [
            (usages(0.54, 105, 3), false),
            (usages(0.6, 100, 3), true),
            (usages(0.5, 120, 3), true),
            (usages(0.5, 100, 4), true),
            (Usages::new(), true),
        ] {
            assert_eq!(moved(&before, &current), worth, "{current:?}");
        }
        assert!(
            !moved(&usages(0.0, 1, 1), &usages(0.04, 1, 1)),
            "idle noise"
        );
    }
}
