//! Which template of a service is in force, how its rollout goes on, and which are remembered.
//!
//! In force is that of the manifest, until its rollout fails with `autoRollback`: then the last one that
//! all instances ran, until the manifest has another template. The failure is recorded in the status, so
//! that every leader decides the same.

use std::time::Duration;

use crate::{
    keys::Key,
    model::{
        InstanceState, Moment, Phase, Revision, RolledBack, ServiceObject, ServiceStatus,
        quantity::Period, service::Budget,
    },
};

use super::{
    blueprint::Blueprint,
    cluster::Service,
    conditions::{self, PROGRESSING},
    controller::Value,
    service::Draft,
    stored::Stored,
};

/// What instances are made from, where that is not the stored manifest.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    /// What is in force after a failed rollout.
    fallback: Option<ServiceObject>,
    /// The manifest with the last template that all instances ran, where that is not in force.
    stable: Option<ServiceObject>,
}

/// How far the rollout of a template was when it last got further.
#[derive(Clone, Debug)]
pub struct Progress {
    generation: u64,
    revision: String,
    /// The most that was seen of updated and available instances, added up.
    best: u32,
    /// When; none when the deadline had passed before this program looked.
    at: Option<Moment>,
}

/// What becomes of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fate {
    /// Why it has failed.
    pub(super) failure: Option<Failure>,
    /// When it fails unless it gets further.
    pub(super) deadline: Option<Moment>,
}

/// Why a rollout has failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// It got no further for so long.
    Overdue(Duration),
    /// An instance was given up.
    GivenUp(String),
}

impl Failure {
    /// In one word.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Overdue(_) => conditions::DEADLINE_EXCEEDED,
            Self::GivenUp(_) => conditions::GIVEN_UP,
        }
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Overdue(deadline) => format!("no progress within {}", Period(*deadline)),
            Self::GivenUp(who) => format!("{who} was given up"),
        }
    }
}

impl Progress {
    /// The progress that `status` shows, after `before`.
    pub fn after(before: Option<Self>, status: &ServiceStatus, now: Moment) -> Self {
        let sum = status.updated.saturating_add(status.available);
        let same = |before: &Self| {
            before.generation == status.observed_generation && before.revision == status.revision
        };
        match before {
            Some(before) if same(&before) && sum <= before.best => before,
            before => {
                let condition = conditions::find(&status.conditions, PROGRESSING);
                let overdue = condition.is_some_and(|c| c.reason == conditions::DEADLINE_EXCEEDED);
                Self {
                    generation: status.observed_generation,
                    revision: status.revision.clone(),
                    best: sum,
                    at: (before.is_some() || !overdue).then_some(now),
                }
            }
        }
    }
}

impl Templates {
    /// What is made of a service's manifest, status and remembered templates.
    pub fn of(service: &Service) -> Self {
        let Some(object) = value(&service.spec) else {
            return Self::default();
        };
        let Some(status) = value(&service.status) else {
            return Self::default();
        };
        let wanted = Blueprint::new(object).revision();
        let restore = |hash: &String| {
            let record = service.revisions.get(hash)?.value.as_ref()?;
            Some(record.restore(object))
        };
        let failed = status.rolled_back.as_ref().filter(|it| it.from == wanted);
        let fallback = failed.and_then(|failed| restore(&failed.to));
        let in_force = match (&fallback, failed) {
            (Some(_), Some(failed)) => &failed.to,
            _ => &wanted,
        };
        let stable = status.stable_revision.as_ref();
        let stable = stable
            .filter(|stable| *stable != in_force)
            .and_then(restore);
        Self { fallback, stable }
    }

    /// What is in force instead of the manifest.
    pub fn fallback(&self) -> Option<&ServiceObject> {
        self.fallback.as_ref()
    }

    /// The manifest with the last template that all instances ran, where that is not in force.
    pub fn stable(&self) -> Option<&ServiceObject> {
        self.stable.as_ref()
    }
}

fn value<T>(stored: &Option<Stored<T>>) -> Option<&T> {
    stored.as_ref()?.value.as_ref()
}

/// The reasons of a rollout that is not over.
const GOES_ON: [&str; 3] = [
    conditions::ROLLING_OUT,
    conditions::DEADLINE_EXCEEDED,
    conditions::GIVEN_UP,
];

/// Whether a rollout was not over yet, by what was reported.
pub(super) fn goes_on(status: &ServiceStatus) -> bool {
    let progressing = conditions::find(&status.conditions, PROGRESSING);
    progressing.is_some_and(|condition| GOES_ON.contains(&condition.reason.as_str()))
}

