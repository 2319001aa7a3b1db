//! One endpoint: where it is, its load, when it was last handed out.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::model::{LoadReport, Moment};

/// Where clients reach an instance, and what is known of it now.
///
/// The same allocation stays in use while the instance keeps its place, whatever happens around it.
/// Everything that changes is atomic and independent of the rest, so no order between reads and
/// writes is needed.
#[derive(Debug)]
pub struct Endpoint {
    host: String,
    /// The host in lower case, where that is not how it is written.
    lower: Option<String>,
    port: u16,
    /// The rate that the instance computed itself, as bits; NaN: none.
    known_rate: AtomicU64,
    /// Capacity (high half) and current requests (low half); [`NO_COUNTS`]: none.
    counts: AtomicU64,
    /// When it was last handed out, in nanoseconds since the origin of the clock, plus 1; 0: never.
    handed_out: AtomicU64,
}

/// Two numbers that no instance reports.
const NO_COUNTS: u64 = pack(Counts {
    capacity: i32::MIN,
    current: i32::MIN,
});

/// What an instance says of its load, as far as the policies use it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// A rate that it computed itself: not negative, not NaN.
    pub known_rate: Option<f64>,
    /// Its counts.
    pub counts: Option<Counts>,
}

/// The counts of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requests it can work on at once; negative: unknown, 0: it takes none.
    pub capacity: i32,
    /// Requests it works on now.
    pub current: i32,
}

impl Endpoint {
    /// An endpoint without load that was never handed out.
    pub fn new(host: String, port: u16) -> Self {
        let lower = host.to_ascii_lowercase();
        Self {
            lower: (lower != host).then_some(lower),
            host,
            port,
            known_rate: AtomicU64::new(f64::NAN.to_bits()),
            counts: AtomicU64::new(NO_COUNTS),
            handed_out: AtomicU64::new(0),
        }
    }

    /// Host name or address, as configured.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host in lower case: host names mean the same in any case.
    pub(super) fn host_in_lower_case(&self) -> &str {
        self.lower.as_deref().unwrap_or(&self.host)
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it last said of its load.
    pub fn load(&self) -> Load {
        let rate = f64::from_bits(self.known_rate.load(Relaxed));
        let counts = self.counts.load(Relaxed);
        Load {
            known_rate: (!rate.is_nan()).then_some(rate),
            counts: (counts != NO_COUNTS).then(|| unpack(counts)),
        }
    }

    /// Replaces its load; none: it is not known any more.
    pub(super) fn set_load(&self, report: Option<&LoadReport>) {
        // By the rule of the wire, a negative rate means "derive it"; so does one that is no number.
        let rate = report
            .and_then(|report| report.known_rate)
            .filter(|rate| *rate >= 0.0);
        let counts = report
            .and_then(|report| report.stats)
            .map_or(NO_COUNTS, |stats| {
                pack(Counts {
                    capacity: stats.request_capacity,
                    current: stats.current_requests,
                })
            });
        self.known_rate
            .store(rate.unwrap_or(f64::NAN).to_bits(), Relaxed);
        self.counts.store(counts, Relaxed);
    }

    /// Whether it was handed out less than `within` before `now`.
    pub fn was_handed_out(&self, within: Duration, now: Moment) -> bool {
        is_recent(self.handed_out.load(Relaxed), within, now)
    }

    /// Notes that it was handed out. Returns whether it had been already, less than `within` before
    /// `now`: of several who ask at once, one gets a no.
    pub(super) fn hand_out(&self, within: Duration, now: Moment) -> bool {
        // 64 bits of nanoseconds last for 584 years.
        let nanos = u64::try_from(now.since(Moment::default()).as_nanos()).unwrap_or(u64::MAX - 1);
        is_recent(self.handed_out.swap(nanos + 1, Relaxed), within, now)
    }
}

/// Whether `handed_out`, as an endpoint keeps it, is less than `within` before `now`.
fn is_recent(handed_out: u64, within: Duration, now: Moment) -> bool {
    match handed_out {
        0 => false,
        nanos => now.since(Moment::new(Duration::from_nanos(nanos - 1))) < within,
    }
}

const fn pack(counts: Counts) -> u64 {
    (counts.capacity.cast_unsigned() as u64) << 32 | counts.current.cast_unsigned() as u64
}

const fn unpack(packed: u64) -> Counts {
    Counts {
        capacity: (packed >> 32) as i32,
        current: packed as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerStats;

    fn report(known_rate: Option<f64>, stats: Option<(i32, i32)>) -> LoadReport {
        LoadReport {
            known_rate,
            stats: stats.map(|(request_capacity, current_requests)| ServerStats {
                request_capacity,
                current_requests,
                ..ServerStats::default()
            }),
        }
    }

    #[test]
    fn a_load_reads_back_as_it_was_reported() {
        let endpoint = Endpoint::new("h".to_owned(), 1);
        for counts in [None, Some((-1, 0)), Some((7, 3)), Some((i32::MAX, -1))] {
            for rate in [None, Some(0.0), Some(0.5), Some(f64::INFINITY)] {
                endpoint.set_load(Some(&report(rate, counts)));
                let counts = counts.map(|(capacity, current)| Counts { capacity, current });
                assert_eq!(
                    endpoint.load(),
                    Load {
                        known_rate: rate,
                        counts
                    }
                );
            }
        }
        endpoint.set_load(None);
        assert_eq!(
            endpoint.load(),
            Load {
                known_rate: None,
                counts: None
            }
        );
    }

    #[test]
    fn a_negative_rate_and_one_that_is_no_number_are_not_known() {
        let endpoint = Endpoint::new("h".to_owned(), 1);
        for rate in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            endpoint.set_load(Some(&report(Some(rate), None)));
            assert_eq!(endpoint.load().known_rate, None, "{rate}");
        }
    }

    #[test]
    fn being_handed_out_is_forgotten_after_its_time() {
        let endpoint = Endpoint::new("h".to_owned(), 1);
        let second = Duration::from_secs(1);
        let start = Moment::default();
        assert!(!endpoint.was_handed_out(second, start));
        assert!(!endpoint.hand_out(second, start));
        assert!(endpoint.was_handed_out(second, start));
        assert!(endpoint.was_handed_out(second, start + second / 2));
        assert!(!endpoint.was_handed_out(second, start + second));
    }
}
