//! `quaestor xds`: stock gRPC clients, which find services by xDS.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use futures::future;
use serde_json::json;

use super::{
    args::{Global, TlsArgs, XdsClientsArgs, XdsCommand},
    output::{age, clean, note, or_dash, print, say, table},
};
use crate::{
    host::Host,
    model::Timestamp,
    operator::Operator,
    process,
    proto::v1::{XdsClient, XdsSubscription},
    rpc::client,
};

/// How long a balancer may take to say who its clients are.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(
    global: &Global,
    operator: &Operator,
    host: &Host,
    command: XdsCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        XdsCommand::Bootstrap(args) if args.plain.is_empty() => {
            let addresses = balancers(operator).await?;
            bootstrap(host, global, args.id, &addresses, credentials(&global.tls)).await
        }
        XdsCommand::Bootstrap(args) => {
            let insecure = credentials(&TlsArgs::default());
            bootstrap(host, global, args.id, &args.plain, insecure).await
        }
        XdsCommand::Clients(args) => clients(host, args, &balancers(operator).await?).await,
    }
}

/// Where they are; at least one.
async fn balancers(operator: &Operator) -> anyhow::Result<Vec<String>> {
    let addresses = operator.balancers().await?;
    if addresses.is_empty() {
        bail!(
            "no balancer says where it is: start one, and with --advertise HOST:PORT if it listens on all addresses"
        );
    }
    Ok(addresses)
}

/// One `server_uri` with all of them: clients go from one to the next within seconds, which they do not between
/// several servers.
async fn bootstrap(
    host: &Host,
    global: &Global,
    id: Option<String>,
    addresses: &[String],
    credentials: serde_json::Value,
) -> anyhow::Result<ExitCode> {
    let mut found: Vec<(IpAddr, u16)> = Vec::new();
    for address in addresses {
        let (name, port) =
            split(address).with_context(|| format!("`{}` is not an address", clean(address)))?;
        match host.network.resolve(name).await {
            // The same kind for all, where there is one.
            Ok(ips) => found.extend(ips.into_iter().min().map(|ip| (ip, port))),
            Err(error) => note(format_args!(
                "the balancer at {} is left out: its address cannot be looked up: {error}",
                clean(address)
            )),
        }
    }
    let (v4, v6): (Vec<_>, Vec<_>) = found.iter().partition(|(ip, _)| ip.is_ipv4());
    let (scheme, chosen) = if v4.is_empty() {
        ("ipv6", v6)
    } else {
        ("ipv4", v4)
    };
    if chosen.is_empty() {
        bail!("the address of no balancer can be looked up here");
    }
    let places = chosen.iter().map(|(ip, port)| match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    });
    let places: Vec<String> = places.collect();
    let file = json!({
        "xds_servers": [{
            "server_uri": format!("{scheme}:{}", places.join(",")),
            "channel_creds": [credentials],
            "server_features": ["xds_v3", "ignore_resource_deletion"],
        }],
        "node": {
            "id": id.unwrap_or_else(|| host_name(host)),
            "cluster": global.cluster.as_str(),
            // Node's library wants one.
            "locality": {},
        },
    });
    say(serde_json::to_string_pretty(&file).context("cannot print as JSON")?)?;
    Ok(ExitCode::SUCCESS)
}

/// How its readers connect: as this command does.
fn credentials(tls: &TlsArgs) -> serde_json::Value {
    match (&tls.tls_ca, &tls.tls_cert, &tls.tls_key) {
        (None, ..) => json!({"type": "insecure"}),
        (Some(ca), Some(certificate), Some(key)) => json!({"type": "tls", "config": {
            "ca_certificate_file": ca, "certificate_file": certificate, "private_key_file": key,
        }}),
        (Some(ca), ..) => json!({"type": "tls", "config": {"ca_certificate_file": ca}}),
    }
}

/// Host and port.
fn split(address: &str) -> Option<(&str, u16)> {
    let (name, port) = address.rsplit_once(':')?;
    Some((name.trim_matches(['[', ']']), port.parse().ok()?))
}

