//! What a row of checks says about a process, and when the next check is due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice::{Meaning, meaning};
use crate::model::{LoadReport, Moment, notice::Notice, service::HealthSpec};

/// The first check comes this long after the start, each further one twice as late, until one
/// succeeds: a worker that is up in 30 ms is in use after 75 ms, and one that takes minutes is not
/// pestered.
const FIRST_CHECK: Duration = Duration::from_millis(25);

/// A starting process that has failed this many checks is slow enough for its failures to be shown.
const SLOW: u32 = 6;

/// What the checks of one process have shown so far. Written down, it says what matters to who reads it:
/// the next check is due at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    started: Moment,
    /// When the next one is due.
    #[serde(skip)]
    next: Moment,
    /// Failures before the first success.
    #[serde(skip)]
    early: u32,
    /// Whether one has succeeded.
    succeeded: bool,
    /// Failures in a row that count.
    counted: u32,
    /// What the last one said, if it failed.
    failure: Option<Failure>,
    /// Why it is not to be handed out, although nothing is wrong.
    #[serde(skip)]
    away: Option<&'static str>,
    /// When the first of the failures in a row that count was asked.
    failing_since: Moment,
    /// Failures in a row that count, without a sign of life between them.
    unexcused: u32,
    /// The load reports have shown a sign of life since the last check.
    #[serde(skip)]
    sign_of_life: bool,
    /// The last load report.
    #[serde(skip)]
    load: Option<Load>,
}

/// What a load report said, as far as it shows what a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    asked: Moment,
    /// Its time stamp, in no known unit: it shows only whether another report is a new one.
    ticks: i64,
    /// Capacity and current requests.
    counts: Option<(i32, i32)>,
    idle: bool,
}

/// A failed check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was asked and what came back.
    pub why: String,
    /// Whether nothing came back in time, as from a process that hangs.
    pub silent: bool,
}

/// Where a process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No check has succeeded yet, and it is not too late. Says why, once that takes long.
    Starting(Option<String>),
    /// The last check succeeded, or there are none.
    Healthy,
    /// The last checks failed, but too few of them for a restart. Not to be handed out.
    Unhealthy(String),
    /// Enough of them failed for a restart, but its load reports show that it lives: it is busy.
    Busy(String),
    /// Too many in a row failed: to be restarted.
    Failed(Failure),
}

impl Checks {
    /// The checks of a process that started at `now`.
    pub fn begin(now: Moment) -> Self {
        Self {
            started: now,
            next: now + FIRST_CHECK,
            early: 0,
            succeeded: false,
            counted: 0,
            failure: None,
            away: None,
            failing_since: now,
            unexcused: 0,
            sign_of_life: false,
            load: None,
        }
    }

    /// The checks of a process that started at `started` and was healthy when it was last heard of.
    pub fn resume(started: Moment, healthy: bool) -> Self {
        Self {
            succeeded: healthy,
            next: started,
            ..Self::begin(started)
        }
    }

    /// Whether `spec` asks for checks at all.
    pub fn wanted(spec: &HealthSpec) -> bool {
        spec.is_checked()
    }

    /// When the next check is due; none when `spec` asks for none.
    pub fn due(&self, spec: &HealthSpec) -> Option<Moment> {
        Self::wanted(spec).then_some(self.next)
    }

    /// Records the result, known at `now`, of a check that was begun at `asked`.
    pub fn record(
        &mut self,
        spec: &HealthSpec,
        asked: Moment,
        result: Result<(), Failure>,
        now: Moment,
    ) {
        let interval = spec.interval.get();
        self.away = None;
        match result {
            Ok(()) => {
                self.succeeded = true;
                self.counted = 0;
                self.unexcused = 0;
                self.failure = None;
            }
            Err(failure) => {
                self.failure = Some(failure);
                if self.succeeded || now.since(self.started) > spec.startup_grace.get() {
                    self.count(spec, asked, now);
                } else {
                    self.early = self.early.saturating_add(1);
                }
            }
        }
        let pause = if self.succeeded {
            interval
        } else {
            FIRST_CHECK
                .saturating_mul(1 << self.early.min(24))
                .min(interval)
        };
        self.next = now.max(asked + pause);
    }

