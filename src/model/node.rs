//! Hosts and balancers: who is there.

use serde::{Deserialize, Serialize};

use super::{name::Name, service::Labels, time::Timestamp};

/// What lies under `session/<node>` while an agent lives, bound to its lease. The mod-revision of
/// the key is the node's epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Random, one per session.
    pub uuid: String,
    /// Random, kept in the agent's state directory: the same agent may take over its own live session.
    pub node_uuid: String,
    /// Host name or address at which the node's instances are reached.
    pub address: String,
    /// `host:port` at which the agent itself is asked, for logs; none from agents that serve nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_address: Option<String>,
    /// Labels of the node.
    #[serde(default)]
    pub labels: Labels,
    /// Version of the agent.
    pub version: String,
    /// When the session began.
    pub started_at: Timestamp,
    /// Whether the agent has brought its processes in line with its assignments since it started.
    pub reconciled: bool,
}

/// What lies under `balancer/<id>` while a balancer lives, bound to its lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Random, one per process.
    pub id: Name,
    /// `host:port` at which clients and other balancers reach it.
    pub address: String,
    /// Its version.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
}
