//! When a process is replaced only because it is old.
//!
//! The agent decides for its own node and asks nobody: one instance of a service at a time, and only
//! while all others of the service on the node are ready. Nodes are kept apart by `jitter`.

use std::time::Duration;

use super::{
    agent::{Action, Life, StopCause},
    drain,
    health::Verdict,
};
use crate::model::{
    Assignment, Instance, Moment,
    service::{RecycleSpec, RecycleWhen},
};

/// What an old process waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is not to be recycled.
    Never,
    /// Its age, which it has at this moment.
    Age(Moment),
    /// That it is ready, and idle if that is asked for.
    Pause,
    /// That all others of its service on this node are ready.
    Turn,
    /// Nothing more.
    Do(Action),
}

/// What is to happen to an instance that has nothing else to do at `now`. `turn`: all others of its
/// service on this node are ready.
pub fn next(assignment: &Assignment, life: &Life, turn: bool, now: Moment) -> Next {
    let (Some(spec), Life::Alive { since, checks, .. }) = (&assignment.recycle, life) else {
        return Next::Never;
    };
    let due = *since + age(spec, &assignment.instance, *since);
    if now < due {
        return Next::Age(due);
    }
    // A report that is older than two rounds says nothing of now.
    let fresh = assignment.load.interval.get() * 2 + assignment.health.timeout.get();
    let idle = match spec.when {
        RecycleWhen::Always => true,
        RecycleWhen::Idle => checks
            .load_asked()
            .is_some_and(|asked| checks.idle_since(asked) && now.since(asked) <= fresh),
    };
    if checks.verdict(&assignment.health) != Verdict::Healthy || !idle {
        return Next::Pause;
    }
    if !turn {
        return Next::Turn;
    }
    let cause = StopCause::Recycled {
        age: now.since(*since),
    };
    Next::Do(match drain::is_due(assignment, checks, &cause) {
        true => Action::Drain(cause),
        false => Action::Stop(cause),
    })
}

/// Whether a process that drains to be recycled has to go on instead, the drain being over: only an idle
/// one is recycled, and it has got work since.
pub fn spares(assignment: &Assignment, cause: &StopCause, idle: bool) -> bool {
    let recycled = matches!(cause, StopCause::Recycled { .. });
    match &assignment.recycle {
        _ if !recycled => false,
        // It was asked for no more.
        None => true,
        Some(spec) => spec.when == RecycleWhen::Idle && !idle,
    }
}

/// How old the process of `instance` that was started at `since` may become: another age for each start,
/// but always the same one for the same start, so that nobody has to remember it.
fn age(spec: &RecycleSpec, instance: &Instance, since: Moment) -> Duration {
    let nanos = since.since(Moment::default()).as_nanos();
    let seed = format!("{instance} {nanos}");
    // FNV-1a, whose high bits are the better ones.
    let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let fraction = f64::from((hash >> 32) as u32) / f64::from(u32::MAX);
    let jitter = spec.jitter.fraction() * (2.0 * fraction - 1.0);
    spec.every.get().mul_f64(1.0 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LoadReport, ServerStats};

    fn at(secs: u64) -> Moment {
        Moment::new(Duration::from_secs(secs))
    }

    fn assignment(when: &str) -> Assignment {
        let json = serde_json::json!({
            "instance": "worker-0", "desired": "present", "generation": 1, "revision": "a",
            "run": {"process": {"command": ["x"]}},
            "load": {"reportLoad": {}, "interval": "1s"},
            "recycle": {"every": "100s", "jitter": "10%", "when": when},
        });
        serde_json::from_value(json).unwrap()
    }

    fn alive(requests: i32, asked: Moment) -> Life {
        let mut life = Life::started("a", at(0));
        let stats = ServerStats {
            request_capacity: 1,
            current_requests: requests,
            ..ServerStats::default()
        };
        let report = LoadReport {
            known_rate: None,
            stats: Some(stats),
        };
        let checks = life.checks_mut().unwrap();
        checks.record_load(asked, &report, 0);
        life
    }

    fn is_done(next: &Next) -> bool {
        matches!(next, Next::Do(Action::Stop(StopCause::Recycled { .. })))
    }

    #[test]
    fn an_old_process_is_recycled_when_it_is_idle_and_the_others_are_ready() {
        let wanted = assignment("idle");
        let next = |life: &Life, turn, now| next(&wanted, life, turn, at(now));
        assert!(matches!(
            next(&alive(0, at(50)), true, 50),
            Next::Age(due) if (at(90)..=at(110)).contains(&due)
        ));
        assert_eq!(next(&alive(1, at(200)), true, 200), Next::Pause);
        assert_eq!(
            next(&alive(0, at(100)), true, 200),
            Next::Pause,
            "that was then"
        );
        assert_eq!(next(&alive(0, at(200)), false, 200), Next::Turn);
        assert!(is_done(&next(&alive(0, at(200)), true, 200)));
    }

    #[test]
    fn work_does_not_matter_where_it_is_not_to() {
        let wanted = assignment("always");
        let busy = alive(1, at(200));
        assert!(is_done(&next(&wanted, &busy, true, at(200))));
        let cause = StopCause::Recycled {
            age: Duration::ZERO,
        };
        assert!(!spares(&wanted, &cause, false));
        assert!(spares(&assignment("idle"), &cause, false));
        assert!(!spares(&assignment("idle"), &StopCause::AgentEnds, false));
    }

    #[test]
    fn ages_differ_between_instances_and_starts_but_not_by_more_than_the_jitter() {
        let spec = assignment("idle").recycle.unwrap();
        let ages: std::collections::BTreeSet<Duration> = (0..100)
            .map(|slot| {
                let instance = Instance::new("w".parse().unwrap(), slot);
                age(&spec, &instance, at(u64::from(slot) / 2))
            })
            .collect();
        assert!(ages.len() > 95, "{ages:?}");
        let (first, last) = (ages.first().unwrap(), ages.last().unwrap());
        assert!(first.as_secs() >= 90 && last.as_secs() < 110);
        assert!(*last - *first > Duration::from_secs(15), "{ages:?}");
    }
}
