//! Who has a unit of an instance's capacity: the agent's ledger, one per instance and process.
//!
//! ```text
//!           grant            until              a report of idleness, or reclaimAfter
//!   (free) -------> ticket ---------> overdue -------------------------------------> (free)
//!             ^       |  ^-- renewal --+
//!             +-------+ release (of an overdue one, too)
//! ```
//!
//! A ticket takes one unit until it is released. One that is neither released nor renewed in time is
//! overdue: its client may be dead, but the worker may still be at its request, so the unit stays taken
//! until the worker says otherwise. The end of the process ends all its tickets.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{Moment, ticket::TicketSpec};

/// The ticket of a request that was given up is refused for this long, should the request arrive after
/// that: far longer than any call is under way.
const SPENT: Duration = Duration::from_secs(120);

/// The tickets of one process. At no time are there more than the capacity that the grants were asked for
/// with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// By serial: until when each was granted or renewed.
    tickets: BTreeMap<String, Moment>,
    /// Serials that came to an end, and when they can be forgotten. They need not outlive the agent: what
    /// was under way to it has ended with it.
    #[serde(skip)]
    spent: BTreeMap<String, Moment>,
}

/// Why no ticket was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is free.
    #[error("all its units are taken")]
    Taken,
    /// The ticket has been released, or has ended.
    #[error("the ticket has come to its end")]
    Over,
}

