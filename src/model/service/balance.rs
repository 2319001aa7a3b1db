//! How clients are spread over the instances of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{quantity::Period, ticket::TicketSpec};

/// How balancers choose among the ready instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct BalanceSpec {
    /// By what an instance is chosen. Default `leastLoad`. The call `DiscoverTopServices` has an order of its
    /// own, whatever this says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// In place of `policy`: an expression in CEL that says how well an instance suits a request. The highest value
    /// wins, `null` leaves it out. It knows `node.name`, `node.labels` (also as `labels`), `load.rate` (1 is fully
    /// busy), `load.current`, `load.capacity`, `endpoint.host`, `.port`, `.instance`, `.service`, and of `request`
    /// the attributes that the client gave. Of many instances the 64 least busy are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// For `weighted`: the label of nodes that says how much those who run there can take, as a whole number;
    /// without it they count as 1, and 0 is used only when there is no other. Default `weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_label: Option<String>,
    /// For this long after it became ready an instance gets less than its share: it counts as nearly busy at
    /// first, and step by step as what it is. For `leastLoad` and `p2c`. Default: no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Period>,
    /// Give each unit of an instance's capacity to one client at a time, for as long as that has a ticket for
    /// it (`Acquire`): nobody else is sent there, and the service is not answered in any other way. The capacity
    /// is what the load report says, else 1. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    /// How long a ticket lasts from its grant or its last renewal on. Only with `exclusive`. Default 30s.
    #[serde(default, rename = "ticketTTL", skip_serializing_if = "Option::is_none")]
    pub ticket_ttl: Option<Period>,
    /// What a ticket stood for that was neither renewed nor released is given out again once the instance
    /// reports that it works on nothing, or after this time, whatever it reports. Only with `exclusive`.
    /// Default 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_after: Option<Period>,
}

impl BalanceSpec {
    /// How tickets are given for it; none for a service that is not exclusive.
    pub fn tickets(&self) -> Option<TicketSpec> {
        let default = TicketSpec::default();
        self.exclusive.then(|| TicketSpec {
            ttl: self.ticket_ttl.unwrap_or(default.ttl),
            reclaim_after: self.reclaim_after.unwrap_or(default.reclaim_after),
        })
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
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
