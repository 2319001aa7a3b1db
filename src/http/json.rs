//! Endpoints as they are written.

use serde::Serialize;

use crate::{
    balancer::answers::{Changes, Seen},
    model::{Instance, Name, service::Labels},
    view::Listed,
};

/// An answer: endpoints, the best first where that was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoints {
    pub endpoints: Vec<Endpoint>,
    /// How long ago the balancer last heard from the store.
    pub view_age_millis: u64,
}

/// The names that are found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Services {
    pub services: Vec<Service>,
    pub view_age_millis: u64,
}

#[derive(Serialize)]
pub(super) struct Service {
    name: String,
    endpoints: usize,
    exclusive: bool,
}

impl From<Listed> for Service {
    fn from(listed: Listed) -> Self {
        let Listed {
            name,
            endpoints,
            exclusive,
        } = listed;
        Self {
            name,
            endpoints,
            exclusive,
        }
    }
}

/// What a watch tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// Whether `changed` is everything there is.
    pub complete: bool,
    changed: Vec<Endpoint>,
    removed: Vec<Address>,
    view_age_millis: u64,
}

impl From<Changes> for Told {
    fn from(changes: Changes) -> Self {
        let removed = changes.removed.into_iter();
        Self {
            complete: changes.complete,
            changed: changes.changed.iter().map(Endpoint::from).collect(),
            removed: removed.map(|(host, port)| Address { host, port }).collect(),
            view_age_millis: changes.age_millis,
        }
    }
}

#[derive(Serialize)]
struct Address {
    host: String,
    port: u16,
}

/// One endpoint, with the fields of `quaestor.v1.Endpoint`.
#[derive(Serialize)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    instance: Instance,
    node: Name,
    labels: Labels,
    load: Load,
    tls: bool,
    suspect: bool,
    ejected: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_requests: Option<i32>,
    /// `null` for one that takes no requests: JSON knows no infinity.
    effective: f64,
}

impl From<&Seen> for Endpoint {
    fn from(seen: &Seen) -> Self {
        Self {
            host: seen.endpoint.host().to_owned(),
            port: seen.endpoint.port(),
            instance: seen.endpoint.instance().clone(),
            node: seen.endpoint.node().name().clone(),
            labels: Labels::clone(&seen.labels),
            load: Load {
                rate: seen.load.known_rate,
                capacity: seen.load.counts.map(|counts| counts.capacity),
                current_requests: seen.load.counts.map(|counts| counts.current),
                effective: seen.effective_load,
            },
            tls: false,
            suspect: seen.suspect,
            ejected: seen.ejected,
        }
    }
}