/// What becomes of the rollout of `object`, by what was reported last.
pub(super) fn fate(service: &Service, object: &ServiceObject, now: Moment) -> Fate {
    let none = Fate::default();
    let Some(status) = value(&service.status) else {
        return none;
    };
    let revision = Blueprint::new(object).revision();
    let is_of_this = status.observed_generation == object.generation && status.revision == revision;
    if !is_of_this || !goes_on(status) || object.paused || !object.spec.external.is_empty() {
        return none;
    }
    let is_new = status.stable_revision.as_ref() != Some(&revision);
    let given_up = service.seats.iter().find(|(_, seat)| {
        let asks = seat.asked().is_some_and(|asked| asked.revision == revision);
        let state = seat.observed();
        let failed = |s: &InstanceState| s.phase == Phase::Failed && s.revision == revision;
        asks && state.is_some_and(failed)
    });
    if let (true, Some(((slot, node), _))) = (is_new, given_up) {
        let name = &object.metadata.name;
        return Fate {
            failure: Some(Failure::GivenUp(format!("{name}-{slot} on {node}"))),
            deadline: None,
        };
    }
    let patience = object.spec.rollout.progress_deadline.get();
    let overdue = || Fate {
        failure: Some(Failure::Overdue(patience)),
        deadline: None,
    };
    match service.progress.as_ref().and_then(|progress| progress.at) {
        Some(at) if now.since(at) < patience => Fate {
            failure: None,
            deadline: Some(at + patience),
        },
        _ => overdue(),
    }
}

impl<'a> Draft<'a, '_> {
    /// What is in force of `object`, that the manifest asked for something else which failed, and what
    /// becomes of the rollout.
    pub(super) fn in_force(
        &self,
        object: &'a ServiceObject,
    ) -> (&'a ServiceObject, Option<RolledBack>, Fate) {
        let service = self.service;
        if service.templates.fallback().is_some() {
            let recorded = self.before().and_then(|status| status.rolled_back.clone());
            return (object, recorded, Fate::default());
        }
        let fate = fate(service, object, self.cluster.now());
        let stable = self.before().and_then(|s| s.stable_revision.clone());
        match (&fate.failure, service.templates.stable(), stable) {
            (Some(failure), Some(stable), Some(to)) if object.spec.rollout.auto_rollback => {
                let rolled_back = RolledBack {
                    generation: object.generation,
                    from: Blueprint::new(object).revision(),
                    to,
                    cause: failure.describe(),
                };
                (stable, Some(rolled_back), Fate::default())
            }
            _ => (object, None, fate),
        }
    }

    /// Remembers the template of `object`, the stored manifest.
    pub(super) fn remember(&mut self, object: &ServiceObject) {
        if !object.spec.external.is_empty() {
            return;
        }
        let revision = Blueprint::new(object).revision();
        let known = self.service.revisions.get(&revision);
        let record = known.and_then(|stored| stored.value.as_ref());
        let last = self.service.revisions.values();
        let last = last
            .filter_map(|stored| Some(stored.value.as_ref()?.number))
            .max();
        let last = last.unwrap_or(0);
        let number = match record {
            Some(record) if record.number == last => {
                if record.holds(object) && known.is_some_and(|stored| stored.problem.is_none()) {
                    return;
                }
                last
            }
            _ => last + 1,
        };
        let value = Revision {
            service: self.name.clone(),
            revision: revision.clone(),
            number,
            generation: object.generation,
            created_at: self.now,
            restarts: object.restarts.clone(),
            spec: object.spec.clone(),
        };
        let expects = known.map(|stored| stored.revision);
        let key = Key::Revision(self.name.clone(), revision);
        let cause = format!("generation {} has this template", object.generation);
        self.write(key, Some(Value::Revision(Box::new(value))), expects, cause);
    }

    /// Forgets the oldest templates beyond what `object` asks to keep, but none of `used`.
    pub(super) fn prune(&mut self, object: &ServiceObject, used: &[Option<&String>]) {
        let wanted = Blueprint::new(object).revision();
        let revisions = self.service.revisions.iter();
        let mut old: Vec<(u64, &String, i64)> = revisions
            .filter(|(hash, _)| **hash != wanted)
            .map(|(hash, stored)| {
                let number = stored.value.as_ref().map_or(0, |record| record.number);
                (number, hash, stored.revision)
            })
            .collect();
        old.sort_unstable();
        let limit = object.spec.rollout.revision_history_limit as usize;
        let mut surplus = old.len().saturating_sub(limit);
        for (_, hash, revision) in old {
            if surplus == 0 {
                break;
            }
            surplus -= 1;
            if !used.contains(&Some(hash)) {
                let key = Key::Revision(self.name.clone(), hash.clone());
                let cause = format!("only {limit} older templates are kept");
                self.write(key, None, Some(revision), cause);
            }
        }
    }
}

/// What the rollout of `object` may do to `wanted` instances.
pub(super) fn budget(object: &ServiceObject, wanted: usize) -> Budget {
    let mut budget = object.spec.rollout.budget(wanted);
    if object.spec.one_per_node || !object.spec.external.is_empty() {
        budget.surge = 0;
    }
    budget
}
