//! One endpoint: where it is, its load, when it was last handed out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    dial::{Dial, UNKNOWN},
    node::Node,
    pending::Pending,
};
use crate::model::{Instance, LoadReport, Moment};

/// Where clients reach an instance, and what is known of it now.
///
/// The same allocation stays in use while the instance keeps its place, whatever happens around it.
/// Everything that changes is atomic and independent of the rest, so no order between reads and
/// writes is needed.
///
/// What a pick touches comes first, so that it lies with the count of the allocation's owners, which a pick touches
/// as well: among many endpoints nearly each of them is one that no cache holds.
#[derive(Debug)]
#[repr(C)]
pub struct Endpoint {
    /// The rate that the instance computed itself, as bits; NaN: none.
    known_rate: AtomicU64,
    /// Capacity (high half) and current requests (low half); [`NO_COUNTS`]: none.
    counts: AtomicU64,
    /// Picks that no report covers yet: a [`Pending`].
    pending: AtomicU64,
    /// What is added to its load while it is new, as bits of a number from 0 to below 1.
    handicap: AtomicU32,
    /// See [`Endpoint::is_ejected`].
    ejected: AtomicBool,
    port: u16,
    /// When it was last handed out, in nanoseconds since the origin of the clock, plus 1; 0: never.
    handed_out: AtomicU64,
    host: Arc<Host>,
    node: Arc<Node>,
    instance: Instance,
    /// When it was last named to somebody who does not say when he knows better; as `handed_out`.
    named: AtomicU64,
    /// Those who were told of it and will be told when it goes, but do not say that they have taken that.
    watches: AtomicU32,
}

/// A host, shared by its endpoints.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Host {
    /// In lower case: host names mean the same in any case. First, because hosts are ordered by it.
    lower: String,
    /// As it is written.
    written: String,
}

impl Host {
    pub(super) fn new(written: String) -> Self {
        Self {
            lower: written.to_ascii_lowercase(),
            written,
        }
    }
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
    pub(super) fn new(host: Arc<Host>, port: u16, instance: Instance, node: Arc<Node>) -> Self {
        Self {
            host,
            port,
            instance,
            node,
            known_rate: AtomicU64::new(f64::NAN.to_bits()),
            counts: AtomicU64::new(NO_COUNTS),
            handed_out: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            handicap: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            named: AtomicU64::new(0),
            watches: AtomicU32::new(0),
        }
    }

    /// Host name or address, as configured.
    pub fn host(&self) -> &str {
        &self.host.written
    }

    /// The host in lower case.
    pub(super) fn host_in_lower_case(&self) -> &str {
        &self.host.lower
    }

    /// Whether both are on the same host, if that is cheaply known.
    pub(super) fn shares_host(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.host, &other.host)
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The instance that is reached there.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The node that it runs on.
    pub fn node(&self) -> &Node {
        &self.node
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

    /// Replaces its load; none: it is not known any more. Picks that the report tells of are not counted
    /// beside it any longer.
    pub(super) fn set_load(&self, report: Option<&LoadReport>, dial: &Dial) {
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
        let before = self.counts.swap(counts, Relaxed);
        if report.is_some() {
            let current = |counts| (counts != NO_COUNTS).then(|| unpack(counts).current);
            let more = current(counts).zip(current(before));
            let more = more.map_or(0, |(now, before)| i64::from(now) - i64::from(before));
            let covered = u64::try_from(more).unwrap_or(0);
            let epoch = dial.epoch();
            let _ = self.pending.fetch_update(Relaxed, Relaxed, |word| {
                Some(Pending::read(word, epoch).reported(covered).word())
            });
        }
    }

    /// What [`super::Directory::pick`] goes by: the reported load as a part of its capacity, with the picks that
    /// no report covers yet. None: it takes no requests.
    pub(super) fn effective_load(&self, dial: &Dial) -> Option<f64> {
        self.weigh(self.pending.load(Relaxed), dial)
    }

    fn weigh(&self, pending: u64, dial: &Dial) -> Option<f64> {
        let load = self.load();
        let capacity = match load.counts {
            Some(Counts { capacity: 0, .. }) => return None,
            Some(counts) if counts.capacity > 0 => Some(f64::from(counts.capacity)),
            _ => None,
        };
        let used = || Some(f64::from(load.counts?.current.max(0)) / capacity?);
        let reported = load.known_rate.or_else(used).unwrap_or(UNKNOWN);
        let picks = Pending::read(pending, dial.epoch()).count() as f64;
        let handicap = f32::from_bits(self.handicap.load(Relaxed));
        Some(dial.faded(reported) + picks / capacity.unwrap_or(1.0) + f64::from(handicap))
    }

    /// How many requests it works on or was picked for.
    pub(super) fn work(&self, dial: &Dial) -> u64 {
        let current = self.load().counts.map_or(0, |counts| counts.current);
        let picks = Pending::read(self.pending.load(Relaxed), dial.epoch()).count();
        u64::try_from(current).unwrap_or(0) + picks
    }

    /// Counts a pick, whoever else picks it.
    pub(super) fn pick(&self, dial: &Dial) {
        let epoch = dial.epoch();
        let _ = self.pending.fetch_update(Relaxed, Relaxed, |word| {
            Some(Pending::read(word, epoch).picked().word())
        });
    }

    /// Counts a pick if `right` still holds of its effective load, and nobody else picks it at the same time.
    pub(super) fn pick_if(&self, dial: &Dial, right: impl Fn(Option<f64>) -> bool) -> bool {
        let word = self.pending.load(Relaxed);
        let picked = Pending::read(word, dial.epoch()).picked().word();
        right(self.weigh(word, dial))
            && self
                .pending
                .compare_exchange(word, picked, Relaxed, Relaxed)
                .is_ok()
    }

    /// Whether it comes after all others for now, because calls to it fail, as clients report.
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// Ejects it, or takes it back. Returns whether that is new.
    pub(super) fn set_ejected(&self, ejected: bool) -> bool {
        self.ejected.swap(ejected, Relaxed) != ejected
    }

    /// Sets what is added to its load while it is new, from 0 to below 1.
    pub(super) fn set_handicap(&self, handicap: f32) {
        self.handicap.store(handicap.to_bits(), Relaxed);
    }

    /// Whether it was handed out less than `within` before `now`.
    pub fn was_handed_out(&self, within: Duration, now: Moment) -> bool {
        is_recent(self.handed_out.load(Relaxed), within, now)
    }

    /// Notes that it was handed out. Returns whether it had been already, less than `within` before
    /// `now`: of several who ask at once, one gets a no.
    pub(super) fn hand_out(&self, within: Duration, now: Moment) -> bool {
        is_recent(self.handed_out.swap(stamp(now), Relaxed), within, now)
    }

    /// Notes that it was named, at `now`, in an answer that nobody acknowledges.
    pub fn note_named(&self, now: Moment) {
        self.named.store(stamp(now), Relaxed);
    }

    /// When it was last named in such an answer.
    pub fn named(&self) -> Option<Moment> {
        let nanos = self.named.load(Relaxed).checked_sub(1)?;
        Some(Moment::new(Duration::from_nanos(nanos)))
    }

    /// Somebody was told of it who will be told as well when it goes.
    pub fn watch(&self) {
        self.watches.fetch_add(1, Relaxed);
    }

    /// One of those was told that it has gone, or hears no more.
    pub fn unwatch(&self) {
        self.watches.fetch_sub(1, Relaxed);
    }

    /// Whether there are any.
    pub fn is_watched(&self) -> bool {
        self.watches.load(Relaxed) > 0
    }
}

/// A moment, as an endpoint keeps it.
fn stamp(moment: Moment) -> u64 {
    // 64 bits of nanoseconds last for 584 years.
    let nanos = moment.since(Moment::default()).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX - 1) + 1
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
    use crate::{model::ServerStats, view::tests::endpoint};

