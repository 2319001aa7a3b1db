//! Health that the process tells by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::Period;

/// The process tells how it is, in the words of `sd_notify(3)`, to the socket that `NOTIFY_SOCKET` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NotifySpec {
    /// From `READY=1` on it sends `WATCHDOG=1` at least this often: without one, checks fail. It is told that
    /// time by `WATCHDOG_USEC`. Default: it need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Period>,
}
