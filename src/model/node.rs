//! Hosts and balancers: who is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    name::Name,
    service::{Capacity, Labels},
    time::Timestamp,
};

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
    /// What the node has to give.
    #[serde(default)]
    pub capacity: Capacity,
    /// Version of the agent.
    pub version: String,
    /// When the session began.
    pub started_at: Timestamp,
    /// Whether the agent has brought its processes in line with its assignments since it started.
    pub reconciled: bool,
    /// The highest revision of the store that the agent, or those before it, had seen when the session began or the store
    /// fell back; 0 where nothing is known of it. Above the revision of the session itself, the store has fallen back in time.
    #[serde(default)]
    pub seen_revision: i64,
    /// The revision from which the store fell back in time, as the agent has noticed since it began this session, however
    /// far the store has come since; 0: it has noticed nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fell_from: i64,
}

/// What lies under `spec/node/<name>`: what an operator wants of a node. There is none for most nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// It is given no new instances.
    #[serde(skip_serializing_if = "is_default")]
    pub cordoned: bool,
    /// Its instances are moved to other nodes, and it is given no new ones.
    #[serde(skip_serializing_if = "is_default")]
    pub draining: bool,
    /// Who has cordoned or drained it, and when; none where it is neither, or an older version did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// Labels beside those that its agent announces, or in their place; null takes one away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// That it is gone for good, and its instances with it, as an operator has said. Void as soon as there is
    /// an agent of that name again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// Who closed a node to new instances, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The operator, as in `--as`.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl NodeSpec {
    /// The labels of a node whose agent announces `announced`.
    pub fn labels(&self, announced: &Labels) -> Labels {
        let mut labels = announced.clone();
        for (key, value) in &self.labels {
            match value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        labels
    }
}

/// What lies under `balancer/<id>` while a balancer lives, bound to its lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Random, one per process.
    pub id: Name,
    /// `host:port` at which clients, agents and other balancers reach it; none: nobody can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its version.
    pub version: String,
    /// When it began.
    pub started_at: Timestamp,
}