    fn dial() -> Dial {
        Dial::new(Duration::from_secs(5), Duration::ZERO)
    }

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
        let endpoint = endpoint("h", 1);
        for counts in [None, Some((-1, 0)), Some((7, 3)), Some((i32::MAX, -1))] {
            for rate in [None, Some(0.0), Some(0.5), Some(f64::INFINITY)] {
                endpoint.set_load(Some(&report(rate, counts)), &dial());
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
        endpoint.set_load(None, &dial());
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
        let endpoint = endpoint("h", 1);
        for rate in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            endpoint.set_load(Some(&report(Some(rate), None)), &dial());
            assert_eq!(endpoint.load().known_rate, None, "{rate}");
        }
    }

    #[test]
    fn being_handed_out_is_forgotten_after_its_time() {
        let endpoint = endpoint("h", 1);
        let second = Duration::from_secs(1);
        let start = Moment::default();
        assert!(!endpoint.was_handed_out(second, start));
        assert!(!endpoint.hand_out(second, start));
        assert!(endpoint.was_handed_out(second, start));
        assert!(endpoint.was_handed_out(second, start + second / 2));
        assert!(!endpoint.was_handed_out(second, start + second));
    }

    #[test]
    fn a_pick_counts_as_one_request_until_a_report_tells_of_it() {
        let (endpoint, dial) = (endpoint("h", 1), dial());
        assert_eq!(endpoint.effective_load(&dial), Some(UNKNOWN));
        endpoint.set_load(Some(&report(None, Some((4, 1)))), &dial);
        endpoint.pick(&dial);
        assert_eq!(endpoint.effective_load(&dial), Some(0.5));
        endpoint.set_load(Some(&report(None, Some((4, 2)))), &dial);
        assert_eq!(endpoint.effective_load(&dial), Some(0.5));
        endpoint.set_load(Some(&report(None, Some((0, 0)))), &dial);
        assert_eq!(endpoint.effective_load(&dial), None);
    }

    #[test]
    fn a_pick_that_no_report_tells_of_is_forgotten_after_its_time() {
        let (endpoint, dial) = (endpoint("h", 1), dial());
        let idle = Some(&report(None, Some((1, 0)))).copied();
        endpoint.set_load(idle.as_ref(), &dial);
        let at = |millis| Moment::new(Duration::from_millis(millis));
        dial.turn(at(4_900), Duration::ZERO);
        endpoint.pick(&dial);
        dial.turn(at(7_400), Duration::ZERO);
        assert_eq!(endpoint.effective_load(&dial), Some(1.0));
        dial.turn(at(9_900), Duration::ZERO);
        assert_eq!(endpoint.effective_load(&dial), Some(0.0));
    }

    #[test]
    fn the_longer_the_store_is_away_the_more_all_loads_are_equal() {
        let (endpoint, dial) = (endpoint("h", 1), dial());
        endpoint.set_load(Some(&report(None, Some((4, 4)))), &dial);
        let mut before = 1.0;
        for seconds in [0, 30, 45, 60, 75, 90, 1_000] {
            dial.turn(Moment::default(), Duration::from_secs(seconds));
            let load = endpoint.effective_load(&dial).unwrap();
            assert!((UNKNOWN..=before).contains(&load), "{load} at {seconds} s");
            before = load;
        }
        assert_eq!(before, UNKNOWN);
    }
}
