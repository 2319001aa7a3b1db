//! What the end of an agent means for processes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a process when its agent is told to end. An agent that crashes or is killed leaves
/// every process running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnAgentStop {
    /// It runs on, and the next agent goes on with it.
    #[default]
    Keep,
    /// It is stopped.
    Stop,
}
