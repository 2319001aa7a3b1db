//! Commands of the owner that are run around the process: before its start, before its stop, and to check it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::Period;

/// A command that is run at a point in the life of the process: as its user, with its environment, in its
/// directory, within its limits. It may be run again after a crash of the agent, so running it twice must do no
/// harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Hook {
    /// Program and arguments; no shell. Placeholders as in the `command` of the service.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// It is killed after this long, with all that it started. Default 30s.
    #[serde(default = "Hook::timeout_default")]
    pub timeout: Period,
}

impl Hook {
    const fn timeout_default() -> Period {
        Period::from_secs(30)
    }
}

/// A check by a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ExecCheck {
    /// Program and arguments; no shell. Placeholders as in the `command` of the service. It is run as the
    /// process's user, with its environment, and killed at `timeout`, with all that it started.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
}
