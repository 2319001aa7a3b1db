//! The way from "it is to stop" to the signal: first clients are sent elsewhere, then the work at hand
//! is finished.
//!
//! ```text
//! begun --the store takes it--> told --LEARN, or a proof--> learnt --idle, or stop.drain is over--> signal
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    agent::{StopCause, Wait},
    health::Checks,
};
use crate::model::{Assignment, Moment, Run};

/// From the moment at which the store says that an instance is not ready, balancers may answer with it,
/// and clients call whom they were told, for this long. Balancers learn it within milliseconds; a
/// client that waits for longer with its call has to expect that much has changed.
pub const LEARN: Duration = Duration::from_millis(500);

/// The same from the moment at which all clients are known to know ([`super::proof`]): a client says so as soon as it
/// has read the news, while the calls that it has just begun are on their way.
const LAND: Duration = Duration::from_millis(50);

/// A store that does not take the news for this long cannot be waited for: a stop that was asked for
/// happens. What is only old can wait.
const TELL: Duration = Duration::from_secs(2);

/// However long `stop.drain` is, a process drains no longer than this when its agent ends.
pub const SHUTDOWN_DRAIN: Duration = Duration::from_secs(30);

/// How far a process is on its way to the signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Why it is to stop.
    pub cause: StopCause,
    /// When that was decided.
    begun: Moment,
    /// When the store was seen to say that clients are not to be sent to it.
    told: Option<Moment>,
    /// When all clients were known to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proven: Option<Moment>,
}

/// Whether a process is drained before it is asked to stop: clients may have been sent to it, and may
/// be waiting for it.
pub fn is_due(assignment: &Assignment, checks: &Checks, cause: &StopCause) -> bool {
    let served = checks.may_serve(&assignment.health);
    let worth = is_offered(assignment) || !assignment.stop.drain.get().is_zero();
    served && worth && !matches!(cause, StopCause::Unhealthy(_))
}

/// Whether balancers answer with it.
fn is_offered(assignment: &Assignment) -> bool {
    let has_endpoint = match assignment.run {
        Run::Process(_) => !assignment.ports.is_empty(),
        Run::External { .. } => true,
    };
    assignment.published && has_endpoint
}

impl Drain {
    /// A drain that begins at `now`.
    pub fn begin(cause: StopCause, now: Moment) -> Self {
        Self {
            cause,
            begun: now,
            told: None,
            proven: None,
        }
    }

    /// The same for another cause: what clients were told stays told.
    #[must_use]
    pub fn turn(self, cause: StopCause, now: Moment) -> Self {
        Self {
            told: self.told,
            proven: self.proven,
            ..Self::begin(cause, now)
        }
    }

    /// The store was seen at `now` to say that clients are not to be sent to it.
    pub fn tell(&mut self, now: Moment) {
        self.told.get_or_insert(now);
    }

    /// All clients were known at `now` to know.
    pub fn prove(&mut self, now: Moment) {
        self.proven.get_or_insert(now);
    }

    /// Whether it would end sooner if all clients were known to know. Who holds a ticket never says so.
    pub fn is_provable(&self, assignment: &Assignment) -> bool {
        let is_open = self.told.is_some() && self.proven.is_none();
        is_open && is_offered(assignment) && assignment.tickets.is_none()
    }

    /// Whether the store was seen to say so.
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// From when on no new calls come, as far as that is known at `now`.
    pub fn learnt(&self, assignment: &Assignment, now: Moment) -> Option<Moment> {
        if !is_offered(assignment) {
            return Some(self.begun);
        }
        let over = self.patience().filter(|end| now >= *end);
        let told = self.told.or(over)?;
        let learnt = told + LEARN;
        Some((self.proven).map_or(learnt, |proven| learnt.min(proven + LAND)))
    }

    /// Until when the store is waited for; none: for as long as it takes.
    fn patience(&self) -> Option<Moment> {
        let waits = matches!(self.cause, StopCause::Recycled { .. });
        (!waits).then(|| self.begun + TELL)
    }

