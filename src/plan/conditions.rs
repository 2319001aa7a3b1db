//! What is reported of services.
//!
//! Messages name instances and causes, never times or counters, so that nothing is written while
//! nothing happens.

use std::collections::BTreeSet;

use crate::model::{Condition, ConditionStatus, Name, RolledBack, ServiceStatus, Timestamp};

use super::{
    cluster::{Cluster, Service},
    rollout::Member,
    roster,
};

/// The condition that every instance has a node.
pub const PLACED: &str = "Placed";
/// The condition that every instance runs the current revision.
pub const UPDATED: &str = "Updated";
/// The condition that every instance runs the current revision and is available: ready, and for as long as
/// `rollout.minReady` asks.
pub const READY: &str = "Ready";
/// The condition that as many instances are available as a rollout has to leave.
pub const AVAILABLE: &str = "Available";
/// The condition that the rollout is complete or gets further.
pub const PROGRESSING: &str = "Progressing";

/// All conditions of a service.
pub const OF_SERVICES: [&str; 5] = [PLACED, UPDATED, READY, AVAILABLE, PROGRESSING];

/// The reason that a rollout gets further.
pub const ROLLING_OUT: &str = "RollingOut";
/// The reason that a rollout got no further for too long.
pub const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
/// The reason that an instance was given up.
pub const GIVEN_UP: &str = "Failed";
/// The reason that what instances had to do is done.
pub const COMPLETED: &str = "Completed";
/// The reason that the operator has paused the rollout.
pub const PAUSED: &str = "Paused";
/// The reason that another template is in force than that of the manifest.
pub const ROLLED_BACK: &str = "RolledBack";

/// The reason that an instance found no node.
const NO_NODE: &str = "NoNode";
/// The reason that an instance cannot be replaced where it is.
pub const STUCK: &str = "Stuck";
/// The reason that a later spec is not in force.
const SPEC_REFUSED: &str = "SpecRefused";

/// Parts of a list that one message names; more are counted.
const PARTS_NAMED: usize = 5;

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], r#type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.r#type == r#type)
}

/// Whether something that others hold, such as a port, may keep a service from going on. That a spec is
/// refused is reported rather than that the one in force is stuck.
pub fn is_hindered(conditions: &[Condition]) -> bool {
    let hindrances = [NO_NODE, STUCK, SPEC_REFUSED];
    (conditions.iter()).any(|c| hindrances.contains(&c.reason.as_str()))
}

