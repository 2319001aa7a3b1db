//! The cluster as a whole.

use serde::{Deserialize, Serialize};

use super::{name::Name, status::Condition, time::Timestamp};

/// What lies under `meta/identity`: whose data it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// Random, made once: tells this cluster's data from any other's. A backup has it, too.
    pub uuid: String,
    /// Version of the layout of keys and values.
    pub layout: u32,
}

/// What lies under `spec/cluster`: what an operator has said of the cluster as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// That the store was restored from a backup is known and meant, for stores that had come as far as this
    /// revision.
    pub restore_confirmed: i64,
}

/// What lies under `status/cluster`. A documented interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// Which controller leads: its host and process id.
    pub leader: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leading_since: Option<Timestamp>,
    /// Nodes that are known.
    pub nodes: u32,
    /// Those of them whose agent is not connected.
    pub nodes_away: u32,
    /// Services whose manifest is gone although nobody deleted them, and whose instances run on.
    pub vanished: Vec<Name>,
    /// The revision that the store had once reached, where it has fallen below and nobody has confirmed that:
    /// nothing is changed until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<i64>,
    /// What holds: `NodesPresent`, `SpecsPresent`, `StoreInTime`.
    pub conditions: Vec<Condition>,
}
