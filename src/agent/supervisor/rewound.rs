//! What waits while the store has fallen back in time: it was restored from a backup, and what it says is of yesterday.
//!
//! Until an operator says that it counts (`quaestor cluster confirm restore`), what runs goes on by what the agent was told
//! before: no assignment that differs is taken in, and no new one. What has lost its assignment is reported as an orphan,
//! which stops nothing either.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};

use super::Supervisor;
use crate::{
    keys::Key,
    model::{Assignment, ClusterSpec, Instance},
    store::{self, Entry, Update},
};

/// How often it is looked whether an operator has said so.
const LOOK: Duration = Duration::from_secs(1);

/// What the store says of the cluster as a whole.
pub(super) type Answer = Result<Option<Entry>, store::Error>;

/// What is held back, and until when.
#[derive(Default)]
pub(super) struct Rewound {
    /// How far the store had come; none: it is in time.
    from: Option<i64>,
    /// What was confirmed of earlier restores, as far as this agent has waited for it. It says nothing of the next one.
    confirmed: i64,
    /// The assignments that are not taken in.
    held: BTreeMap<Instance, Entry>,
    asking: Option<BoxFuture<'static, Answer>>,
    /// The store does not let us ask.
    refused: bool,
}

impl Rewound {
    /// Waits for an answer; for good if nothing was asked. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Answer {
        match &mut self.asking {
            Some(asking) => {
                let answer = asking.await;
                self.asking = None;
                answer
            }
            None => std::future::pending().await,
        }
    }
}

impl Supervisor {
    /// Looks whether the store has fallen back in time. The first update is a listing, so that it is not older than what
    /// this agent, or the one before it, has seen.
    pub(super) fn look_back(&mut self, update: &Update) {
        let is_first = self.unreconciled.is_none();
        let seen = *self.session.seen.borrow();
        let has_fallen = is_first && update.revision < seen;
        if !has_fallen && update.restored_from.is_none() {
            return;
        }
        tracing::warn!(
            node = %self.config.node, revision = update.revision, seen,
            "the store was restored from a backup: what runs goes on as it is, and no assignment is taken in, until \
             `quaestor cluster confirm restore`"
        );
        let from = seen.max(self.rewound.confirmed + 1);
        self.rewound.from = Some(from);
        self.session.fell.send_replace(from);
        self.ask_for_confirmation();
    }

    /// Whether an assignment is to wait: it is not what the agent has gone by until now.
    pub(super) fn holds_back(
        &mut self,
        name: &Instance,
        assignment: &Assignment,
        entry: &Entry,
    ) -> bool {
        if self.rewound.from.is_none() {
            return false;
        }
        let own = self.instances.get(name);
        if own.is_some_and(|own| own.is_local || own.assignment == *assignment) {
            self.rewound.held.remove(name);
            return false;
        }
        self.rewound.held.insert(name.clone(), entry.clone());
        true
    }

    /// Does not wait with an assignment that is gone.
    pub(super) fn forget_held(&mut self, name: &Instance) {
        self.rewound.held.remove(name);
    }

    /// Takes in what was held back, if an operator has said that the store counts.
    pub(super) fn hear_confirmation(&mut self, answer: Answer) {
        let Some(from) = self.rewound.from else {
            return;
        };
        let spec = match answer {
            Ok(entry) => entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()),
            Err(error) => {
                let refused = matches!(error, store::Error::Refused { .. });
                if refused && !std::mem::replace(&mut self.rewound.refused, true) {
                    tracing::error!(
                        node = %self.config.node, %error,
                        "it cannot be seen whether the restore was confirmed: give the agent's user in etcd the rights \
                         that `quaestor rbac` prints"
                    );
                }
                None
            }
        };
        let confirmed = spec.map_or(0, |spec: ClusterSpec| spec.restore_confirmed);
        if confirmed < from {
            return self.ask_for_confirmation();
        }
        tracing::info!(
            node = %self.config.node, assignments = self.rewound.held.len(),
            "the restore is confirmed: what the store says is taken in"
        );
        self.rewound.from = None;
        self.rewound.confirmed = confirmed;
        for (name, entry) in std::mem::take(&mut self.rewound.held) {
            self.assign(name, &entry);
        }
    }

    fn ask_for_confirmation(&mut self) {
        let (store, clock) = (self.store.clone(), Arc::clone(&self.host.clock));
        let key = self.keys.of(&Key::ClusterSpec);
        let asking = async move {
            clock.sleep(LOOK).await;
            store.get(&key).await
        };
        self.rewound.asking = Some(asking.boxed());
    }
}
