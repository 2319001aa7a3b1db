//! `quaestor pick`: where to send the next request.

use std::{collections::HashMap, process::ExitCode, sync::Arc, time::Duration};

use super::{
    args::PickArgs,
    output::{clean, failure, or_dash, print},
};
use crate::{
    host::Network,
    proto::v1::{Address, Endpoint, PickRequest},
    rpc::client,
};

/// How long one balancer may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(network: Arc<dyn Network>, args: PickArgs) -> anyhow::Result<ExitCode> {
    let request = PickRequest {
        service: args.service,
        count: u32::from(args.count),
        attributes: args.attribute.into_iter().collect::<HashMap<_, _>>(),
        affinity_key: args.key.unwrap_or_default(),
        exclude: args.exclude.into_iter().map(address).collect(),
    };
    let mut failures = Vec::new();
    let mut is_unreached = false;
    for balancer in &args.balancer {
        match client::pick(network.clone(), balancer, request.clone(), PATIENCE).await {
            Ok(answer) => {
                let picks: Vec<Pick> = answer.endpoints.into_iter().map(Pick::new).collect();
                print(args.output, &picks, lines)?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => {
                is_unreached |= matches!(error, client::Error::Connection(_));
                failures.push(clean(&error.to_string()));
            }
        }
    }
    if is_unreached {
        failures.push("name running balancers with --balancer or QUAESTOR_BALANCER".to_owned());
    }
    Err(failure(&failures))
}

fn address((host, port): (String, u16)) -> Address {
    Address {
        host,
        port: u32::from(port),
    }
}

/// What is shown of a picked instance.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Pick {
    host: String,
    port: u32,
    instance: String,
    node: String,
    labels: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_requests: Option<i32>,
    effective_load: f64,
    suspect: bool,
    ejected: bool,
}

impl Pick {
    fn new(endpoint: Endpoint) -> Self {
        let Address { host, port } = endpoint.address.unwrap_or_default();
        let load = endpoint.load.unwrap_or_default();
        Self {
            host,
            port,
            instance: endpoint.instance,
            node: endpoint.node,
            labels: endpoint.labels.into_iter().collect(),
            rate: load.rate,
            capacity: load.capacity,
            current_requests: load.current_requests,
            effective_load: load.effective,
            suspect: endpoint.suspect,
            ejected: endpoint.ejected,
        }
    }
}

/// One place per line, for scripts.
fn lines(picks: &[Pick]) -> String {
    let line = |pick: &Pick| {
        let host = or_dash(clean(&pick.host));
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        format!("{open}{host}{close}:{}", pick.port)
    };
    picks.iter().map(line).collect::<Vec<_>>().join("\n")
}
