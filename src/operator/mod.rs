//! What operators do to a cluster through its store: apply, delete, look, wait.
//!
//! The command line calls this, and `dev` does; nothing here prints.
//!
//! - [`apply`]: manifests become desired state, by compare-and-swap
//! - [`board`]: the cluster as it is and changes, for those who look on
//! - [`delete`]: the explicit end of a service
//! - `balancers`: where they are
//! - [`doctor`]: whether all that a cluster stands on is in order
//! - [`prune`]: the end of those that are in no file any more
//! - `before`: what all of them depend on; `authorship`: who changed what
//! - [`changes`]: that something did
//! - `events`: what happened
//! - [`inventory`]: services, instances, nodes and endpoints as one reads them
//! - [`nodes`]: cordon, drain, label and delete nodes; confirm what waits for a word
//! - [`observed`]: all of it as the planner sees it
//! - [`restart`]: new processes for what runs
//! - [`rollout`]: pause, resume, undo, scale; the templates there were
//! - [`wait`]: until what was asked for has come true
//! - [`whereabouts`]: on which nodes instances are, and where their agents are asked

pub mod apply;
mod authorship;
mod balancers;
mod before;
pub mod board;
pub mod changes;
pub mod delete;
pub mod doctor;
mod events;
pub mod inventory;
pub mod nodes;
pub mod observed;
pub mod prune;
pub mod restart;
pub mod rollout;
pub mod wait;
pub mod whereabouts;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    keys::Keys,
    model::Name,
    plan::merge::keep_unknown,
    store::{self, Entry, Outcome, Store, Txn},
};

/// A cluster, as an operator reaches it. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    store: Store,
    keys: Keys,
    author: String,
}

/// Why an operator's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Somebody else changed the service between our reading and our writing it.
    #[error(
        "service `{0}` was changed by somebody else at the same moment; look at it and run this again"
    )]
    Conflict(Name),
    /// Others changed fields that the manifest wants otherwise.
    #[error("{}", apply::told(.0, .1))]
    Conflicts(Name, Vec<apply::Conflict>),
    /// What the manifest says and what others added to the service do not fit together.
    #[error(
        "service `{0}` was changed by others, and with that the manifest cannot be applied: {1}; \
         `quaestor diff` shows what differs, `--force-conflicts` sets what the manifest says"
    )]
    Unmergeable(Name, String),
    /// There is nothing of that name.
    #[error(
        "there is neither a service nor an instance `{0}`; `quaestor get instances` lists what there is"
    )]
    Unknown(String),
    /// There is no service of that name.
    #[error("there is no service `{0}`; `quaestor get services` lists them")]
    NoService(Name),
    /// The service cannot be like that.
    #[error("service `{0}` cannot be like that: {1}")]
    Impossible(Name, String),
    /// No such template is remembered.
    #[error(
        "{missing} of service `{service}` is remembered; `quaestor rollout history {service}` lists them"
    )]
    NoRevision {
        /// The service.
        service: Name,
        /// What was asked for.
        missing: String,
    },
    /// What is stored of the service cannot be read.
    #[error("what is stored of service `{0}` cannot be read; apply its manifest again")]
    Unreadable(Name),
    /// There is no node of that name.
    #[error("there is no node `{0}`; `quaestor get nodes` lists what there is")]
    UnknownNode(Name),
    /// The node's agent is there.
    #[error(
        "node `{0}` is connected: stop its agent first, and drain it before that; its session ends 20s later"
    )]
    NodeConnected(Name),
    /// Somebody else changed what is wanted of the node, or its agent came.
    #[error(
        "node `{0}` was changed by somebody else at the same moment; look at it and run this again"
    )]
    NodeConflict(Name),
    /// The service is external.
    #[error("service `{0}` is external: somebody else starts and stops it")]
    NotOurs(Name),
}

impl Operator {
    /// An operator of `cluster` in `store`.
    pub fn new(store: Store, cluster: &Name) -> Self {
        Self {
            store,
            keys: Keys::new(cluster),
            author: "somebody".to_owned(),
        }
    }

    /// The same operator, as others read who changed something.
    #[must_use]
    pub fn named(self, author: String) -> Self {
        Self { author, ..self }
    }

    /// Writes `txn` about `service`. `key` is one of the keys it writes and `intended` what is to lie
    /// there afterwards, by which an unknown outcome is found out.
    async fn write(
        &self,
        service: &Name,
        txn: Txn,
        key: &str,
        intended: &[u8],
    ) -> Result<(), Error> {
        match self.store.commit(txn).await {
            Ok(Outcome::Committed(_)) => Ok(()),
            Ok(Outcome::Conflict) => Err(Error::Conflict(service.clone())),
            Err(error @ store::Error::OutcomeUnknown { .. }) => {
                let found = self.store.get(key).await?;
                match found {
                    Some(entry) if entry.value == intended => Ok(()),
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A value of the store as JSON text.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Plain structs with text keys always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

/// `after` as JSON text, in the place of `stored`, of which `before` is what was read: what a newer version of this program
/// has written there, and this one does not know, stays.
fn rewrite<T: Serialize>(stored: Option<&Entry>, before: &T, after: &T) -> Vec<u8> {
    let json = |value: &T| serde_json::to_value(value).unwrap_or_default();
    let stored = stored.and_then(decode::<Value>).unwrap_or_default();
    let mut written = json(after);
    keep_unknown(&stored, &json(before), &mut written);
    to_json(&written)
}

/// The entry's value as `T`; none where it is not a `T`.
fn decode<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value).ok()
}
