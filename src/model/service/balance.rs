//! How clients are spread over the instances of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How balancers choose among the ready instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct BalanceSpec {
    /// By what an instance is chosen. Default `leastLoad`. The call `DiscoverTopServices` has an order of its
    /// own, whatever this says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// By what an instance is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// The least busy, by its last report and the picks since then; one of them at random.
    #[default]
    LeastLoad,
    /// Two at random, of these the less busy.
    P2c,
    /// The order of `DiscoverTopServices`.
    Ordered,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// At random, in proportion to the weights.
    Weighted,
    /// Always the same for the same affinity key, unless that one has much more to do than the others.
    Hash,
}
