//! When a node's load record is written: soon when something moved, seldom when little did, never
//! when nothing did.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{Instance, LoadReport, Moment, ServerStats};

/// The shortest time between two records of a node.
const BUSY: Duration = Duration::from_secs(1);

/// The time between two records when nothing moved by much. Part of the store's write budget: an idle
/// cluster writes one record per node and 10 s at most.
pub const IDLE: Duration = Duration::from_secs(10);

/// What counts as having moved: this part of the scale.
const MUCH: f64 = 0.1;

/// Reports by instance.
pub type Reports = BTreeMap<Instance, LoadReport>;

/// When `current` is to be written, given what was written last and when; none when it says nothing
/// new.
pub fn due(written: Option<(&Reports, Moment)>, current: &Reports, now: Moment) -> Option<Moment> {
    match written {
        None if current.is_empty() => None,
        None => Some(now),
        Some((before, _)) if before == current => None,
        Some((before, at)) if moved(before, current) => Some(at + BUSY),
        Some((_, at)) => Some(at + IDLE),
    }
}

fn moved(before: &Reports, current: &Reports) -> bool {
    before.len() != current.len()
        || current.iter().any(|(instance, now)| {
            before
                .get(instance)
                .is_none_or(|before| differs(before, now))
        })
}

fn differs(a: &LoadReport, b: &LoadReport) -> bool {
    let rate = match (a.known_rate, b.known_rate) {
        // Rates have no fixed scale: compared with each other, but not below the noise.
        (Some(a), Some(b)) => (a - b).abs() > MUCH * a.max(b).max(MUCH),
        (a, b) => a.is_some() != b.is_some(),
    };
    let stats = match (&a.stats, &b.stats) {
        (Some(a), Some(b)) => stats_differ(a, b),
        (a, b) => a.is_some() != b.is_some(),
    };
    rate || stats
}

fn stats_differ(a: &ServerStats, b: &ServerStats) -> bool {
    let requests = f64::from(a.current_requests.abs_diff(b.current_requests));
    let scale = f64::from(if a.request_capacity > 0 {
        a.request_capacity
    } else {
        a.current_requests.max(b.current_requests)
    });
    a.request_capacity != b.request_capacity
        || requests > MUCH * scale
        || (a.server_utilization - b.server_utilization).abs() > MUCH
        || (a.server_memory_usage_percent - b.server_memory_usage_percent).abs() > 100.0 * MUCH
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Moment = Moment::new(Duration::from_secs(100));
    const NOW: Moment = Moment::new(Duration::from_secs(101));

    fn reports(rates: &[f64]) -> Reports {
        let report = |(slot, rate): (usize, &f64)| {
            let instance = Instance::new("w".parse().unwrap(), u32::try_from(slot).unwrap());
            let report = LoadReport {
                known_rate: Some(*rate),
                stats: None,
            };
            (instance, report)
        };
        rates.iter().enumerate().map(report).collect()
    }

    fn busy(requests: i32, capacity: i32) -> ServerStats {
        ServerStats {
            current_requests: requests,
            request_capacity: capacity,
            ..ServerStats::default()
        }
    }

    #[test]
    fn the_first_reports_are_written_at_once_and_no_reports_never() {
        assert_eq!(due(None, &reports(&[]), NOW), None);
        assert_eq!(due(None, &reports(&[0.1]), NOW), Some(NOW));
    }

    #[test]
    fn what_moved_is_written_after_a_second_what_hardly_moved_after_ten() {
        let before = reports(&[0.5]);
        let due = |current: &[f64]| due(Some((&before, WRITTEN)), &reports(current), NOW);
        assert_eq!(due(&[0.5]), None);
        assert_eq!(due(&[0.51]), Some(WRITTEN + IDLE));
        assert_eq!(due(&[0.6]), Some(WRITTEN + BUSY));
        assert_eq!(due(&[0.5, 0.0]), Some(WRITTEN + BUSY));
        assert_eq!(due(&[]), Some(WRITTEN + BUSY));
    }

    #[test]
    fn a_request_is_a_move_where_it_is_a_tenth_of_the_capacity() {
        assert!(stats_differ(&busy(0, 1), &busy(1, 1)));
        assert!(stats_differ(&busy(0, -1), &busy(1, -1)));
        assert!(!stats_differ(&busy(50, 100), &busy(55, 100)));
        assert!(stats_differ(&busy(50, 100), &busy(65, 100)));
    }

    #[test]
    fn the_noise_of_an_idle_host_is_no_move() {
        let with = |utilization, memory| ServerStats {
            server_utilization: utilization,
            server_memory_usage_percent: memory,
            ..busy(0, 4)
        };
        assert!(!stats_differ(&with(0.01, 40.0), &with(0.09, 45.0)));
        assert!(stats_differ(&with(0.1, 40.0), &with(0.3, 40.0)));
    }
}