impl Ledger {
    /// Gives the ticket `serial` one of `capacity` units. Asked again for the same, it gives the same answer.
    /// Returns until when the ticket lasts.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn grant(
        &mut self,
        serial: &str,
        capacity: u32,
        spec: &TicketSpec,
        now: Moment,
    ) -> Result<Moment, Refusal> {
        self.spent.retain(|_, until| *until > now);
        if self.spent.contains_key(serial) {
            return Err(Refusal::Over);
        }
        if let Some(until) = self.tickets.get(serial) {
            return if now < *until {
                Ok(*until)
            } else {
                Err(Refusal::Over)
            };
        }
        if self.taken() >= capacity {
            return Err(Refusal::Taken);
        }
        let until = now + spec.ttl.get();
        self.tickets.insert(serial.to_owned(), until);
        Ok(until)
    }

    /// Lets a ticket last longer. One that is overdue is valid again: nobody else has got its unit.
    /// Returns until when it lasts.
    ///
    /// # Errors
    /// [`Refusal::Over`] when there is no such ticket any more.
    pub fn renew(
        &mut self,
        serial: &str,
        spec: &TicketSpec,
        now: Moment,
    ) -> Result<Moment, Refusal> {
        let until = self.tickets.get_mut(serial).ok_or(Refusal::Over)?;
        *until = (*until).max(now + spec.ttl.get());
        Ok(*until)
    }

    /// Takes a ticket back: its unit is free. A grant of it that arrives later is refused. Returns whether
    /// there was such a ticket.
    pub fn release(&mut self, serial: &str, now: Moment) -> bool {
        self.spent.insert(serial.to_owned(), now + SPENT);
        self.tickets.remove(serial).is_some()
    }

    /// Undoes a grant that nobody has heard of.
    pub fn undo(&mut self, serial: &str) {
        self.tickets.remove(serial);
    }

    /// Frees the units of overdue tickets for which nobody works, as the last load report shows if it was asked
    /// for at `idle_at` and spoke of no requests at all, and those whose time to be reclaimed has come.
    /// Returns the serials.
    ///
    /// Requests are not known by their tickets: any one may belong to an overdue ticket.
    pub fn reclaim(
        &mut self,
        idle_at: Option<Moment>,
        spec: &TicketSpec,
        now: Moment,
    ) -> Vec<String> {
        let is_over = |until: Moment| {
            now >= until && idle_at.is_some_and(|asked| asked >= until)
                || now >= until + spec.reclaim_after.get()
        };
        let over = self.tickets.iter().filter(|(_, until)| is_over(**until));
        let over: Vec<String> = over.map(|(serial, _)| serial.clone()).collect();
        for serial in &over {
            self.release(serial, now);
        }
        over
    }

    /// How many units are not to be had.
    pub fn taken(&self) -> u32 {
        u32::try_from(self.tickets.len()).unwrap_or(u32::MAX)
    }

    /// How many tickets are in order.
    pub fn valid(&self, now: Moment) -> usize {
        self.tickets.values().filter(|until| now < **until).count()
    }

    /// Since when the ticket has been overdue that became so last; none when all are in order. A load report
    /// that was asked for later may free its unit.
    pub fn overdue_since(&self, now: Moment) -> Option<Moment> {
        let overdue = self.tickets.values().filter(|until| now >= **until);
        overdue.max().copied()
    }

    /// When something changes by itself.
    pub fn next(&self, spec: &TicketSpec, now: Moment) -> Option<Moment> {
        let change = |until: &Moment| match now < *until {
            true => *until,
            false => *until + spec.reclaim_after.get(),
        };
        self.tickets.values().map(change).min()
    }

    /// Ends all tickets.
    pub fn clear(&mut self) {
        self.tickets.clear();
        self.spent.clear();
    }

    /// Whether there are no tickets.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::quantity::Period;

    const SPEC: TicketSpec = TicketSpec {
        ttl: Period(Duration::from_secs(30)),
        reclaim_after: Period(Duration::from_secs(600)),
    };

    fn at(secs: u64) -> Moment {
        Moment::new(Duration::from_secs(secs))
    }

    #[test]
    fn a_unit_is_granted_to_one_alone_until_it_is_released() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.grant("a", 1, &SPEC, at(0)), Ok(at(30)));
        assert_eq!(ledger.grant("b", 1, &SPEC, at(1)), Err(Refusal::Taken));
        assert!(ledger.release("a", at(2)));
        assert_eq!(ledger.grant("b", 1, &SPEC, at(2)), Ok(at(32)));
        assert_eq!(ledger.grant("c", 2, &SPEC, at(2)), Ok(at(32)));
        assert_eq!(ledger.grant("d", 1, &SPEC, at(2)), Err(Refusal::Taken));
    }

    #[test]
    fn the_same_grant_asked_for_twice_is_one() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.grant("a", 2, &SPEC, at(0)), Ok(at(30)));
        assert_eq!(ledger.grant("a", 2, &SPEC, at(9)), Ok(at(30)));
        assert_eq!(ledger.taken(), 1);
    }

    #[test]
    fn a_grant_that_arrives_after_its_release_is_refused() {
        let mut ledger = Ledger::default();
        assert!(!ledger.release("a", at(0)));
        assert_eq!(ledger.grant("a", 1, &SPEC, at(1)), Err(Refusal::Over));
        assert_eq!(ledger.taken(), 0);
        assert_eq!(ledger.renew("a", &SPEC, at(1)), Err(Refusal::Over));
    }

    #[test]
    fn an_overdue_unit_stays_taken_until_its_worker_was_idle_after_the_end() {
        let mut ledger = Ledger::default();
        ledger.grant("a", 1, &SPEC, at(0)).unwrap();
        let mut reclaim = |report, now| ledger.reclaim(report, &SPEC, at(now));
        assert!(reclaim(Some(at(29)), 29).is_empty(), "in order");
        assert!(
            reclaim(None, 31).is_empty(),
            "no report, or one of requests"
        );
        assert!(reclaim(Some(at(29)), 31).is_empty(), "too old a report");
        assert_eq!(reclaim(Some(at(31)), 32), ["a"]);
        assert_eq!(ledger.grant("b", 1, &SPEC, at(32)), Ok(at(62)));
    }

    #[test]
    fn a_worker_that_never_says_that_it_is_idle_is_given_out_again_in_the_end() {
        let mut ledger = Ledger::default();
        ledger.grant("a", 1, &SPEC, at(0)).unwrap();
        assert!(ledger.reclaim(None, &SPEC, at(629)).is_empty());
        assert_eq!(ledger.next(&SPEC, at(629)), Some(at(630)));
        assert_eq!(ledger.reclaim(None, &SPEC, at(630)), ["a"]);
    }

    #[test]
    fn a_late_renewal_counts_as_long_as_nobody_else_has_the_unit() {
        let mut ledger = Ledger::default();
        ledger.grant("a", 1, &SPEC, at(0)).unwrap();
        assert_eq!(ledger.overdue_since(at(40)), Some(at(30)));
        assert_eq!(ledger.renew("a", &SPEC, at(40)), Ok(at(70)));
        assert!(ledger.reclaim(Some(at(41)), &SPEC, at(41)).is_empty());
        assert_eq!(ledger.reclaim(Some(at(71)), &SPEC, at(71)), ["a"]);
        assert_eq!(ledger.renew("a", &SPEC, at(72)), Err(Refusal::Over));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Grant(u8),
        Renew(u8),
        Release(u8),
        Work(u8, bool),
        Report,
        Pass(u64),
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40_u8).prop_map(Step::Grant),
            2 => (0..40_u8).prop_map(Step::Renew),
            2 => (0..40_u8).prop_map(Step::Release),
            3 => (0..40_u8, any::<bool>()).prop_map(|(who, on)| Step::Work(who, on)),
            3 => Just(Step::Report),
            3 => (0..25_u64).prop_map(Step::Pass),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// Clients that work while their ticket is in order, and some longer, never meet another on the same
        /// unit, unless `reclaimAfter` has passed (here it never does).
        #[test]
        fn there_are_never_more_tickets_or_workers_than_units(
            capacity in 1..4_u32,
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let spec = TicketSpec { reclaim_after: Period::from_secs(1_000_000), ..SPEC };
            let mut ledger = Ledger::default();
            let mut now = at(0);
            let mut working = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Grant(who) => {
                        let _ = ledger.grant(&who.to_string(), capacity, &spec, now);
                    }
                    Step::Renew(who) => {
                        let _ = ledger.renew(&who.to_string(), &spec, now);
                    }
                    // Who releases has done its work.
                    Step::Release(who) => {
                        working.remove(&who);
                        ledger.release(&who.to_string(), now);
                    }
                    // Work begins with a valid ticket, and ends whenever it ends.
                    Step::Work(who, true) => {
                        let valid = ledger.tickets.get(&who.to_string());
                        if valid.is_some_and(|until| now < *until) {
                            working.insert(who);
                        }
                    }
                    Step::Work(who, false) => {
                        working.remove(&who);
                    }
                    Step::Report => {
                        ledger.reclaim(working.is_empty().then_some(now), &spec, now);
                    }
                    Step::Pass(secs) => now = now + Duration::from_secs(secs),
                    // The next agent goes on with what this one wrote down.
                    Step::Restart => {
                        let written = serde_json::to_string(&ledger).unwrap();
                        ledger = serde_json::from_str(&written).unwrap();
                    }
                }
                prop_assert!(ledger.taken() <= capacity);
                prop_assert!(working.len() <= capacity as usize, "{working:?}");
                let strangers = working.iter().filter(|who| !ledger.tickets.contains_key(&who.to_string()));
                prop_assert_eq!(strangers.count(), 0, "whoever works has a unit");
            }
        }
    }
}
