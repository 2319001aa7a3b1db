//! Until what was asked for has come true.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Operator, decode};
use crate::{
    keys::Key,
    model::{Condition, ConditionStatus, Instance, Name, ServiceStatus},
    plan::conditions,
    store::{Change, Follow},
};

/// How far a service is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is there.
    Done,
    /// It is not, and this is why.
    Waiting(String),
    /// It is over, in good order: what there was to do is done.
    Ended(String),
    /// It will not get there by itself, and this is why.
    Failed(String),
}

/// How far the service is from having every replica of `generation` ready.
pub fn readiness(status: Option<&ServiceStatus>, generation: u64) -> Progress {
    let Some(status) = status else {
        return Progress::Waiting("no controller has seen it yet".to_owned());
    };
    if status.observed_generation < generation {
        return Progress::Waiting(format!(
            "no controller has seen generation {generation} yet (last: {})",
            status.observed_generation
        ));
    }
    let condition = |name| {
        status
            .conditions
            .iter()
            .find(|condition| condition.r#type == name)
    };
    let says = |name, reason| condition(name).filter(|found| found.reason == reason);
    // Of a template that failed nothing more is to come.
    let failed = [
        says(conditions::PROGRESSING, conditions::ROLLED_BACK),
        says(conditions::PROGRESSING, conditions::DEADLINE_EXCEEDED),
        says(conditions::PROGRESSING, conditions::GIVEN_UP),
        says(conditions::READY, conditions::GIVEN_UP),
    ];
    if let Some(failed) = failed.into_iter().flatten().next() {
        return Progress::Failed(failed.message.clone());
    }
    if let Some(done) = says(conditions::READY, conditions::COMPLETED) {
        return Progress::Ended(done.message.clone());
    }
    let holds = |condition: &&Condition| condition.status == ConditionStatus::True;
    if condition("Ready").is_some_and(|ready| holds(&ready)) {
        return Progress::Done;
    }
    // The first that does not hold tells the most: what has no place cannot be ready.
    let broken = ["Placed", "Ready"]
        .into_iter()
        .filter_map(condition)
        .find(|found| !holds(found));
    Progress::Waiting(match broken {
        Some(condition) => condition.message.clone(),
        None => format!("{} of {} ready", status.ready, status.replicas),
    })
}

/// How far the service is from having the condition at `status`.
fn condition(reported: Option<&ServiceStatus>, r#type: &str, status: ConditionStatus) -> Progress {
    let Some(reported) = reported else {
        return Progress::Waiting("no controller has seen it yet".to_owned());
    };
    match conditions::find(&reported.conditions, r#type) {
        Some(found) if found.status == status => Progress::Done,
        Some(found) => Progress::Waiting(format!(
            "{type} is {:?} ({}): {}",
            found.status, found.reason, found.message
        )),
        None => Progress::Waiting(format!("nothing is reported about {type}")),
    }
}

/// Waits for services, and says how far each is.
pub struct Waiter {
    operator: Operator,
    follow: Follow,
    goal: Goal,
    statuses: BTreeMap<Name, ServiceStatus>,
    remains: BTreeSet<String>,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// Every replica of the service's generation is ready.
    Ready(BTreeMap<Name, u64>),
    /// Nothing of the service is left: no instance, no status.
    Gone(BTreeSet<Name>),
    /// A condition of the services has a status.
    Condition {
        /// Of these.
        services: BTreeSet<Name>,
        /// Its type.
        r#type: String,
        /// The status.
        status: ConditionStatus,
    },
}

impl Operator {
    /// Begins to wait for `goal`.
    pub fn wait(&self, goal: Goal) -> Waiter {
        let prefixes = match &goal {
            Goal::Ready(_) | Goal::Condition { .. } => vec![self.keys.statuses()],
            Goal::Gone(_) => vec![
                self.keys.statuses(),
                self.keys.assignments(),
                self.keys.states(),
            ],
        };
        Waiter {
            operator: self.clone(),
            follow: self.store.follow(prefixes),
            goal,
            statuses: BTreeMap::new(),
            remains: BTreeSet::new(),
        }
    }
}

impl Waiter {
    /// For how long nothing has been heard from the store.
    pub fn silence(&self) -> Duration {
        self.follow.silence()
    }

    /// Waits for the next news and says how far each service is. Cancel-safe.
    pub async fn next(&mut self) -> BTreeMap<Name, Progress> {
        let update = self.follow.next().await;
        for change in update.changes {
            self.note(change);
        }
        self.progress()
    }

    fn note(&mut self, change: Change) {
        let key = match &change {
            Change::Put(entry) => &entry.key,
            Change::Delete { key, .. } => key,
        };
        match (self.operator.keys.parse(key), &change) {
            (Some(Key::ServiceStatus(name)), Change::Put(entry)) => {
                self.statuses
                    .extend(decode(entry).map(|status| (name, status)));
            }
            (Some(Key::ServiceStatus(name)), Change::Delete { .. }) => {
                self.statuses.remove(&name);
            }
            (Some(Key::Assignment(..) | Key::State(..)), Change::Put(entry)) => {
                self.remains.insert(entry.key.clone());
            }
            (Some(Key::Assignment(..) | Key::State(..)), Change::Delete { key, .. }) => {
                self.remains.remove(key);
            }
            _ => {}
        }
    }

    fn progress(&self) -> BTreeMap<Name, Progress> {
        match &self.goal {
            Goal::Ready(generations) => generations
                .iter()
                .map(|(name, generation)| {
                    (
                        name.clone(),
                        readiness(self.statuses.get(name), *generation),
                    )
                })
                .collect(),
            Goal::Gone(names) => names
                .iter()
                .map(|name| (name.clone(), self.absence(name)))
                .collect(),
            Goal::Condition {
                services,
                r#type,
                status,
            } => services
                .iter()
                .map(|name| {
                    let progress = condition(self.statuses.get(name), r#type, *status);
                    (name.clone(), progress)
                })
                .collect(),
        }
    }

    /// How far a deleted service is from being gone.
    fn absence(&self, name: &Name) -> Progress {
        let instance = |key: &String| match self.operator.keys.parse(key) {
            Some(Key::Assignment(_, instance) | Key::State(_, instance)) => Some(instance),
            _ => None,
        };
        let left: BTreeSet<Instance> = self
            .remains
            .iter()
            .filter_map(instance)
            .filter(|left| left.service == *name)
            .collect();
        if !left.is_empty() {
            let left: Vec<String> = left.iter().map(Instance::to_string).collect();
            Progress::Waiting(format!("still there: {}", left.join(", ")))
        } else if self.statuses.contains_key(name) {
            Progress::Waiting("its instances are gone, its status is not".to_owned())
        } else {
            Progress::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(generation: u64, ready: &str) -> ServiceStatus {
        serde_json::from_value(serde_json::json!({
            "name": "a", "replicas": 2, "assigned": 2, "updated": 1, "ready": 1,
            "observedGeneration": generation, "revision": "x",
            "conditions": [{"type": "Ready", "status": ready, "reason": "InstancesNotReady",
                "message": "a-1 is Starting", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }))
        .unwrap()
    }

    #[test]
    fn an_old_ready_status_does_not_pass_for_a_new_generation() {
        assert_eq!(readiness(Some(&status(3, "True")), 3), Progress::Done);
        assert!(matches!(
            readiness(Some(&status(3, "True")), 4),
            Progress::Waiting(_)
        ));
        assert!(matches!(readiness(None, 1), Progress::Waiting(_)));
    }

    #[test]
    fn a_failed_rollout_ends_the_wait_and_work_that_is_done_does_too() {
        let with = |r#type: &str, reason: &str| {
            let mut status = status(1, "False");
            status.conditions[0].r#type = r#type.to_owned();
            status.conditions[0].reason = reason.to_owned();
            readiness(Some(&status), 1)
        };
        for (r#type, reason) in [
            ("Progressing", "RolledBack"),
            ("Progressing", "ProgressDeadlineExceeded"),
            ("Ready", "Failed"),
        ] {
            assert!(
                matches!(with(r#type, reason), Progress::Failed(_)),
                "{reason}"
            );
        }
        assert!(matches!(with("Ready", "Completed"), Progress::Ended(_)));
    }

    #[test]
    fn the_wait_says_which_instance_it_waits_for() {
        let Progress::Waiting(text) = readiness(Some(&status(1, "False")), 1) else {
            panic!()
        };
        assert_eq!(text, "a-1 is Starting");
    }
}
