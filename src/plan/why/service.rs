//! Why a service is as it is: what is wanted, what a controller makes of it, and which of its instances lack.

use super::{
    Cause, Health, Seen, cluster, counted, folded,
    instance::{self, OUTDATED},
    placement::Placing,
};
use crate::{
    model::{
        Condition, ConditionStatus, Instance, Name, ServiceObject, ServiceSpec, ServiceStatus,
        event::Object,
    },
    plan::{
        blueprint::Blueprint,
        cluster::{Service, Wish},
        conditions::{self, PROGRESSING, READY, UPDATED},
        roster,
    },
};

/// So many open slots are looked at: more of them say nothing new.
const SLOTS_LOOKED_AT: usize = 20;

/// The words of a leader for a rollout that others hold up.
const AWAITED: &str = "waiting until ";

/// How many slots are wanted, where that does not depend on the nodes.
pub(super) fn replicas(spec: &ServiceSpec) -> usize {
    match spec.external.len() {
        0 => spec.replicas.unwrap_or(1) as usize,
        external => external,
    }
}

/// The manifest in force of a service.
pub(super) fn spec<'a>(seen: &Seen<'a>, name: &Name) -> Option<&'a ServiceSpec> {
    match seen.cluster.services().get(name)?.wish() {
        Wish::Run(object) => Some(&object.spec),
        _ => None,
    }
}

/// The first of the services that come first which has no ready instance.
pub(super) fn comes_after<'a>(seen: &Seen<'_>, spec: &'a ServiceSpec) -> Option<&'a Name> {
    spec.after.iter().find(|name| !seen.cluster.serves(name))
}

/// That there is no such service.
pub(super) fn missing(name: &Name) -> Cause {
    let object = Object::Service(name.clone());
    let cause = Cause::new(
        object,
        Health::Broken,
        "NoSuchService",
        "there is no such service",
    );
    cause.remedy("apply its manifest, or take it out of `after`")
}

/// Why a service is as it is; none for one that nothing is known of. `trail`: services that are being explained by
/// it.
pub(super) fn of(seen: &Seen<'_>, name: &Name, trail: &[&Name]) -> Option<Cause> {
    let service = seen.cluster.services().get(name)?;
    let view = View {
        seen,
        name,
        service,
        trail,
    };
    Some(match service.wish() {
        Wish::Run(object) => view.running(object),
        Wish::Delete(tombstone) => {
            let left = view.instances(|_| true);
            let (health, sentence) = match left.len() {
                0 => (
                    Health::Fine,
                    "was deleted, and nothing is left of it".to_owned(),
                ),
                _ => {
                    let left = view.count(|seat| !roster::has_left(seat));
                    let sentence =
                        format!("was deleted; {} still to stop", counted(left, "instance"));
                    (Health::Waiting, sentence)
                }
            };
            view.about(health, "Deleted", sentence)
                .since(tombstone.deleted_at)
                .because(
                    cluster::troubles(seen)
                        .into_iter()
                        .filter(|_| health != Health::Fine),
                )
                .because(left)
        }
        Wish::Unreadable(problem) => {
            let sentence = format!(
                "its stored manifest cannot be read, so that nothing is changed: {problem}"
            );
            view.about(Health::Broken, "SpecUnreadable", sentence)
                .since(view.condition(READY).map(|it| it.last_transition_time))
                .remedy("apply the manifest again, and look who else writes into the store")
                .because(cluster::troubles(seen))
        }
        Wish::Vanished => {
            let sentence = "its manifest is gone although nobody deleted it: what runs goes on, and nothing else is \
                            done";
            let remedy = format!(
                "apply the manifest again, or `quaestor delete {name}`; `quaestor cluster confirm vanished` deletes \
                 all that are so"
            );
            view.about(Health::Broken, "SpecVanished", sentence)
                .remedy(remedy)
                .because(cluster::troubles(seen))
        }
    })
}

/// What keeps the instances of a service as they are that are to be replaced or moved.
pub(super) fn held_up(seen: &Seen<'_>, name: &Name) -> Vec<Cause> {
    let Some(service) = seen.cluster.services().get(name) else {
        return Vec::new();
    };
    let view = View {
        seen,
        name,
        service,
        trail: &[],
    };
    let Wish::Run(object) = service.wish() else {
        return Vec::new();
    };
    let mut causes = cluster::troubles(seen);
    let holds_up = |cause: &Cause| cause.health != Health::Fine;
    causes.extend(view.rollout(object).filter(holds_up));
    causes
}

/// A service that is looked at.
#[derive(Clone, Copy)]
struct View<'a> {
    seen: &'a Seen<'a>,
    name: &'a Name,
    service: &'a Service,
    trail: &'a [&'a Name],
}

impl<'a> View<'a> {
    fn about(&self, health: Health, reason: &str, sentence: impl Into<String>) -> Cause {
        Cause::new(Object::Service(self.name.clone()), health, reason, sentence)
    }