fn host_name(host: &Host) -> String {
    or_dash(process::host_name(&*host.disk))
}

/// Fails when one of the balancers could not be asked.
async fn clients(
    host: &Host,
    args: XdsClientsArgs,
    addresses: &[String],
) -> anyhow::Result<ExitCode> {
    let asking = addresses
        .iter()
        .map(async |address| client::xds_clients(host.network.clone(), address, PATIENCE).await);
    let answers = future::join_all(asking).await;
    let mut rows = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for (balancer, answer) in addresses.iter().zip(answers) {
        match answer {
            Ok(clients) => rows.extend(clients.into_iter().map(|it| Connected::new(balancer, it))),
            Err(error) => {
                note(clean(&error.to_string()));
                code = ExitCode::FAILURE;
            }
        }
    }
    let now = host.clock.timestamp();
    print(args.shown.output, &rows, |rows| lines(rows, now))?;
    Ok(code)
}

/// A client as it is shown.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Connected {
    balancer: String,
    node: String,
    agent: String,
    connected_millis: u64,
    services: Vec<Known>,
    refusals: u64,
    last_refusal: String,
}

/// What it knows of a service.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    service: String,
    endpoints: u32,
    version: u64,
    sent: u64,
    acknowledged: u64,
}

impl Connected {
    fn new(balancer: &str, client: XdsClient) -> Self {
        let known = |subscription: XdsSubscription| Known {
            service: subscription.service,
            endpoints: subscription.endpoints,
            version: subscription.version,
            sent: subscription.sent,
            acknowledged: subscription.acknowledged,
        };
        Self {
            balancer: balancer.to_owned(),
            node: client.node_id,
            agent: client.user_agent,
            connected_millis: client.connected_millis,
            services: client.subscriptions.into_iter().map(known).collect(),
            refusals: client.refusals,
            last_refusal: client.last_refusal,
        }
    }
}

/// A line for each service of each client.
fn lines(clients: &[Connected], now: Timestamp) -> String {
    let of = |client: &Connected| {
        let since = i64::try_from(client.connected_millis).unwrap_or(i64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(since));
        let row = |known: Option<&Known>| {
            let refused = match client.refusals {
                0 => "-".to_owned(),
                times => format!("{times} times: {}", client.last_refusal),
            };
            [
                or_dash(client.node.as_str()),
                or_dash(client.agent.as_str()),
                known.map_or("-".to_owned(), |known| known.service.clone()),
                known.map_or("-".to_owned(), |known| known.endpoints.to_string()),
                known.map_or("-".to_owned(), state),
                age(Some(since), now),
                client.balancer.clone(),
                refused,
            ]
        };
        match client.services.is_empty() {
            true => vec![row(None)],
            false => client
                .services
                .iter()
                .map(|known| row(Some(known)))
                .collect(),
        }
    };
    table(
        [
            "CLIENT",
            "LIBRARY",
            "SERVICE",
            "ENDPOINTS",
            "TOOK",
            "SINCE",
            "BALANCER",
            "REFUSED",
        ],
        clients.iter().flat_map(of),
        "No clients are connected.",
    )
}

/// Which version it has taken, and the newest if that is another one.
fn state(known: &Known) -> String {
    match (known.acknowledged, known.version) {
        (0, newest) => format!("none of {newest}"),
        (taken, newest) if taken == newest => taken.to_string(),
        (taken, newest) => format!("{taken} of {newest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_with_and_without_brackets() {
        assert_eq!(split("qa-1:5150"), Some(("qa-1", 5150)));
        assert_eq!(split("[::1]:5150"), Some(("::1", 5150)));
        assert_eq!(split("qa-1"), None);
    }

    #[test]
    fn a_client_that_is_behind_is_seen_at_a_glance() {
        let known = |acknowledged| Known {
            service: "Worker".to_owned(),
            endpoints: 3,
            version: 9,
            sent: 9,
            acknowledged,
        };
        assert_eq!(
            [0, 7, 9].map(|taken| state(&known(taken))),
            ["none of 9", "7 of 9", "9"]
        );
    }
}