    /// What the drain waits for at `now`; none when it is over. Clients that hold tickets (`reserved`) are at
    /// work, whatever the load report says.
    pub fn wait(
        &self,
        assignment: &Assignment,
        checks: &Checks,
        reserved: bool,
        now: Moment,
    ) -> Option<Wait> {
        let Some(learnt) = self.learnt(assignment, now) else {
            return Some(Wait::Told(self.patience()));
        };
        if now < learnt {
            return Some(Wait::Learnt(learnt));
        }
        let drain = assignment.stop.drain.get();
        let deadline = match self.cause {
            StopCause::AgentEnds => self.begun + drain.min(SHUTDOWN_DRAIN),
            // Whether it is idle has to be known, and the store may have taken long.
            StopCause::Recycled { .. } => {
                let round = assignment.load.interval.get() + assignment.health.timeout.get();
                (self.begun + drain).max(learnt + TELL + round)
            }
            _ => self.begun + drain,
        };
        let idle = !reserved && checks.idle_since(learnt);
        (now < deadline && !idle).then_some(Wait::Idle(deadline))
    }

    /// Whether it is known to work on nothing since no new calls come.
    pub fn is_idle(&self, assignment: &Assignment, checks: &Checks, now: Moment) -> bool {
        let learnt = self.learnt(assignment, now);
        learnt.is_some_and(|learnt| checks.idle_since(learnt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LoadReport, ServerStats, quantity::Period};

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn assignment(drain: u64) -> Assignment {
        let json = serde_json::json!({
            "instance": "worker-0", "desired": "absent", "generation": 1, "revision": "a",
            "run": {"process": {"command": ["x"]}},
            "ports": [{"name": "grpc"}],
            "load": {"reportLoad": {}},
            "stop": {"drain": Period::from_secs(drain)},
        });
        serde_json::from_value(json).unwrap()
    }

    const CAUSE: StopCause = StopCause::Absent { stored_at: 1 };

    fn report(capacity: i32, requests: i32) -> LoadReport {
        LoadReport {
            known_rate: None,
            stats: Some(ServerStats {
                request_capacity: capacity,
                current_requests: requests,
                ..ServerStats::default()
            }),
        }
    }

    /// Checks of a process that said this of its load when it was asked at `asked`.
    fn said(capacity: i32, requests: i32, asked: Moment) -> Checks {
        let mut checks = Checks::begin(at(0));
        checks.record_load(asked, &report(capacity, requests), 0);
        checks
    }

    #[test]
    fn nothing_happens_before_the_balancers_know() {
        let wanted = assignment(60);
        let checks = Checks::begin(at(0));
        let mut drain = Drain::begin(CAUSE, at(0));
        let wait = |drain: &Drain, now| drain.wait(&wanted, &checks, false, at(now));
        assert_eq!(wait(&drain, 1_999), Some(Wait::Told(Some(at(2_000)))));
        // A store that is away holds up a stop for a while, not for good.
        assert_eq!(wait(&drain, 2_000), Some(Wait::Learnt(at(2_500))));
        drain.tell(at(100));
        drain.tell(at(200));
        assert_eq!(wait(&drain, 599), Some(Wait::Learnt(at(600))));
        assert_eq!(wait(&drain, 600), Some(Wait::Idle(at(60_000))));
        assert_eq!(wait(&drain, 60_000), None);
    }

    #[test]
    fn what_is_only_old_waits_for_the_store_however_long_that_takes() {
        let wanted = assignment(1);
        let age = Duration::from_secs(9);
        let mut drain = Drain::begin(StopCause::Recycled { age }, at(0));
        let wait =
            |drain: &Drain, checks: &Checks, now| drain.wait(&wanted, checks, false, at(now));
        let idle = |asked| said(1, 0, at(asked));
        assert_eq!(wait(&drain, &idle(0), 2_500), Some(Wait::Told(None)));
        assert_eq!(wait(&drain, &idle(90_000), 90_000), Some(Wait::Told(None)));
        assert!(!drain.is_idle(&wanted, &idle(90_000), at(90_000)));
        drain.tell(at(90_000));
        assert_eq!(
            wait(&drain, &idle(90_000), 90_499),
            Some(Wait::Learnt(at(90_500)))
        );
        // There is still time to see that it is idle.
        let waits = wait(&drain, &idle(90_000), 90_500);
        assert!(matches!(waits, Some(Wait::Idle(until)) if until > at(91_500)));
        assert_eq!(wait(&drain, &idle(90_600), 90_700), None);
    }

    #[test]
    fn a_proof_ends_the_wait_for_clients_and_never_lengthens_it() {
        let wanted = assignment(60);
        let mut drain = Drain::begin(CAUSE, at(0));
        assert!(!drain.is_provable(&wanted), "the store was not told");
        drain.tell(at(100));
        assert!(drain.is_provable(&wanted));
        let learnt = |drain: &Drain| drain.learnt(&wanted, at(100));
        assert_eq!(learnt(&drain), Some(at(600)));
        for (proven, expected) in [(120, 170), (549, 599), (551, 600), (9_000, 600)] {
            let mut drain = drain.clone();
            drain.prove(at(proven));
            drain.prove(at(proven + 9));
            assert_eq!(learnt(&drain), Some(at(expected)));
            let turned = drain.turn(StopCause::AgentEnds, at(200));
            assert_eq!(learnt(&turned), Some(at(expected)));
            assert!(!turned.is_provable(&wanted));
        }
    }

    #[test]
    fn what_is_given_out_by_tickets_or_not_offered_needs_no_proof() {
        let mut drain = Drain::begin(CAUSE, at(0));
        drain.tell(at(100));
        let mut wanted = assignment(60);
        wanted.tickets = Some(Default::default());
        assert!(!drain.is_provable(&wanted));
        let mut wanted = assignment(60);
        wanted.published = false;
        assert!(!drain.is_provable(&wanted));
    }

    #[test]
    fn the_signal_follows_the_first_report_of_idleness_that_was_asked_for_late_enough() {
        let wanted = assignment(60);
        let mut drain = Drain::begin(CAUSE, at(0));
        drain.tell(at(0));
        for (checks, over) in [
            (said(1, 0, at(499)), false),
            (said(1, 0, at(500)), true),
            (said(1, 1, at(600)), false),
            // Who does not know what it can do does not know what it does.
            (said(-1, 0, at(600)), false),
        ] {
            assert_eq!(
                drain.wait(&wanted, &checks, false, at(700)).is_none(),
                over,
                "{checks:?}"
            );
        }
    }

    #[test]
    fn who_holds_a_ticket_is_waited_for_even_where_nothing_is_worked_on() {
        let wanted = assignment(60);
        let mut drain = Drain::begin(CAUSE, at(0));
        drain.tell(at(0));
        let wait = |reserved, now| drain.wait(&wanted, &said(1, 0, at(600)), reserved, at(now));
        assert_eq!(wait(true, 700), Some(Wait::Idle(at(60_000))));
        assert_eq!(wait(false, 700), None);
        assert_eq!(wait(true, 60_000), None);
    }

    #[test]
    fn without_a_drain_only_the_balancers_are_waited_for() {
        let wanted = assignment(0);
        let mut drain = Drain::begin(CAUSE, at(0));
        drain.tell(at(10));
        let wait = |now| drain.wait(&wanted, &said(1, 1, at(0)), false, at(now));
        assert_eq!(wait(509), Some(Wait::Learnt(at(510))));
        assert_eq!(wait(510), None);
    }

    #[test]
    fn what_no_balancer_offers_waits_for_its_work_alone() {
        let mut wanted = assignment(60);
        wanted.published = false;
        let drain = Drain::begin(CAUSE, at(0));
        let wait = |requests| drain.wait(&wanted, &said(1, requests, at(1)), false, at(2));
        assert_eq!(wait(1), Some(Wait::Idle(at(60_000))));
        assert_eq!(wait(0), None);
        wanted.stop.drain = Period::from_secs(0);
        assert!(!is_due(&wanted, &said(1, 1, at(0)), &CAUSE));
    }

    #[test]
    fn the_end_of_the_agent_shortens_a_long_drain() {
        let wanted = assignment(600);
        let mut drain = Drain::begin(CAUSE, at(0));
        drain.tell(at(0));
        let drain = drain.turn(StopCause::AgentEnds, at(1_000));
        let wait = |now| drain.wait(&wanted, &said(1, 1, at(0)), false, at(now));
        assert_eq!(wait(1_000), Some(Wait::Idle(at(31_000))));
        assert_eq!(wait(31_000), None);
    }

    #[test]
    fn only_what_clients_may_use_is_drained() {
        let mut wanted = assignment(0);
        let fresh = Checks::begin(at(0));
        assert!(is_due(&wanted, &fresh, &CAUSE), "it needs no check");
        wanted.health.tcp = Some(Default::default());
        assert!(!is_due(&wanted, &fresh, &CAUSE), "it was never healthy");
        let mut healthy = fresh.clone();
        healthy.record(&wanted.health, at(1), Ok(()), at(1));
        assert!(is_due(&wanted, &healthy, &CAUSE));
        let dead = StopCause::Unhealthy(crate::plan::health::Failure {
            why: String::new(),
            silent: true,
        });
        assert!(!is_due(&wanted, &healthy, &dead));
    }
}
