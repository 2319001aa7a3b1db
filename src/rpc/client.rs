//! Asking a balancer, as any client would.

use std::{sync::Arc, time::Duration};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint as Target},
};

use crate::{
    host::{Network, network::connector},
    model::state::Endpoint,
    proto::{
        service_discovery::{
            DiscoverServicesRequest, ServiceLocationMsg,
            service_discovery_grpc_client::ServiceDiscoveryGrpcClient,
        },
        v1::{PickRequest, PickResponse, balancer_client::BalancerClient},
    },
};

/// Why a balancer gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("`{0}` is not an address of a balancer: write host:port")]
    Address(String),
    /// Nobody answers there.
    #[error("no balancer answers at {address}: {cause}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the connection said.
        cause: String,
    },
    /// It answered that it cannot say.
    #[error("the balancer at {address} has no answer: {cause}")]
    Refused {
        /// Where.
        address: String,
        /// Its words.
        cause: String,
    },
}

/// A connection to the balancer at `address` (`host:port`), whose calls end after `timeout`.
async fn connect(
    network: Arc<dyn Network>,
    address: &str,
    timeout: Duration,
) -> Result<Channel, Error> {
    let authority = address.strip_prefix("http://").unwrap_or(address);
    Target::try_from(format!("http://{authority}"))
        .ok()
        .filter(|target| target.uri().port().is_some())
        .ok_or_else(|| Error::Address(address.to_owned()))?
        .connect_timeout(timeout)
        .timeout(timeout)
        .connect_with_connector(connector(network))
        .await
        .map_err(|error| Error::Unreachable {
            address: address.to_owned(),
            cause: root_cause(&error),
        })
}

/// What the balancer at `address` answers to `request`: at least one instance.
pub async fn pick(
    network: Arc<dyn Network>,
    address: &str,
    request: PickRequest,
    timeout: Duration,
) -> Result<PickResponse, Error> {
    let channel = connect(network, address, timeout).await?;
    let answer = BalancerClient::new(channel).pick(request).await;
    let answer = answer.map_err(|status| Error::Refused {
        address: address.to_owned(),
        cause: cause(&status),
    })?;
    Ok(answer.into_inner())
}

/// The least busy instances of `service`, best first, at most `count` (0: all), as the balancer at
/// `address` (`host:port`) sees them now. Empty for an unknown service.
pub async fn discover(
    network: Arc<dyn Network>,
    address: &str,
    service: &str,
    count: u16,
    timeout: Duration,
) -> Result<Vec<Endpoint>, Error> {
    let channel = connect(network, address, timeout).await?;
    let request = DiscoverServicesRequest {
        scope: String::new(),
        service_name: service.to_owned(),
        max_count: i32::from(count),
    };
    let answer = ServiceDiscoveryGrpcClient::new(channel)
        .discover_top_services(request)
        .await
        .map_err(|status| Error::Refused {
            address: address.to_owned(),
            cause: cause(&status),
        })?
        .into_inner();
    let endpoint = |location: ServiceLocationMsg| {
        let port = u16::try_from(location.port).ok()?;
        let host = location.host_name;
        Some(Endpoint { host, port })
    };
    let locations = answer.service_locations.into_iter();
    Ok(locations.filter_map(endpoint).collect())
}

/// What a refusal means. Servers that know nothing of the question say no more than that.
fn cause(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "what answers there is no balancer, or an old one".to_owned(),
        code if status.message().is_empty() => format!("{code}"),
        _ => status.message().to_owned(),
    }
}

/// The last of an error's causes: the one that says what happened.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::TcpNetwork;

    #[tokio::test]
    async fn an_address_needs_a_port() {
        for address in [
            "localhost",
            "[::1]",
            "",
            "local host:1",
            "https://localhost:1",
        ] {
            let network = Arc::new(TcpNetwork);
            let error = discover(network, address, "a", 1, Duration::from_secs(1)).await;
            assert!(
                matches!(error, Err(Error::Address(_))),
                "{address}: {error:?}"
            );
        }
    }
}
