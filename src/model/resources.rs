//! How much memory and processor time an instance may have: part of a service, and of its assignments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::Size;

/// What an instance may have, all of its processes together; by cgroup v2 of the host. On a node that cannot
/// enforce it the process runs all the same, and its state says why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Resources {
    /// Its memory, without swap; at least 1MiB. If it needs more, all of its processes are killed, and started
    /// again as `restart` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// So many processors' time, as in 1.5; at least 0.01. If it wants more, it is slowed down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = LEAST_CPU))]
    pub cpu: Option<f64>,
}

/// The least that `memory` can be: with less, nothing can be started.
pub const LEAST_MEMORY: Size = Size::from_mebibytes(1);

/// The least that `cpu` can be: the system gives out no less.
pub const LEAST_CPU: f64 = 0.01;

impl Resources {
    /// Whether anything is limited.
    pub fn is_limited(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some()
    }
}
