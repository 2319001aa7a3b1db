//! What it means for processes that their node is cut off from the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
