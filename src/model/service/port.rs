//! Ports of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PortRange;
use crate::model::name::Name;

/// A port: fixed (`port`), one per instance out of a range (`range`), or any free one (neither).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PortSpec {
    /// What `{port.<name>}` and checks call it.
    pub name: Name,
    /// One number, the same on every node: at most one instance per node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// `first-last`: each instance has one of them for its life, so it must not be shorter than
    /// `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<PortRange>,
    /// The host that clients are told, a name or an address without a port. Default: the node's
    /// address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}
