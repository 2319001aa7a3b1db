//! How clients are spread over the instances of a service.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    quantity::{Percent, Period, Share},
    ticket::TicketSpec,
};

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
    /// Who weighs the instances for clients that choose by themselves, gRPC's own by xDS: `server`, the balancer,
    /// by their load or as `policy` says; or `orca`, each client, by what the instances report to it
    /// (`xds.service.orca.v3.OpenRcaService`). Default `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weighing>,
    /// For this long after it became ready an instance gets less than its share: it counts as nearly busy at
    /// first, and step by step as what it is. For `leastLoad` and `p2c`. Default: no such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Period>,
    /// Prefer instances on nodes that have the same value of a label as the asker, while they have room. Not with
    /// `hash`, `ordered` or a score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer: Option<PreferSpec>,
    /// When clients report that calls to an instance fail (`ReportOutcome`), it comes after all others for a while.
    /// Nothing happens while no client reports.
    #[serde(default, skip_serializing_if = "EjectionSpec::is_default")]
    pub ejection: EjectionSpec,
    /// Give each unit of an instance's capacity to one client at a time, for as long as that has a ticket for
    /// it (`Acquire`): nobody else is sent there, and the service is not answered in any other way. The capacity
    /// is what the load report says, else 1. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    /// Who may ask for it, by the names of their certificates: clients by their own, as in `billing`, others with their
    /// role, as in `agent.qa-1`. Operators always may. It takes balancers with TLS. Default: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
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

/// Which instances are preferred, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PreferSpec {
    /// The label of nodes, as in `zone`. The asker's value is the attribute of that name in its question, else
    /// that of the balancer (`balancer --label zone=a`). An asker without a value prefers nothing.
    pub label: String,
    /// A preferred instance that is at least this busy has no room: then any may be chosen. Default 80%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spill_over: Option<Percent>,
}

impl PreferSpec {
    /// The effective load at which an instance has no room.
    pub fn bound(&self) -> f64 {
        self.spill_over.unwrap_or(Percent::new(80)).fraction()
    }
}

/// When failed calls are held against an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EjectionSpec {
    /// It is ejected when this part of the calls to it failed that were reported in the last `window`. Default 50%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<Percent>,
    /// It takes at least so many reported calls. Default 5. They must come from two clients, unless only one reports
    /// anything of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_calls: Option<u32>,
    /// For how long a report counts. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
    /// For how long it is ejected the first time; twice as long each time that it fails again soon after. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
    /// It is never ejected for longer. Default 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Period>,
    /// So many instances of the service may be ejected at a time, and never all; 0: none ever. Default a third.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ejected: Option<Share>,
}

impl EjectionSpec {
    /// The part of failed calls, from 0 to 1, from which on it is ejected.
    pub fn failures(&self) -> f64 {
        self.failures.unwrap_or(Percent::new(50)).fraction()
    }

    /// How many calls it takes.
    pub fn min_calls(&self) -> u64 {
        self.min_calls.map_or(5, u64::from).max(1)
    }

    /// How long a report counts.
    pub fn window(&self) -> Duration {
        self.window.unwrap_or(Period::from_secs(30)).get()
    }

    /// How long it is ejected the first time.
    pub fn duration(&self) -> Duration {
        let duration = self.duration.unwrap_or(Period::from_secs(30)).get();
        duration.min(self.max_duration())
    }

    /// How long it is ejected at most.
    pub fn max_duration(&self) -> Duration {
        self.max_duration.unwrap_or(Period::from_secs(300)).get()
    }

    /// How many of `all` instances may be ejected.
    pub fn most(&self, all: usize) -> usize {
        let most = self.max_ejected.map_or(all / 3, |share| share.floor(all));
        most.min(all.saturating_sub(1))
    }

    /// Whether the manifest says nothing of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Who weighs instances for clients that choose by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Weighing {
    /// The balancer.
    #[default]
    Server,
    /// Each client, by the load that the instances report to it.
    Orca,
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