    fn status(&self) -> Option<&'a ServiceStatus> {
        self.service.status.as_ref()?.value.as_ref()
    }

    /// A condition that does not hold.
    fn condition(&self, r#type: &str) -> Option<&'a Condition> {
        let condition = conditions::find(&self.status()?.conditions, r#type)?;
        (condition.status != ConditionStatus::True).then_some(condition)
    }

    fn count(&self, holds: impl Fn(&crate::plan::cluster::Seat) -> bool) -> usize {
        roster::places(self.service)
            .filter(|place| holds(place.seat))
            .count()
    }

    /// Why those of its instances are as they are of which `matters` holds.
    fn instances(&self, matters: impl Fn(&Cause) -> bool) -> Vec<Cause> {
        let places = roster::places(self.service).filter(|place| !roster::has_left(place.seat));
        let causes = places.map(|place| {
            let who = Instance::new(self.name.clone(), place.slot);
            instance::on(self.seen, &who, place.node, place.seat)
        });
        folded(
            causes
                .filter(|cause| matters(cause))
                .map(|cause| self.pruned(cause)),
        )
    }

    /// What holds for the whole cluster, or for the service, is said once.
    fn pruned(&self, mut cause: Cause) -> Cause {
        let troubles = cluster::troubles(self.seen);
        let is_ours = |inner: &Cause| match &inner.object {
            Object::Service(name) => name == self.name,
            _ => troubles.contains(inner),
        };
        cause.because.retain(|inner| !is_ours(inner));
        let inner = cause.because.into_iter();
        cause.because = inner.map(|inner| self.pruned(inner)).collect();
        cause
    }

    fn running(&self, object: &'a ServiceObject) -> Cause {
        let spec = &object.spec;
        let mut because = Vec::new();
        because.extend(self.refused());
        because.extend(self.unplanned());
        because.extend(self.open(object));
        // What only waits for its turn in the rollout is told by that.
        let waits = |cause: &Cause| cause.because.iter().any(|it| it.reason == OUTDATED);
        because.extend(self.instances(|cause| cause.health != Health::Fine && !waits(cause)));
        // That it goes on is worth a word only where nothing else is.
        let rollout = self.rollout(object);
        let is_told = !because.is_empty();
        because.extend(rollout.filter(|it| !is_told || it.reason != conditions::ROLLING_OUT));
        because.sort_by_key(|cause| cause.health);
        let troubles = cluster::troubles(self.seen);
        let ready = self.ready();
        let wanted = match (spec.one_per_node, self.status()) {
            (false, _) => replicas(spec),
            (true, Some(status)) => status.replicas as usize,
            (true, None) => 0,
        };
        let wrong = because.iter().map(|cause| cause.health);
        let worst = wrong.filter(|health| *health != Health::Fine).min();
        let health = match worst {
            None if ready < wanted && !troubles.is_empty() => Health::Broken,
            None if ready < wanted => Health::Waiting,
            None => Health::Fine,
            Some(Health::Broken) if ready >= wanted => Health::Waiting,
            Some(worst) => worst,
        };
        let not_ready = self.condition(READY);
        let (reason, since) = match health {
            Health::Fine => ("Ready", self.ready_since()),
            _ if ready >= wanted => ("Changing", None),
            _ => ("NotReady", not_ready.map(|it| it.last_transition_time)),
        };
        let revision = Blueprint::new(object).revision();
        let sentence = format!(
            "{ready} of {wanted} ready, generation {}, revision {revision}",
            object.generation
        );
        self.about(health, reason, sentence)
            .since(since)
            .because(troubles)
            .because(because)
    }

    fn ready(&self) -> usize {
        let is_ready = |place: &roster::Place<'_>| {
            let ready = place.seat.observed().is_some_and(|state| state.ready);
            ready && self.seen.cluster.is_live(place.node) && roster::is_kept(place.seat)
        };
        roster::places(self.service).filter(is_ready).count()
    }

    fn ready_since(&self) -> Option<crate::model::Timestamp> {
        let condition = conditions::find(&self.status()?.conditions, READY)?;
        (condition.status == ConditionStatus::True).then_some(condition.last_transition_time)
    }

    /// The last manifest is not in force, as it cannot be read or is no good.
    fn refused(&self) -> Option<Cause> {
        let problem = self.service.spec.as_ref()?.problem.as_ref()?;
        let sentence =
            format!("the stored manifest is refused, and the one before stays in force: {problem}");
        let cause = self.about(Health::Broken, "SpecRefused", sentence);
        Some(cause.remedy("apply a manifest that is valid; `quaestor validate` checks it"))
    }

    /// No controller has seen the last change.
    fn unplanned(&self) -> Option<Cause> {
        let generation = self.service.spec.as_ref()?.value.as_ref()?.generation;
        let planned = self.status().map_or(0, |status| status.observed_generation);
        if planned >= generation {
            return None;
        }
        let sentence = match planned {
            0 => "no controller has planned it yet".to_owned(),
            _ => format!(
                "generation {generation} is applied, and {planned} the last that a controller has planned"
            ),
        };
        Some(self.about(Health::Waiting, "NotPlanned", sentence))
    }

    /// How its rollout goes on, if there is something to say.
    fn rollout(&self, object: &ServiceObject) -> Option<Cause> {
        let name = self.name;
        let progressing = self.condition(PROGRESSING);
        let since = progressing.map(|it| it.last_transition_time);
        let failed = self.status().and_then(|status| status.rolled_back.as_ref());
        if let (Some(failed), Some(_)) = (failed, self.service.templates.fallback()) {
            let sentence = format!(
                "the rollout of revision {} (generation {}) failed: {}. Revision {} is in force again",
                failed.from, failed.generation, failed.cause, failed.to
            );
            let remedy = "apply a template that works; that one is not tried again";
            let cause = self.about(Health::Broken, conditions::ROLLED_BACK, sentence);
            return Some(cause.since(since).remedy(remedy));
        }
        let updated = self.condition(UPDATED);
        if object.paused {
            let pause = self.seen.pauses.get(name);
            let by = pause.map_or("an operator", |pause| pause.by.as_str());
            let since = pause.map(|pause| pause.at).or(since);
            let (health, what) = match updated {
                Some(updated) => (Health::Broken, format!(": {}", updated.message)),
                None => (Health::Fine, "; nothing waits for it yet".to_owned()),
            };
            let sentence = format!("{by} has paused its rollout{what}");
            let cause = self.about(health, conditions::PAUSED, sentence);
            let remedy = format!("`quaestor rollout resume {name}` lets it go on");
            return Some(cause.since(since).remedy(remedy));
        }
        let overdue = progressing.filter(|it| {
            [conditions::DEADLINE_EXCEEDED, conditions::GIVEN_UP].contains(&it.reason.as_str())
        });
        if let Some(overdue) = overdue {
            let sentence = format!("its rollout has failed: {}", overdue.message);
            let remedy = format!("apply a template that works, or `quaestor rollout undo {name}`");
            let cause = self.about(Health::Broken, "RolloutFailed", sentence);
            return Some(cause.since(since).remedy(remedy));
        }
        let updated = updated?;
        let since = updated.last_transition_time;
        let (progress, rest) = updated
            .message
            .split_once("; ")
            .unwrap_or((&updated.message, ""));
        match (updated.reason.as_str(), rest.strip_prefix(AWAITED)) {
            (conditions::STUCK, _) => {
                let sentence = format!("its rollout is stuck: {}", updated.message);
                let remedy =
                    "make room, free a port or add a node, as told; it then goes on by itself";
                let cause = self.about(Health::Broken, conditions::STUCK, sentence);
                Some(cause.since(since).remedy(remedy))
            }
            (conditions::ROLLING_OUT, Some(until)) => {
                let sentence = format!(
                    "its rollout has {progress}, and goes on when {until} (`rollout.maxUnavailable`)"
                );
                let cause = self.about(Health::Waiting, "BudgetExhausted", sentence);
                Some(cause.since(since))
            }
            (conditions::ROLLING_OUT, None) => {
                let sentence = format!("its rollout goes on: {progress}");
                Some(
                    self.about(Health::Waiting, conditions::ROLLING_OUT, sentence)
                        .since(since),
                )
            }
            _ => None,
        }
    }

    /// Slots that have no instance.
    fn open(&self, object: &'a ServiceObject) -> Vec<Cause> {
        let spec = &object.spec;
        if spec.one_per_node {
            return self.nowhere(object).into_iter().collect();
        }
        let taken: std::collections::BTreeSet<u32> = roster::places(self.service)
            .filter(|place| !roster::has_left(place.seat))
            .map(|place| place.slot)
            .collect();
        let wanted = u32::try_from(replicas(spec)).unwrap_or(u32::MAX);
        let open = (0..wanted).filter(|slot| !taken.contains(slot));
        let trail = [self.trail, &[self.name]].concat();
        let causes = open.take(SLOTS_LOOKED_AT).map(|slot| {
            let who = Instance::new(self.name.clone(), slot);
            instance::unplaced(self.seen, &who, self.service, &trail)
        });
        folded(causes.map(|cause| self.pruned(cause)))
    }

    /// Of a service that is to run on every node that takes it: that none does.
    fn nowhere(&self, object: &'a ServiceObject) -> Option<Cause> {
        if roster::places(self.service).any(|place| !roster::has_left(place.seat)) {
            return None;
        }
        let refusals = Placing::new(self.seen, self.name, self.service, object).refusals(0)?;
        let cause = self.about(Health::Broken, "NoNode", "no node takes it");
        Some(cause.because(refusals))
    }
}
