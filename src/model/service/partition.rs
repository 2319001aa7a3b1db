//! What it means for processes that their node is cut off from the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::Period;

/// A process that stops by itself is asked to within this time after its node's session has ended, whatever its
/// agent does: it is told to live for 20 s, the time of a session, at each confirmation, and gets 5 s more for that
/// word to reach it.
pub const SELF_STOP: Period = Period::from_secs(25);

/// What becomes of a process while its agent cannot confirm its session in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnPartition {
    /// It runs on, however long that lasts.
    #[default]
    Keep,
    /// It stops by itself 20 s after the last confirmation, with its stop signal, and is killed after
    /// `stop.grace`; so too while no agent runs. It is started again once the session is confirmed.
    Stop,
}
