//! When a process is old enough to be replaced.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::{Percent, Period};

/// When a process is replaced only because it is old. No more instances of a service at once than
/// `rollout.maxUnavailable` lets be missing, but one at least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RecycleSpec {
    /// The age at which a process is replaced.
    pub every: Period,
    /// Each process gets that much older or younger at most, so that not all are replaced at once.
    /// Default 10%.
    #[serde(default = "RecycleSpec::jitter_default")]
    pub jitter: Percent,
    /// What is waited for then. Default `idle`.
    #[serde(default)]
    pub when: RecycleWhen,
}

impl RecycleSpec {
    const fn jitter_default() -> Percent {
        Percent::new(10)
    }
}

/// When a process that is old enough is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RecycleWhen {
    /// When its load report says that it works on no request.
    #[default]
    Idle,
    /// At once. It may finish its work as `stop.drain` allows.
    Always,
}
