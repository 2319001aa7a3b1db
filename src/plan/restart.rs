//! When an ended process is started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    Moment,
    service::{RestartPolicy, RestartSpec},
};

/// Pauses vary by this much in each direction, so that instances that failed together do not come
/// back together. Small enough that the first restart is still "about `delay`".
const JITTER: f64 = 0.1;

/// How a process came to its end, as far as restarts are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with exit code 0.
    Success,
    /// In any other way: a code, a signal, stopped for being unhealthy, or never started at all.
    Failure,
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A start, at this moment.
    Start(Moment),
    /// Nothing: the policy asks for no further start.
    Completed,
    /// Nothing: as many starts in a row as are allowed came to an end.
    Failed,
}

/// The ends in a row that make the next pause longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOff {
    streak: u32,
    /// Attempts in a row that something in the way kept from being starts.
    #[serde(default)]
    obstructed: u32,
}

/// Where pauses begin that a `delay` of nothing would not let grow: a program that ends at once would be started
/// hundreds of times a second, each told to the store.
const FIRST_STEP: Duration = Duration::from_millis(10);

/// What stands in the way of a start is looked at again at least this often: it goes away unannounced.
const LONGEST_WATCH: Duration = Duration::from_secs(5);

impl BackOff {
    /// Records that something in the way, and not the program, kept it from being started at `now`;
    /// says when to try again. Counts as no end, and so towards no limit of attempts.
    pub fn obstructed(&mut self, spec: &RestartSpec, fraction: f64, now: Moment) -> Moment {
        let pause = pause(spec, self.obstructed).min(LONGEST_WATCH);
        self.obstructed = self.obstructed.saturating_add(1);
        now + jittered(pause, fraction)
    }

    /// Records an end at `now` after `ran_for` and says what follows. `fraction` is random, from 0
    /// to 1.
    pub fn after(
        &mut self,
        spec: &RestartSpec,
        ending: Ending,
        ran_for: Duration,
        fraction: f64,
        now: Moment,
    ) -> Next {
        let again = match spec.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => ending == Ending::Failure,
            RestartPolicy::Never => false,
        };
        if !again {
            return Next::Completed;
        }
        if ran_for >= spec.reset_after.get() {
            self.streak = 0;
        }
        self.obstructed = 0;
        let pause = jittered(pause(spec, self.streak), fraction);
        self.streak = self.streak.saturating_add(1);
        match spec.max_attempts {
            Some(most) if self.streak >= most => Next::Failed,
            _ => Next::Start(now + pause),
        }
    }

    /// Ends in a row since the last long run.
    pub fn streak(&self) -> u32 {
        self.streak
    }
}

/// `delay`, doubled for every one before, at most `maxDelay`. Without a delay the pauses begin with the second.
fn pause(spec: &RestartSpec, before: u32) -> Duration {
    let delay = spec.delay.get();
    let (first, doublings) = match before.checked_sub(1) {
        Some(before) if delay.is_zero() => (FIRST_STEP, before),
        _ => (delay, before),
    };
    // 2^31 times the shortest delay of 1 ms is 24 days; nothing is lost by stopping there.
    let factor = 1_u32 << doublings.min(31);
    first
        .saturating_mul(factor)
        .min(spec.max_delay.get().max(delay))
}