/// The first few of a list, and how many more there are.
pub fn some(parts: &[String]) -> String {
    let named = parts.iter().take(PARTS_NAMED).cloned().collect::<Vec<_>>();
    match parts.len().saturating_sub(PARTS_NAMED) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

/// What a plan found out about a service that is to run.
#[derive(Debug, Default)]
pub struct Report<'a> {
    /// Instances wanted.
    pub replicas: usize,
    /// Those that have a node.
    pub members: Vec<Member<'a>>,
    /// Slots without a node, and why.
    pub unplaced: Vec<(u32, String)>,
    /// Slots that other services come before, and which.
    pub held: Vec<(u32, String)>,
    /// Slots that leave a node before they get another.
    pub leaving: Vec<(u32, &'a Name)>,
    /// Why instances cannot be replaced.
    pub stuck: Vec<String>,
    /// What the next replacement waits for.
    pub awaited: Option<String>,
    /// Why no node admits a service that is to run on every node.
    pub nowhere: Option<String>,
    /// Why a later spec was refused; what is reported is of the one before.
    pub problem: Option<&'a str>,
    /// Whether the rollout has something to do, also where its revision was stable before.
    pub under_way: bool,
    /// The slots of members that stand in during a rollout.
    pub stand_ins: BTreeSet<u32>,
    /// So many have to be available, at least.
    pub least: usize,
    /// Whether the operator has paused the rollout.
    pub paused: bool,
    /// Why the rollout has failed, if nothing else is in force for it.
    pub failure: Option<(&'static str, String)>,
    /// That the rollout has failed, and another template is in force.
    pub rolled_back: Option<RolledBack>,
}

/// A condition without its time.
struct Verdict {
    r#type: &'static str,
    status: ConditionStatus,
    reason: String,
    message: String,
}

impl Verdict {
    fn new(r#type: &'static str, status: ConditionStatus, reason: &str, message: String) -> Self {
        Self {
            r#type,
            status,
            reason: reason.to_owned(),
            message,
        }
    }

    /// The condition: its time is that of the last one unless the status differs.
    fn since(self, before: &[Condition], now: Timestamp) -> Condition {
        let before = find(before, self.r#type).filter(|c| c.status == self.status);
        Condition {
            r#type: self.r#type.to_owned(),
            status: self.status,
            reason: self.reason,
            message: self.message,
            last_transition_time: before.map_or(now, |c| c.last_transition_time),
        }
    }
}

impl<'a> Report<'a> {
    /// The status of `service` at this generation and revision.
    pub fn status(
        &self,
        service: &Name,
        generation: u64,
        revision: String,
        before: Option<&ServiceStatus>,
        now: Timestamp,
    ) -> ServiceStatus {
        let stable = match self.is_complete() {
            true => Some(revision.clone()),
            false => before.and_then(|status| status.stable_revision.clone()),
        };
        let verdicts = [
            self.placed(service),
            self.updated(service),
            self.ready(service),
            self.available(),
            self.progressing(service, stable.as_ref() == Some(&revision)),
        ];
        let before = before.map_or(&[][..], |status| &status.conditions);
        let of_all = |holds: &dyn Fn(&Member<'_>) -> bool| {
            count(self.members.iter().filter(|member| holds(member)).count())
        };
        ServiceStatus {
            name: service.clone(),
            replicas: count(self.replicas),
            assigned: of_all(&|member| member.generation.is_some()),
            updated: count(self.wanted().filter(|member| member.is_updated()).count()),
            ready: of_all(&|member| member.is_ready()),
            available: of_all(&|member| member.is_available()),
            observed_generation: generation,
            conditions: verdicts.map(|v| v.since(before, now)).to_vec(),
            revision,
            stable_revision: stable,
            rolled_back: self.rolled_back.clone(),
        }
    }

    /// The members that are wanted for good.
    fn wanted(&self) -> impl Iterator<Item = &Member<'a>> {
        let members = self.members.iter();
        members.filter(|member| !self.stand_ins.contains(&member.slot))
    }

    /// Whether all run the current revision and do what can be asked of them.
    fn is_complete(&self) -> bool {
        let done = |member: &Member<'_>| member.is_updated() && member.is_settled();
        self.wanted().filter(|member| done(member)).count() == self.replicas
            && self.nowhere.is_none()
    }

    fn available(&self) -> Verdict {
        let available = self.members.iter().filter(|m| m.is_settled()).count();
        let message = format!("{available} available, {} have to be", self.least);
        match available >= self.least {
            true => Verdict::new(AVAILABLE, ConditionStatus::True, "EnoughAvailable", message),
            false => Verdict::new(
                AVAILABLE,
                ConditionStatus::False,
                "TooFewAvailable",
                message,
            ),
        }
    }

    /// How the rollout goes on. One that is `over` stays so, whatever becomes of the instances later.
    fn progressing(&self, service: &Name, over: bool) -> Verdict {
        let verdict = |status, reason, message| Verdict::new(PROGRESSING, status, reason, message);
        if let Some(failed) = &self.rolled_back {
            let message = format!(
                "generation {} (revision {}) failed: {}; revision {} is in force until the template \
                 changes",
                failed.generation, failed.from, failed.cause, failed.to
            );
            return verdict(ConditionStatus::False, ROLLED_BACK, message);
        }
        let updated = self.wanted().filter(|member| member.is_updated()).count();
        let in_turn = self.wanted().filter(|member| member.is_due()).count();
        let held = self.wanted().filter(|member| member.held).count();
        if over && in_turn == 0 && !self.under_way {
            let message = "all instances have been updated and available".to_owned();
            return verdict(ConditionStatus::True, "Complete", message);
        }
        if self.paused {
            let message = format!("{updated} of {} updated; paused", self.replicas);
            return verdict(ConditionStatus::Unknown, PAUSED, message);
        }
        let finished = self.wanted().filter(|member| member.is_finished()).count();
        if held > 0 && finished == self.replicas {
            let message = format!(
                "{updated} of {} updated, as `partition` allows",
                self.replicas
            );
            return verdict(ConditionStatus::True, "PartitionComplete", message);
        }
        let behind = self.wanted().find(|member| !member.is_finished());
        let why = self.awaited.clone();
        let why = why.or_else(|| behind.map(|member| member.describe(service)));
        let why = why.map_or(String::new(), |why| format!("; {why}"));
        match &self.failure {
            Some((reason, failure)) => {
                let message = format!("{failure}: {updated} of {} updated{why}", self.replicas);
                verdict(ConditionStatus::False, reason, message)
            }
            None => {
                let message = format!("{updated} of {} updated{why}", self.replicas);
                verdict(ConditionStatus::True, ROLLING_OUT, message)
            }
        }
    }

    fn placed(&self, service: &Name) -> Verdict {
        let (status, reason, message) = if let Some(reason) = &self.nowhere {
            (ConditionStatus::False, NO_NODE, reason.clone())
        } else if !self.unplaced.is_empty() {
            let slots = self.unplaced.iter();
            let parts: Vec<String> = slots
                .map(|(slot, reason)| format!("{service}-{slot} has no node: {reason}"))
                .collect();
            (ConditionStatus::False, NO_NODE, some(&parts))
        } else if !self.held.is_empty() {
            let slots = self.held.iter();
            let parts: Vec<String> = slots
                .map(|(slot, whom)| format!("{service}-{slot} waits for {whom}"))
                .collect();
            (ConditionStatus::False, "Waiting", some(&parts))
        } else if !self.leaving.is_empty() {
            let slots = self.leaving.iter();
            let parts: Vec<String> = slots
                .map(|(slot, node)| format!("{service}-{slot} first has to leave node {node}"))
                .collect();
            (ConditionStatus::False, "Moving", some(&parts))
        } else {
            let message = format!("{} placed", all(self.replicas));
            (ConditionStatus::True, "AllPlaced", message)
        };
        Verdict::new(PLACED, status, reason, message)
    }

    fn updated(&self, service: &Name) -> Verdict {
        let updated = self.wanted().filter(|m| m.is_updated()).count();
        let held = self.wanted().filter(|m| m.held).count();
        let (status, reason, message) = if let Some(problem) = self.problem {
            let message = format!("the stored spec is refused, the one before stays: {problem}");
            (ConditionStatus::False, SPEC_REFUSED, message)
        } else if self.paused && held > 0 {
            let message = format!(
                "{updated} of {} updated; the rollout is paused",
                self.replicas
            );
            (ConditionStatus::False, PAUSED, message)
        } else if held > 0 && updated + held == self.replicas {
            let message = format!(
                "{updated} of {} updated, as `partition` allows",
                self.replicas
            );
            (ConditionStatus::False, "Partitioned", message)
        } else if updated == self.replicas {
            let message = format!("{} updated", all(self.replicas));
            (ConditionStatus::True, "AllUpdated", message)
        } else {
            let progress = format!("{updated} of {} updated", self.replicas);
            let awaited = self.awaited.as_ref().map(|a| format!("waiting until {a}"));
            let behind = || {
                let behind = self.wanted().filter(|m| !m.is_updated());
                let parts: Vec<String> = behind.map(|m| m.describe(service)).collect();
                (!parts.is_empty()).then(|| some(&parts))
            };
            let stuck = (!self.stuck.is_empty()).then(|| some(&self.stuck));
            let reason = if stuck.is_some() { STUCK } else { ROLLING_OUT };
            let why = awaited.or(stuck).or_else(behind);
            let message = why.map_or(progress.clone(), |why| format!("{progress}; {why}"));
            (ConditionStatus::False, reason, message)
        };
        Verdict::new(UPDATED, status, reason, message)
    }

    fn ready(&self, service: &Name) -> Verdict {
        let counts = |m: &Member<'_>| m.is_updated() || (m.held && !self.paused);
        let good = |m: &&Member<'_>| m.is_available() && counts(m);
        let ready = self.wanted().filter(good).count();
        if ready == self.replicas && self.nowhere.is_none() {
            let message = format!("{} ready", all(self.replicas));
            return Verdict::new(READY, ConditionStatus::True, "AllReady", message);
        }
        let others = self.wanted().filter(|member| !good(member));
        let (unready, outdated): (Vec<&Member<'_>>, Vec<&Member<'_>>) =
            others.partition(|m| !m.is_available());
        let mut parts: Vec<String> = unready.iter().map(|m| m.describe(service)).collect();
        let slots = self.unplaced.iter();
        parts.extend(slots.map(|(slot, _)| format!("{service}-{slot} has no node")));
        let leaving = self.leaving.iter();
        parts.extend(
            leaving.map(|(slot, node)| format!("{service}-{slot} first has to leave node {node}")),
        );
        let held = self.held.iter();
        parts.extend(held.map(|(slot, whom)| format!("{service}-{slot} waits for {whom}")));
        if !outdated.is_empty() {
            parts.push(format!("{} still to be updated", outdated.len()));
        }
        let placed = self.unplaced.is_empty()
            && self.held.is_empty()
            && self.leaving.is_empty()
            && self.nowhere.is_none();
        let unknown = placed && outdated.is_empty() && unready.iter().all(|member| !member.live);
        let (status, reason) = if unknown {
            (ConditionStatus::Unknown, "NodeUnknown")
        } else if unready.iter().any(|member| member.has_failed()) {
            (ConditionStatus::False, GIVEN_UP)
        } else if placed && outdated.is_empty() && unready.iter().all(|m| m.is_settled()) {
            (ConditionStatus::False, COMPLETED)
        } else if unready.is_empty() && !outdated.is_empty() {
            let paused = self.paused && outdated.iter().all(|member| member.held);
            (
                ConditionStatus::False,
                if paused { PAUSED } else { ROLLING_OUT },
            )
        } else {
            (ConditionStatus::False, "NotReady")
        };
        let available = self.wanted().filter(|member| member.is_available());
        let mut message = format!("{} of {} ready", available.count(), self.replicas);
        if self.nowhere.is_some() {
            message.push_str("; no node admits it");
        } else if !parts.is_empty() {
            message = format!("{message}; {}", some(&parts));
        }
        Verdict::new(READY, status, reason, message)
    }
}

/// The status of a deleted service while instances are left.
pub fn deleting(
    name: &Name,
    service: &Service,
    generation: u64,
    leaving: &[String],
    now: Timestamp,
) -> ServiceStatus {
    let mut status = frozen(name, service, leaving.len(), |_| true);
    let message = format!("deleted; still to stop: {}", some(leaving));
    status.replicas = 0;
    status.updated = 0;
    status.observed_generation = generation;
    uniform(status, ConditionStatus::False, "Deleting", &message, now)
}

/// The status of a service of which it is not known what is wanted.
pub fn left_alone(
    cluster: &Cluster,
    name: &Name,
    service: &Service,
    reason: &str,
    message: String,
    now: Timestamp,
) -> ServiceStatus {
    let seats = service.seats.values();
    let assigned = seats.filter(|seat| seat.assignment.is_some() && !roster::has_left(seat));
    let status = frozen(name, service, assigned.count(), |node| {
        cluster.is_live(node)
    });
    uniform(status, ConditionStatus::Unknown, reason, &message, now)
}

/// What was reported last, with the counts of now.
fn frozen(
    name: &Name,
    service: &Service,
    assigned: usize,
    is_live: impl Fn(&Name) -> bool,
) -> ServiceStatus {
    let asked = service.seats.values().filter_map(|seat| seat.asked());
    let before = service.status.as_ref().and_then(|s| s.value.clone());
    let mut status = before.unwrap_or_else(|| ServiceStatus {
        name: name.clone(),
        replicas: count(assigned),
        assigned: 0,
        updated: 0,
        ready: 0,
        available: 0,
        stable_revision: None,
        rolled_back: None,
        observed_generation: asked.map(|a| a.generation).max().unwrap_or(0),
        revision: String::new(),
        conditions: Vec::new(),
    });
    status.assigned = count(assigned);
    let ready = service.seats.iter().filter(|((_, node), seat)| {
        is_live(node) && seat.observed().is_some_and(|state| state.ready)
    });
    status.ready = count(ready.count());
    status.available = status.available.min(status.ready);
    status
}

fn uniform(
    mut status: ServiceStatus,
    verdict: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> ServiceStatus {
    status.conditions = OF_SERVICES
        .map(|r#type| {
            Verdict::new(r#type, verdict, reason, message.to_owned()).since(&status.conditions, now)
        })
        .to_vec();
    status
}

/// A condition, at the time of the last one of its type in `before` unless its status differs.
pub(super) fn since(
    before: &[Condition],
    (r#type, status): (&'static str, ConditionStatus),
    (reason, message): (&str, String),
    now: Timestamp,
) -> Condition {
    Verdict::new(r#type, status, reason, message).since(before, now)
}

fn all(replicas: usize) -> String {
    format!("{replicas} of {replicas}")
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
