//! Drains that end sooner where all clients are known to know.

use std::sync::Arc;

use crate::{
    agent::{instance::What, witnesses},
    model::{Instance, Moment},
    plan::{
        agent::Life,
        drain::{Drain, LEARN},
        proof::Question,
    },
};

use super::{super::instance::Managed, Supervisor};

impl Supervisor {
    /// Asks the balancers, once per drain, as soon as the store says that the instance is not to be called.
    pub(super) fn inquire(&mut self, name: &Instance) {
        let (Some(witnesses), Some(managed)) = (&self.witnesses, self.instances.get_mut(name))
        else {
            return;
        };
        let Some(drain) = managed.drain() else {
            managed.inquired = None;
            return;
        };
        if managed.inquired.is_some() || !drain.is_provable(&managed.assignment) {
            return;
        }
        let Some(revision) = self.reporter.drains_since(name) else {
            return;
        };
        managed.inquired = Some(revision);
        let question = Question {
            whose: (self.config.node.clone(), name.clone()),
            revision,
            window: LEARN,
            balancers: Default::default(),
        };
        let (store, keys) = (self.store.clone(), self.keys.clone());
        let asking = witnesses::inquire(store, keys, Arc::clone(witnesses), question);
        let instance = name.clone();
        let asking = async move {
            let outcome = asking.await;
            // Said here: the process may have ended before.
            match &outcome {
                Ok(()) => tracing::info!(%instance, "all clients are known to know that it goes"),
                Err(doubt) => {
                    tracing::info!(%instance, %doubt, "clients get all the time there is to learn that it goes");
                }
            }
            outcome.is_ok()
        };
        let what = move |known| What::Inquired { revision, known };
        self.events.push(managed.tagged(Box::pin(asking), what));
    }
}

impl Managed {
    fn drain(&self) -> Option<&Drain> {
        match &self.life {
            Life::Draining { drain, .. } => Some(drain),
            _ => None,
        }
    }

    /// Takes in whether its clients are known, at `now`, to know what the store says since `revision`.
    pub(super) fn inquired(&mut self, revision: i64, known: bool, now: Moment) {
        let is_current = self.inquired == Some(revision);
        if let Life::Draining { drain, .. } = &mut self.life
            && known
            && is_current
        {
            drain.prove(now);
        }
    }
}
