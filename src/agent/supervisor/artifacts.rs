//! What instances are started from.

use std::collections::BTreeMap;

use crate::model::{
    Assignment, Desired, Moment,
    service::{ArtifactSpec, Digest},
};

use super::{
    super::{
        artifacts::{Artifacts, Fetched},
        instance::Managed,
    },
    Supervisor,
};

impl Supervisor {
    /// Has fetched what assignments ask for, and cleared away what nothing uses. Returns when to look again.
    pub(super) fn look_at_artifacts(&mut self, now: Moment) -> Option<Moment> {
        let mut wanted: BTreeMap<Digest, Option<ArtifactSpec>> = BTreeMap::new();
        for managed in self.instances.values() {
            if let Some(running) = &managed.artifact {
                wanted.entry(running.clone()).or_insert(None);
            }
            let assignment = &managed.assignment;
            if let Some(artifact) = assignment.run.artifact()
                && assignment.desired == Desired::Present
            {
                wanted.insert(artifact.sha256.clone(), Some(artifact.clone()));
            }
        }
        // Until the assignments are known, what they use is not.
        if self.unreconciled.is_none() && wanted.is_empty() {
            return None;
        }
        self.artifacts.advance(&wanted, now)
    }

    /// Takes in what came of fetching one: whoever waits for it looks again.
    pub(super) fn fetched(&mut self, fetched: Fetched) {
        let now = self.host.clock.now();
        self.artifacts.absorb(fetched, now);
        for (name, managed) in &self.instances {
            if managed.assignment.run.artifact().is_some() {
                self.wakes.by(name, now);
            }
        }
    }

    /// Why what an instance is to be started from does not lie here, if it does not.
    pub(super) fn lacking(&self, managed: &Managed) -> Option<(&'static str, String)> {
        lacking(&self.artifacts, &managed.assignment)
    }
}

/// The same of an assignment.
pub(super) fn lacking(
    artifacts: &Artifacts,
    assignment: &Assignment,
) -> Option<(&'static str, String)> {
    let artifact = assignment.run.artifact()?;
    (!artifacts.is_present(&artifact.sha256)).then(|| artifacts.trouble(artifact))
}
