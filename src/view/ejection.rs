//! Ejection: instances to which calls fail, as clients report, come after all others for a while.
//!
//! ```text
//!            too many failures            until
//!   in use ---------------------> ejected -----> in use, with a clean slate
//!                                                   |
//!                 again soon: ejected for longer <--+
//! ```
//!
//! What clients say is not proof: a client whose own network is broken sees all calls fail. So it takes two of them,
//! unless only one ever reports; and no more are ejected at a time than the manifest allows, never all. Who is
//! ejected is still answered when there is no other.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::model::{Moment, service::EjectionSpec};

/// So many reports on one instance are kept: the latest.
const MOST_REPORTS: usize = 256;

/// How calls of a client to an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Names the client.
    pub(super) client: u64,
    /// Calls that succeeded.
    pub(super) successes: u32,
    /// Calls that failed.
    pub(super) failures: u32,
    /// When it was reported.
    pub(super) at: Moment,
}

/// What is held against the instances of one service, by what names them.
#[derive(Debug)]
pub(super) struct Ward<K> {
    cases: BTreeMap<K, Case>,
}

/// One instance.
#[derive(Debug, Default)]
struct Case {
    /// None while it is ejected.
    reports: VecDeque<Report>,
    /// Until when it is ejected.
    until: Option<Moment>,
    /// How long it was, or is, ejected the last time, and when that ended.
    last: Option<(Duration, Moment)>,
}

