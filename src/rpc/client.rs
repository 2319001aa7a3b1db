//! Asking a balancer, as any client would.

use std::{sync::Arc, time::Duration};

use tonic::{Status, transport::Channel};

use super::connect::{self, Timeouts};
use crate::{
    host::Network,
    model::state::Endpoint,
    proto::{
        service_discovery::{
            DiscoverServicesRequest, ServiceLocationMsg,
            service_discovery_grpc_client::ServiceDiscoveryGrpcClient,
        },
        v1::{
            ListXdsClientsRequest, PickRequest, PickResponse, XdsClient,
            balancer_client::BalancerClient, xds_status_client::XdsStatusClient,
        },
    },
};

/// Why a balancer gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not asked.
    #[error("no balancer: {0}")]
    Connection(#[from] connect::Error),
    /// It answered that it cannot say.
    #[error("the balancer at {address} has no answer: {cause}")]
    Refused {
        /// Where.
        address: String,
        /// Its words.
        cause: String,
    },
}

/// The longest list of clients that is read, in bytes: thousands of clients with some services each.
const LARGEST_LIST: usize = 64 * 1024 * 1024;

/// A connection to the balancer at `address` (`host:port`), whose calls end after `timeout`.
async fn connect(
    network: Arc<dyn Network>,
    address: &str,
    timeout: Duration,
) -> Result<Channel, Error> {
    Ok(connect::connect(network, address, Timeouts::question(timeout)).await?)
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
    let answer = answer.map_err(|status| refused(address, &status))?;
    Ok(answer.into_inner())
}

/// The stock gRPC clients that the balancer at `address` has now.
pub async fn xds_clients(
    network: Arc<dyn Network>,
    address: &str,
    timeout: Duration,
) -> Result<Vec<XdsClient>, Error> {
    let channel = connect(network, address, timeout).await?;
    let mut client = XdsStatusClient::new(channel).max_decoding_message_size(LARGEST_LIST);
    let answer = client.list_clients(ListXdsClientsRequest {}).await;
    Ok(answer
        .map_err(|status| refused(address, &status))?
        .into_inner()
        .clients)
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
        .map_err(|status| refused(address, &status))?
        .into_inner();
    let endpoint = |location: ServiceLocationMsg| {
        let port = u16::try_from(location.port).ok()?;
        let host = location.host_name;
        Some(Endpoint { host, port })
    };
    let locations = answer.service_locations.into_iter();
    Ok(locations.filter_map(endpoint).collect())
}

fn refused(address: &str, status: &Status) -> Error {
    Error::Refused {
        address: address.to_owned(),
        cause: connect::refusal(status, "what answers there is no balancer, or an old one"),
    }
}
