//! What instances say of their load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{name::Instance, time::Timestamp};

/// What lies under `load/<node>`: one record for all instances of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// When the record was written.
    pub at: Timestamp,
    /// The last report of each instance that has one.
    pub instances: BTreeMap<Instance, LoadReport>,
    /// What each instance with a process uses up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<Instance, Usage>,
}

/// What a process uses up, with all that descends from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Processors in use: 1.5 is one and a half.
    pub cpu: f64,
    /// Resident memory in bytes; what processes share counts once for each.
    pub memory: u64,
    /// How many processes there are.
    pub processes: u32,
}

/// One answer of an instance to "how busy are you?".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// A rate that the instance computed itself; smaller is less busy. None: derive it from `stats`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_rate: Option<f64>,
    /// Counts, where the instance gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ServerStats>,
}

impl LoadReport {
    /// How busy the instance says that it is, as a part of its capacity; none where it tells too little.
    pub fn rate(&self) -> Option<f64> {
        self.known_rate.or_else(|| {
            let stats = self.stats?;
            let capacity = (stats.request_capacity > 0).then_some(stats.request_capacity)?;
            Some(f64::from(stats.current_requests.max(0)) / f64::from(capacity))
        })
    }

    /// Whether it says that the instance works on nothing. One that does not know its capacity does
    /// not count its requests either.
    pub fn is_idle(&self) -> bool {
        let idle = |stats: ServerStats| stats.request_capacity >= 0 && stats.current_requests == 0;
        self.stats.is_some_and(idle)
    }
}

/// Counts of an instance and of its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStats {
    /// Requests it can work on at once; -1 unknown, 0 takes none.
    pub request_capacity: i32,
    /// Requests it works on now.
    pub current_requests: i32,
    /// Utilisation of the host, 0 to 1.
    pub server_utilization: f64,
    /// Memory in use on the host in per cent; -1 unknown.
    pub server_memory_usage_percent: f64,
}