impl<K> Default for Ward<K> {
    fn default() -> Self {
        Self {
            cases: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Ward<K> {
    /// Takes in a report. Calls to an instance that is ejected say nothing of how it will be.
    pub(super) fn hear(&mut self, instance: K, report: Report) {
        let case = self.cases.entry(instance).or_default();
        if case.until.is_none() {
            if case.reports.len() >= MOST_REPORTS {
                case.reports.pop_front();
            }
            case.reports.push_back(report);
        }
    }

    /// Who is ejected from `now` on, of the instances that `is_there` knows; there are `all` of them.
    pub(super) fn judge(
        &mut self,
        all: usize,
        is_there: impl Fn(&K) -> bool,
        spec: &EjectionSpec,
        now: Moment,
    ) -> BTreeSet<K> {
        self.cases.retain(|instance, case| {
            case.pass(spec, now);
            is_there(instance) && !case.is_closed(spec, now)
        });
        let most = spec.most(all);
        let mut ejected = self
            .cases
            .values()
            .filter(|case| case.until.is_some())
            .count();
        while ejected > most {
            // There are fewer instances now: the one that is due first comes back.
            let ejected_cases = self.cases.values_mut().filter(|case| case.until.is_some());
            if let Some(first) = ejected_cases.min_by_key(|case| case.until) {
                first.until = None;
            }
            ejected -= 1;
        }
        let needed = self.clients().len().min(2);
        let mut worst: Vec<(&K, &mut Case)> = self.cases.iter_mut().collect();
        worst.retain(|(_, case)| case.is_bad(spec, needed));
        worst.sort_by(|a, b| b.1.ratio().total_cmp(&a.1.ratio()));
        for (_, case) in worst.into_iter().take(most - ejected) {
            case.eject(spec, now);
        }
        let ejected = self.cases.iter().filter(|(_, case)| case.until.is_some());
        ejected.map(|(instance, _)| instance.clone()).collect()
    }

    /// Whether nothing is held against anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    fn clients(&self) -> BTreeSet<u64> {
        let reports = self.cases.values().flat_map(|case| &case.reports);
        reports.map(|report| report.client).collect()
    }
}

impl Case {
    /// Lets time go by.
    fn pass(&mut self, spec: &EjectionSpec, now: Moment) {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
        }
        while let Some(oldest) = self.reports.front()
            && now.since(oldest.at) > spec.window()
        {
            self.reports.pop_front();
        }
    }

    /// Whether there is nothing to remember.
    fn is_closed(&self, spec: &EjectionSpec, now: Moment) -> bool {
        self.reports.is_empty() && self.until.is_none() && self.lapse(spec, now).is_none()
    }

    /// How long it was ejected the last time, if that counts as soon before: within as long as it was, or within
    /// the time for which reports count.
    fn lapse(&self, spec: &EjectionSpec, now: Moment) -> Option<Duration> {
        let (lasted, ended) = self.last?;
        (now.since(ended) <= lasted.max(spec.window())).then_some(lasted)
    }

    fn sum(&self, of: impl Fn(&Report) -> u32) -> u64 {
        self.reports
            .iter()
            .map(|report| u64::from(of(report)))
            .sum()
    }

    /// The part of the reported calls that failed.
    fn ratio(&self) -> f64 {
        let failures = self.sum(|report| report.failures);
        let calls = failures + self.sum(|report| report.successes);
        failures as f64 / calls.max(1) as f64
    }

    /// Whether enough calls failed, for enough clients.
    fn is_bad(&self, spec: &EjectionSpec, clients: usize) -> bool {
        let failures = self.sum(|report| report.failures);
        let calls = failures + self.sum(|report| report.successes);
        let failed = self.reports.iter().filter(|report| report.failures > 0);
        self.until.is_none()
            && failures > 0
            && calls >= spec.min_calls()
            && self.ratio() >= spec.failures()
            && failed
                .map(|report| report.client)
                .collect::<BTreeSet<_>>()
                .len()
                >= clients
    }

    fn eject(&mut self, spec: &EjectionSpec, now: Moment) {
        let again = self.lapse(spec, now).map(|lasted| lasted * 2);
        let lasts = again.unwrap_or(spec.duration()).min(spec.max_duration());
        self.until = Some(now + lasts);
        self.last = Some((lasts, now + lasts));
        self.reports.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::new(Duration::from_secs(1_000 + secs))
    }

    fn report(client: u64, successes: u32, failures: u32, secs: u64) -> Report {
        Report {
            client,
            successes,
            failures,
            at: at(secs),
        }
    }

    /// Who is ejected of `all` instances, by the rules that hold unless told otherwise.
    fn judge(ward: &mut Ward<u32>, all: u32, secs: u64) -> Vec<u32> {
        let spec = EjectionSpec::default();
        let ejected = ward.judge(all as usize, |instance| *instance < all, &spec, at(secs));
        ejected.into_iter().collect()
    }

    #[test]
    fn who_fails_too_often_for_two_clients_is_ejected_and_comes_back() {
        let mut ward = Ward::default();
        ward.hear(0, report(1, 2, 2, 0));
        assert!(judge(&mut ward, 3, 0).is_empty(), "too few calls");
        ward.hear(0, report(1, 0, 1, 1));
        ward.hear(1, report(2, 9, 0, 1));
        assert!(judge(&mut ward, 3, 1).is_empty(), "only one client says so");
        ward.hear(0, report(2, 0, 1, 2));
        assert_eq!(judge(&mut ward, 3, 2), [0]);
        assert_eq!(judge(&mut ward, 3, 31), [0]);
        assert!(judge(&mut ward, 3, 32).is_empty());
    }

    #[test]
    fn the_only_client_is_believed_and_old_failures_are_forgotten() {
        let mut ward = Ward::default();
        ward.hear(0, report(1, 0, 4, 0));
        ward.hear(0, report(1, 0, 4, 40));
        assert!(judge(&mut ward, 3, 40).is_empty());
        ward.hear(0, report(1, 0, 1, 41));
        assert_eq!(judge(&mut ward, 3, 41), [0]);
    }

    #[test]
    fn who_fails_again_soon_is_ejected_for_longer_up_to_a_bound() {
        let mut ward = Ward::default();
        let mut now = 0;
        for lasts in [30, 60, 120, 240, 300, 300] {
            ward.hear(0, report(1, 0, 9, now));
            assert_eq!(judge(&mut ward, 9, now), [0]);
            ward.hear(0, report(1, 0, 9, now + 1));
            assert_eq!(judge(&mut ward, 9, now + lasts - 1), [0], "for {lasts} s");
            now += lasts;
            assert!(judge(&mut ward, 9, now).is_empty(), "after {lasts} s");
        }
        now += 301;
        ward.hear(0, report(1, 0, 9, now));
        assert_eq!(judge(&mut ward, 9, now), [0]);
        assert!(judge(&mut ward, 9, now + 30).is_empty(), "it begins anew");
    }

    #[test]
    fn the_worst_are_ejected_first_and_never_more_than_a_third() {
        let mut ward = Ward::default();
        for instance in 0..6 {
            ward.hear(instance, report(1, 6 - instance, 10, 0));
        }
        assert_eq!(judge(&mut ward, 6, 0), [4, 5]);
        assert_eq!(judge(&mut ward, 6, 1), [4, 5]);
        // Others are gone: a third of three is one.
        let spec = EjectionSpec::default();
        let ejected = ward.judge(3, |instance| *instance > 2, &spec, at(2));
        assert_eq!(ejected.len(), 1);
    }

    #[test]
    fn two_instances_are_never_fewer_unless_the_manifest_says_so() {
        let spec = EjectionSpec {
            max_ejected: Some("100%".parse().unwrap()),
            ..EjectionSpec::default()
        };
        let mut ward = Ward::default();
        ward.hear(0, report(1, 0, 9, 0));
        ward.hear(1, report(1, 0, 9, 0));
        assert!(judge(&mut ward, 2, 0).is_empty());
        let ejected = ward.judge(2, |_| true, &spec, at(0));
        assert_eq!(ejected.len(), 1, "the last one stays");
    }

    proptest! {
        #[test]
        fn never_more_than_the_cap_is_ejected_and_all_come_back(
            steps in prop::collection::vec((0..12_u32, 0..4_u64, 0..9_u32, 0..9_u32, 0..40_u64, 1..13_u32), 1..80),
        ) {
            let mut ward = Ward::default();
            let mut now = 0;
            let mut all = 12;
            for (instance, client, successes, failures, pause, members) in steps {
                now += pause;
                ward.hear(instance, report(client, successes, failures, now));
                all = if pause % 7 == 0 { members } else { all };
                let ejected = judge(&mut ward, all, now);
                prop_assert!(ejected.len() <= all as usize / 3);
                prop_assert!(ejected.iter().all(|instance| *instance < all));
            }
            prop_assert!(judge(&mut ward, all, now + 300).is_empty());
            judge(&mut ward, all, now + 601);
            prop_assert!(ward.is_empty());
        }
    }
}
