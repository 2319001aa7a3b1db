//! When a process is replaced only because it is old.
//!
//! An agent that has such a process, and an idle moment, asks the leader for its turn ([`Turn`]), as the leader
//! alone sees all nodes (`plan::recycling`). A turn is given back when it cannot be used soon, so that one that
//! is always busy holds up nobody. What runs by the agent's own manifests has no leader: then all others of its
//! service on the node have to be ready.

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
    /// Its turn; then this is done.
    Turn(Action),
}

/// Whether it is the turn of a process to be recycled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// It has not asked for it.
    #[default]
    Unasked,
    /// It waits for the leader's word.
    Asked,
    /// It is, since this moment.
    Held(Moment),
}

/// A turn that was not used for so long is given back: whoever was idle when it asked has got work since.
const HELD: Duration = Duration::from_secs(10);

impl Turn {
    /// What becomes of it at `now`. `able`: the process could be recycled now. `granted`: the leader says that
    /// it may be. A turn that was given back is not asked for again before the leader has taken it.
    #[must_use]
    pub fn advance(self, able: bool, granted: bool, now: Moment) -> Self {
        match (self, granted) {
            (Self::Unasked, false) if able => Self::Asked,
            (Self::Unasked, _) => Self::Unasked,
            (Self::Asked, true) => Self::Held(now),
            (Self::Held(since), true) if !able && now >= since + HELD => Self::Unasked,
            (Self::Held(since), true) => Self::Held(since),
            (Self::Asked | Self::Held(_), false) => Self::Asked,
        }
    }

    /// Whether the leader is told that it waits for its turn, or has it.
    pub fn is_due(self) -> bool {
        self != Self::Unasked
    }

    /// When it is given back unless it was used.
    pub fn until(self) -> Option<Moment> {
        match self {
            Self::Held(since) => Some(since + HELD),
            Self::Unasked | Self::Asked => None,
        }
    }
}

/// What an instance that has nothing else to do at `now` waits for.
pub fn next(assignment: &Assignment, life: &Life, now: Moment) -> Next {
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
    let cause = StopCause::Recycled {
        age: now.since(*since),
    };
    Next::Turn(match drain::is_due(assignment, checks, &cause) {
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

    fn is_able(next: &Next) -> bool {
        let cause = StopCause::Recycled {
            age: Duration::from_secs(200),
        };
        *next == Next::Turn(Action::Stop(cause))
    }

    #[test]
    fn an_old_process_can_be_recycled_when_it_is_idle() {
        let wanted = assignment("idle");
        let next = |life: &Life, now| next(&wanted, life, at(now));
        assert!(matches!(
            next(&alive(0, at(50)), 50),
            Next::Age(due) if (at(90)..=at(110)).contains(&due)
        ));
        assert_eq!(next(&alive(1, at(200)), 200), Next::Pause);
        assert_eq!(next(&alive(0, at(100)), 200), Next::Pause, "that was then");
        assert!(is_able(&next(&alive(0, at(200)), 200)));
    }

    #[test]
    fn a_turn_is_asked_for_and_given_back_when_it_cannot_be_used() {
        let (able, granted) = (true, true);
        let turn = Turn::default().advance(!able, !granted, at(0));
        assert_eq!(turn, Turn::Unasked, "it is not asked for in vain");
        let asked = turn.advance(able, !granted, at(1));
        assert_eq!(asked, Turn::Asked);
        assert_eq!(asked.advance(!able, !granted, at(99)), asked, "it got work");
        let held = asked.advance(!able, granted, at(100));
        assert_eq!(held.advance(!able, granted, at(109)), held);
        assert_eq!(held.until(), Some(at(110)));
        let back = held.advance(!able, granted, at(110));
        assert!(held.is_due() && !back.is_due());
        // Until the leader has seen that, the turn may not be used: others may have it.
        assert_eq!(back.advance(able, granted, at(111)), Turn::Unasked);
        assert_eq!(back.advance(able, !granted, at(112)), Turn::Asked);
        assert_eq!(held.advance(able, !granted, at(105)), Turn::Asked, "taken");
    }

    #[test]
    fn a_turn_that_another_agent_asked_for_is_not_used() {
        assert_eq!(Turn::default().advance(true, true, at(0)), Turn::Unasked);
    }

    #[test]
    fn work_does_not_matter_where_it_is_not_to() {
        let wanted = assignment("always");
        let busy = alive(1, at(200));
        assert!(is_able(&next(&wanted, &busy, at(200))));
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