fn jittered(pause: Duration, fraction: f64) -> Duration {
    pause.mul_f64(1.0 + JITTER * (2.0 * fraction - 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::quantity::Period;

    const NOW: Moment = Moment::new(Duration::from_secs(1_000));
    const MIDDLE: f64 = 0.5;

    fn pause(back_off: &mut BackOff, spec: &RestartSpec, ran_for: Duration) -> Duration {
        match back_off.after(spec, Ending::Failure, ran_for, MIDDLE, NOW) {
            Next::Start(at) => at.since(NOW),
            Next::Completed | Next::Failed => panic!("no restart"),
        }
    }

    #[test]
    fn what_stands_in_the_way_counts_as_no_attempt_and_is_looked_at_often() {
        let spec = RestartSpec {
            max_attempts: Some(1),
            ..RestartSpec::default()
        };
        let mut back_off = BackOff::default();
        for _ in 0..100 {
            let again = back_off.obstructed(&spec, MIDDLE, NOW);
            assert!(again.since(NOW) <= LONGEST_WATCH);
        }
        assert_eq!(back_off.streak(), 0);
        assert_eq!(back_off.obstructed(&spec, MIDDLE, NOW), NOW + LONGEST_WATCH);
        back_off.after(&spec, Ending::Failure, Duration::ZERO, MIDDLE, NOW);
        assert_eq!(
            back_off.obstructed(&spec, MIDDLE, NOW),
            NOW + spec.delay.get()
        );
    }

    #[test]
    fn pauses_double_from_the_delay_to_the_longest() {
        let spec = RestartSpec {
            max_delay: Period::from_millis(500),
            ..RestartSpec::default()
        };
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..5)
            .map(|_| pause(&mut back_off, &spec, Duration::ZERO).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 500, 500]);
    }

    #[test]
    fn without_a_delay_the_first_restart_is_at_once_and_the_next_are_not() {
        let spec = RestartSpec {
            delay: Period::from_secs(0),
            max_delay: Period::from_millis(30),
            ..RestartSpec::default()
        };
        let mut back_off = BackOff::default();
        let mut after = |ran_for| pause(&mut back_off, &spec, ran_for).as_millis();
        let long = spec.reset_after.get();
        let pauses = [
            Duration::ZERO,
            Duration::ZERO,
            Duration::ZERO,
            Duration::ZERO,
            long,
            long,
        ];
        assert_eq!(pauses.map(&mut after), [0, 10, 20, 30, 0, 0]);
    }

    #[test]
    fn a_long_run_makes_the_next_pause_short_again() {
        let spec = RestartSpec::default();
        let mut back_off = BackOff::default();
        for _ in 0..10 {
            pause(&mut back_off, &spec, Duration::ZERO);
        }
        assert_eq!(
            pause(&mut back_off, &spec, spec.reset_after.get()),
            spec.delay.get()
        );
    }

    #[test]
    fn after_the_last_attempt_there_is_none_unless_a_run_was_long() {
        let spec = RestartSpec {
            max_attempts: Some(3),
            ..RestartSpec::default()
        };
        let mut back_off = BackOff::default();
        let mut end = |ran_for| back_off.after(&spec, Ending::Failure, ran_for, MIDDLE, NOW);
        let long = spec.reset_after.get();
        let ends = [Duration::ZERO, Duration::ZERO, long, Duration::ZERO].map(&mut end);
        assert!(ends.iter().all(|next| matches!(next, Next::Start(_))));
        assert_eq!(end(Duration::ZERO), Next::Failed);
    }

    #[test]
    fn the_policy_decides_which_ends_are_followed_by_a_start() {
        use {Ending::*, RestartPolicy::*};
        for (policy, ending, starts) in [
            (Always, Success, true),
            (Always, Failure, true),
            (OnFailure, Success, false),
            (OnFailure, Failure, true),
            (Never, Success, false),
            (Never, Failure, false),
        ] {
            let spec = RestartSpec {
                policy,
                ..RestartSpec::default()
            };
            let next = BackOff::default().after(&spec, ending, Duration::ZERO, MIDDLE, NOW);
            assert_eq!(next != Next::Completed, starts, "{policy:?} {ending:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pause_stays_within_a_tenth_of_its_bounds(
            delay in 0..10_000_u64,
            longest in 0..1_000_000_u64,
            ends in 1..100_u32,
            fraction in 0.0..1.0,
        ) {
            let spec = RestartSpec {
                delay: Period::from_millis(delay),
                max_delay: Period::from_millis(longest),
                ..RestartSpec::default()
            };
            let mut back_off = BackOff::default();
            for _ in 0..ends {
                let next = back_off.after(&spec, Ending::Failure, Duration::ZERO, fraction, NOW);
                let Next::Start(at) = next else { panic!("no restart") };
                let pause = at.since(NOW).as_secs_f64() * 1e3;
                prop_assert!(pause >= 0.89 * delay as f64, "{}", pause);
                prop_assert!(pause <= 1.11 * longest.max(delay) as f64, "{}", pause);
            }
        }
    }
}
