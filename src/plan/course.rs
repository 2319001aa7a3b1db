//! What the steps of a plan for a running service share: of what its instances are made, and how many may be away.

use super::{blueprint::Blueprint, conditions::Report, placement::Candidates, room::Numbers};
use crate::model::{Assignment, Instance, service::Budget};

/// What the steps of a plan for a running service share.
pub(super) struct Course<'a> {
    pub(super) blueprint: Blueprint<'a>,
    /// Makes the instances that the rollout leaves alone, where that is another one.
    pub(super) stable: Option<Blueprint<'a>>,
    /// The revision of `blueprint`.
    pub(super) revision: String,
    pub(super) budget: Budget,
    pub(super) numbers: Numbers,
    pub(super) candidates: Option<Candidates<'a>>,
    pub(super) report: Report<'a>,
}

impl<'a> Course<'a> {
    /// Whether the rollout leaves the instance in `slot` alone.
    pub(super) fn holds(&self, slot: u32) -> bool {
        self.blueprint.is_paused() || slot < self.blueprint.spec().rollout.partition
    }

    /// What makes the instance in `slot`, if it has to be made anew.
    pub(super) fn blueprint_of(&self, slot: u32) -> Blueprint<'a> {
        let stable = self.stable.filter(|_| self.holds(slot));
        stable.unwrap_or(self.blueprint)
    }

    /// The revision that `blueprint` gives to one instance.
    pub(super) fn revision_of(&self, blueprint: Blueprint<'a>, slot: u32) -> String {
        match blueprint.is_uniform() && blueprint.is(self.blueprint) {
            true => self.revision.clone(),
            false => blueprint.revision_of(slot),
        }
    }

    pub(super) fn assignment(
        &self,
        blueprint: Blueprint<'a>,
        instance: Instance,
        numbers: &[Option<u16>],
    ) -> Assignment {
        let revision = self.revision_of(blueprint, instance.slot);
        blueprint.assignment(instance, revision, numbers)
    }
}