    /// Takes what the process says of itself, known at `now`, for the result of a check. None: it was started by
    /// a revision that did not ask it to say anything, and is as healthy as one without a check until it is replaced.
    pub fn hear(&mut self, spec: &HealthSpec, notice: Option<&Notice>, now: Moment) {
        let watchdog = spec.notify.as_ref().and_then(|notify| notify.watchdog);
        match notice.map_or(Meaning::Well, |notice| meaning(notice, watchdog)) {
            Meaning::Well => self.record(spec, now, Ok(()), now),
            Meaning::Ill(failure) => self.record(spec, now, Err(failure), now),
            Meaning::Away(why) => {
                self.away = Some(why);
                self.next = now + spec.interval.get();
            }
        }
    }

    fn count(&mut self, spec: &HealthSpec, asked: Moment, now: Moment) {
        if self.counted == 0 {
            self.failing_since = asked;
        }
        self.counted = self.counted.saturating_add(1);
        let sign = std::mem::take(&mut self.sign_of_life);
        let deadline = spec
            .busy_deadline
            .map(|busy| self.failing_since + busy.get());
        self.unexcused = match deadline {
            Some(deadline) if now >= deadline => self.counted,
            Some(_) if sign => 0,
            _ => self.unexcused.saturating_add(1),
        };
    }

    /// Records a load report that was asked for at `asked`. Its time stamp `ticks` shows whether it is
    /// a new one.
    pub fn record_load(&mut self, asked: Moment, report: &LoadReport, ticks: i64) {
        let load = Load {
            asked,
            ticks,
            counts: (report.stats).map(|stats| (stats.request_capacity, stats.current_requests)),
            idle: report.is_idle(),
        };
        let works = load.counts.is_some_and(|(_, current)| current > 0);
        let advances = self
            .load
            .is_some_and(|before| (before.ticks, before.counts) != (load.ticks, load.counts));
        self.sign_of_life |= works || advances;
        self.load = Some(load);
    }

    /// Whether the last load report was asked for at `moment` or later, and said that the process
    /// works on nothing.
    pub fn idle_since(&self, moment: Moment) -> bool {
        self.load
            .is_some_and(|load| load.idle && load.asked >= moment)
    }

    /// When the last load report that was answered was asked for.
    pub fn load_asked(&self) -> Option<Moment> {
        self.load.map(|load| load.asked)
    }

    /// How many requests the process said at its last load report that it can work on at once.
    pub fn capacity(&self) -> Option<u32> {
        let (capacity, _) = self.load?.counts?;
        u32::try_from(capacity).ok()
    }

    /// When it was asked for its last load report, if that says that it works on nothing.
    pub fn idle_at(&self) -> Option<Moment> {
        let load = self.load.filter(|load| load.idle);
        load.map(|load| load.asked)
    }

    /// What the checks say, where `spec` asks for them.
    pub fn verdict(&self, spec: &HealthSpec) -> Verdict {
        match &self.failure {
            _ if !Self::wanted(spec) => Verdict::Healthy,
            _ if let Some(why) = self.away => Verdict::Unhealthy(why.to_owned()),
            Some(failure) if self.unexcused >= spec.failure_threshold.max(1) => {
                Verdict::Failed(failure.clone())
            }
            Some(failure) if self.counted >= spec.failure_threshold.max(1) => {
                Verdict::Busy(failure.why.clone())
            }
            Some(failure) if self.counted > 0 => Verdict::Unhealthy(failure.why.clone()),
            None if self.succeeded => Verdict::Healthy,
            failure => {
                let slow = self.early >= SLOW;
                let why = failure.as_ref().filter(|_| slow);
                Verdict::Starting(why.map(|failure| failure.why.clone()))
            }
        }
    }

    /// Whether clients may have been sent to the process since its start.
    pub fn may_serve(&self, spec: &HealthSpec) -> bool {
        self.succeeded || !Self::wanted(spec)
    }

    /// Whether one has succeeded since the start.
    pub fn succeeded(&self) -> bool {
        self.succeeded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ServerStats, notice::Stage, quantity::Period, service};

