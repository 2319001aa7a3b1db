//! What a worker knows of the host it runs on.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Tells the time, and how busy the host is.
pub trait Machine: Send + Sync {
    /// Wall time since 1970-01-01, UTC.
    fn time(&self) -> Duration;

    /// What the host's processors have done so far; none where that is not known.
    fn processors(&self) -> Option<Processors> {
        None
    }

    /// The part of the host's memory that is in use, 0 to 1; none where that is not known.
    fn memory(&self) -> Option<f64> {
        None
    }
}

/// Processor time of all of a host's processors since its boot, in a unit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// In which they worked.
    pub busy: u64,
    /// All of it.
    pub total: u64,
}

/// This machine. Where there is no `/proc`, only its time is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Machine for System {
    fn time(&self) -> Duration {
        #[expect(
            clippy::disallowed_methods,
            reason = "a worker that is no part of a cluster's program has no clock to inject"
        )]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn processors(&self) -> Option<Processors> {
        processors(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn memory(&self) -> Option<f64> {
        memory(&fs::read_to_string("/proc/meminfo").ok()?)
    }
}

/// From `/proc/stat`: `cpu user nice system idle iowait irq softirq steal guest guest_nice`, where those of
/// guests are part of the first two.
fn processors(stat: &str) -> Option<Processors> {
    let mut words = stat.lines().next()?.split_whitespace();
    if words.next()? != "cpu" {
        return None;
    }
    let times: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
    let idle = times.get(3)? + times.get(4).unwrap_or(&0);
    let total: u64 = times.iter().sum();
    Some(Processors {
        busy: total - idle,
        total,
    })
}

/// From `/proc/meminfo`. What the system can take back without harm is not in use.
fn memory(meminfo: &str) -> Option<f64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let total = kibibytes("MemTotal:").filter(|total| *total > 0.0)?;
    let available = kibibytes("MemAvailable:")?;
    Some(((total - available) / total).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_no_work_and_guests_count_once() {
        let stat = "cpu  100 0 50 800 50 0 0 0 90 0\ncpu0 1 2 3 4\n";
        let expected = Processors {
            busy: 150,
            total: 1000,
        };
        assert_eq!(processors(stat), Some(expected));
        assert_eq!(processors("intr 1 2 3 4 5"), None);
        assert_eq!(processors(""), None);
    }

    #[test]
    fn memory_that_can_be_taken_back_is_not_in_use() {
        let meminfo = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  750 kB\n";
        assert_eq!(memory(meminfo), Some(0.25));
        assert_eq!(memory("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(memory("MemTotal: 1000 kB\n"), None);
    }
}
