//! Why processes are stopped.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{model::quantity::Period, plan::health::Failure};

/// How the words begin by which a stop for failed checks is told.
pub const UNHEALTHY: &str = "it is unhealthy: ";

/// Why a process is stopped. There is no stop without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopCause {
    /// The assignment written at this revision of the store says `absent`.
    Absent {
        /// That revision; 0: the agent's own manifests.
        stored_at: i64,
    },
    /// The assignment written at this revision of the store asks for another process.
    Replaced {
        /// The revision of the template that is wanted now.
        by: String,
        /// The revision of the store; 0: the agent's own manifests.
        stored_at: i64,
    },
    /// Its checks failed too often in a row.
    Unhealthy(Failure),
    /// It is as old as `recycle` lets it become.
    Recycled {
        /// How long it has run.
        age: Duration,
    },
    /// The agent ends.
    AgentEnds,
    /// The agent could not confirm its session, and `onPartition` asks for a stop then.
    Partition,
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { stored_at: 0 } => {
                f.write_str("the agent's own manifests do not ask for it any more")
            }
            Self::Absent { stored_at } => {
                write!(f, "its assignment says absent (store revision {stored_at})")
            }
            Self::Replaced { by, stored_at: 0 } => {
                write!(f, "the agent's own manifests ask for revision {by}")
            }
            Self::Replaced { by, stored_at } => write!(
                f,
                "its assignment asks for revision {by} (store revision {stored_at})"
            ),
            Self::Unhealthy(failure) => write!(f, "{UNHEALTHY}{}", failure.why),
            Self::Recycled { age } => {
                let age = Period(Duration::from_secs(age.as_secs()));
                write!(f, "it has run for {age} and is recycled")
            }
            Self::AgentEnds => f.write_str("its agent ends"),
            Self::Partition => {
                f.write_str("its agent could not confirm its session for 20s (onPartition: stop)")
            }
        }
    }
}