    fn spec() -> HealthSpec {
        HealthSpec {
            tcp: Some(service::PortCheck::default()),
            interval: Period::from_secs(1),
            timeout: Period::from_secs(1),
            failure_threshold: 3,
            startup_grace: Period::from_secs(30),
            ..HealthSpec::default()
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn bad() -> Result<(), Failure> {
        Err(Failure {
            why: "no".to_owned(),
            silent: false,
        })
    }

    fn record(checks: &mut Checks, millis: u64, result: Result<(), Failure>) -> Verdict {
        checks.record(&spec(), at(millis), result, at(millis));
        checks.verdict(&spec())
    }

    #[test]
    fn the_first_checks_come_quickly_and_then_ever_more_slowly() {
        let mut checks = Checks::begin(at(0));
        let mut due = Vec::new();
        for _ in 0..8 {
            let next = checks.due(&spec()).unwrap();
            due.push(next.since(at(0)).as_millis());
            checks.record(&spec(), next, bad(), next);
        }
        assert_eq!(due, [25, 75, 175, 375, 775, 1575, 2575, 3575]);
    }

    #[test]
    fn after_a_success_checks_come_at_the_interval_counted_from_the_last_begin() {
        let mut checks = Checks::begin(at(0));
        checks.record(&spec(), at(100), Ok(()), at(400));
        assert_eq!(checks.due(&spec()), Some(at(1100)));
        checks.record(&spec(), at(1100), bad(), at(2900));
        assert_eq!(checks.due(&spec()), Some(at(2900)));
    }

    #[test]
    fn early_failures_do_not_count_within_the_grace() {
        let mut checks = Checks::begin(at(0));
        for second in 0..=30 {
            let verdict = record(&mut checks, second * 1000, bad());
            assert!(matches!(verdict, Verdict::Starting(_)), "{verdict:?}");
        }
        assert!(matches!(
            record(&mut checks, 31_000, bad()),
            Verdict::Unhealthy(_)
        ));
        assert!(matches!(
            record(&mut checks, 32_000, bad()),
            Verdict::Unhealthy(_)
        ));
        assert!(matches!(
            record(&mut checks, 33_000, bad()),
            Verdict::Failed(_)
        ));
    }

    #[test]
    fn a_slow_start_says_why() {
        let mut checks = Checks::begin(at(0));
        assert_eq!(record(&mut checks, 25, bad()), Verdict::Starting(None));
        for millis in 1..6 {
            record(&mut checks, millis * 1000, bad());
        }
        assert_eq!(
            checks.verdict(&spec()),
            Verdict::Starting(Some("no".to_owned()))
        );
    }

    #[test]
    fn the_first_failure_after_a_success_makes_unready_and_the_threshold_fails() {
        let mut checks = Checks::begin(at(0));
        assert_eq!(record(&mut checks, 50, Ok(())), Verdict::Healthy);
        assert!(matches!(
            record(&mut checks, 1000, bad()),
            Verdict::Unhealthy(_)
        ));
        assert_eq!(record(&mut checks, 2000, Ok(())), Verdict::Healthy);
        record(&mut checks, 3000, bad());
        record(&mut checks, 4000, bad());
        assert!(matches!(
            record(&mut checks, 5000, bad()),
            Verdict::Failed(_)
        ));
    }

    #[test]
    fn without_a_check_a_process_is_healthy_at_once() {
        let checks = Checks::begin(at(0));
        let none = HealthSpec::default();
        assert_eq!(checks.verdict(&none), Verdict::Healthy);
        assert_eq!(checks.due(&none), None);
    }

    #[test]
    fn what_it_announces_makes_unready_for_as_long_as_it_takes_and_a_missed_ping_fails() {
        let spec = HealthSpec {
            tcp: None,
            notify: Some(service::NotifySpec::default()),
            ..spec()
        };
        let mut checks = Checks::begin(at(0));
        let mut notice = Notice::default();
        checks.hear(&spec, Some(&notice), at(25));
        assert_eq!(checks.verdict(&spec), Verdict::Starting(None));
        notice.stage = Stage::Ready;
        checks.hear(&spec, Some(&notice), at(50));
        assert_eq!(checks.verdict(&spec), Verdict::Healthy);
        notice.stage = Stage::Reloading;
        for second in 1..9 {
            checks.hear(&spec, Some(&notice), at(second * 1000));
            assert!(matches!(checks.verdict(&spec), Verdict::Unhealthy(_)));
        }
        notice.overdue = true;
        for second in 9..12 {
            checks.hear(&spec, Some(&notice), at(second * 1000));
        }
        assert!(matches!(checks.verdict(&spec), Verdict::Failed(_)));
        // It was started by a revision that had no such check.
        checks.hear(&spec, None, at(12_000));
        assert_eq!(checks.verdict(&spec), Verdict::Healthy);
    }

    /// Fails a check every second from second 1 on, after the load reports of `load`, and says for
    /// each whether a restart is due.
    fn fail(spec: &HealthSpec, load: &[Option<(i64, i32)>]) -> Vec<bool> {
        let mut checks = Checks::begin(at(0));
        checks.record(spec, at(0), Ok(()), at(0));
        let mut fates = Vec::new();
        for (second, report) in (1..).zip(load) {
            let now = at(second * 1000);
            if let Some((ticks, current)) = report {
                let stats = ServerStats {
                    request_capacity: 1,
                    current_requests: *current,
                    ..ServerStats::default()
                };
                let report = LoadReport {
                    known_rate: None,
                    stats: Some(stats),
                };
                checks.record_load(now, &report, *ticks);
            }
            checks.record(spec, now, bad(), now);
            assert_ne!(checks.verdict(spec), Verdict::Healthy);
            fates.push(matches!(checks.verdict(spec), Verdict::Failed(_)));
        }
        fates
    }

    #[test]
    fn busy_is_not_dead_until_the_deadline() {
        let spec = HealthSpec {
            busy_deadline: Some(Period::from_secs(5)),
            ..spec()
        };
        // It works: the same request for all the time.
        let works = [Some((7, 1)); 7];
        let unasked = self::spec();
        let dead_at =
            |spec: &HealthSpec, load: &[_]| fail(spec, load).iter().position(|dead| *dead);
        assert_eq!(dead_at(&spec, &works), Some(5), "at the deadline");
        assert_eq!(dead_at(&unasked, &works), Some(2), "not asked for");
        // It says nothing of work, but its reports are new ones.
        let advances: Vec<_> = (0..5).map(|ticks| Some((ticks, 0))).collect();
        assert_eq!(dead_at(&spec, &advances), None);
        // Its reports stand still, or fall silent: it is dead at the threshold, as ever.
        assert_eq!(dead_at(&spec, &[Some((7, 0)); 5]), Some(2));
        assert_eq!(dead_at(&spec, &[None; 5]), Some(2));
        let silent = [Some((7, 1)), Some((8, 1)), None, None, None];
        assert_eq!(dead_at(&spec, &silent), Some(4));
    }

    #[test]
    fn a_busy_process_says_so_once_it_would_be_dead() {
        let spec = HealthSpec {
            busy_deadline: Some(Period::from_secs(60)),
            ..spec()
        };
        let mut checks = Checks::begin(at(0));
        checks.record(&spec, at(0), Ok(()), at(0));
        let mut verdicts = Vec::new();
        for second in 1..4 {
            let now = at(second * 1000);
            checks.record_load(now, &LoadReport::default(), second as i64);
            checks.record(&spec, now, bad(), now);
            verdicts.push(checks.verdict(&spec));
        }
        let unhealthy = Verdict::Unhealthy("no".to_owned());
        assert_eq!(verdicts[1..], [unhealthy, Verdict::Busy("no".to_owned())]);
        assert!(!checks.idle_since(at(0)), "a default report counts nothing");
    }

    proptest! {
        #[test]
        fn a_process_fails_only_after_the_threshold_in_a_row(
            results in proptest::collection::vec(any::<bool>(), 1..60),
            threshold in 1..6_u32,
        ) {
            let spec = HealthSpec { failure_threshold: threshold, ..spec() };
            let mut checks = Checks::begin(at(0));
            let mut row = 0;
            for (second, good) in results.into_iter().enumerate() {
                let now = at(second as u64 * 1000);
                checks.record(&spec, now, if good { Ok(()) } else { bad() }, now);
                row = if good { 0 } else { row + 1 };
                let verdict = checks.verdict(&spec);
                prop_assert_eq!(verdict == Verdict::Healthy, good);
                if matches!(verdict, Verdict::Failed(_)) {
                    prop_assert!(row >= threshold);
                }
                prop_assert!(checks.due(&spec).unwrap() >= now);
            }
        }
    }
}
