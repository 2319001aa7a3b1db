//! What the leader reports, and what balancers read. A documented interface.

use serde::{Deserialize, Serialize};

use super::{name::Name, service::BalanceSpec, time::Timestamp};

/// What lies under `status/service/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The service.
    pub name: Name,
    /// Instances wanted.
    pub replicas: u32,
    /// Instances assigned to nodes.
    pub assigned: u32,
    /// Instances whose process runs the current revision.
    pub updated: u32,
    /// Instances that clients may be sent to.
    pub ready: u32,
    /// The generation of the spec that was planned.
    pub observed_generation: u64,
    /// Instances that have been ready for as long as the manifest asks (`rollout.minReady`).
    #[serde(default)]
    pub available: u32,
    /// The current revision of the process template.
    pub revision: String,
    /// The last revision that all instances ran and were available with; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_revision: Option<String>,
    /// That the template of the manifest failed, and another one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// What holds: `Placed`, `Updated`, `Ready`, `Available`, `Progressing`.
    pub conditions: Vec<Condition>,
}

/// That a template failed, and what is run instead until the manifest has another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The generation whose rollout failed.
    pub generation: u64,
    /// The revision that failed.
    pub from: String,
    /// The revision in force instead.
    pub to: String,
    /// What failed, for people.
    pub cause: String,
}

/// What lies under `status/node/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The node.
    pub name: Name,
    /// Its address, as last announced.
    pub address: String,
    /// Instances assigned to it.
    pub assigned: u32,
    /// What holds: `Ready`.
    pub conditions: Vec<Condition>,
}

/// Something that holds, does not hold, or is not known to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, one CamelCase word.
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, one CamelCase word for programs.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// When `status` changed last.
    pub last_transition_time: Timestamp,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// What lies under `route/<service>`: all that a balancer reads of a spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The service.
    pub service: Name,
    /// The names under which clients ask for it.
    pub names: Vec<String>,
    /// Whether it appears in answers.
    pub published: bool,
    /// How to choose among its instances. Absent from older leaders.
    #[serde(default, skip_serializing_if = "is_default")]
    pub balance: BalanceSpec,
    /// The generation that this reflects.
    pub generation: u64,
}

fn is_default(balance: &BalanceSpec) -> bool {
    *balance == BalanceSpec::default()
}
