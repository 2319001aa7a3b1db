//! Clients: one asks the balancers again and again, some subscribe to endpoints by xDS and say what they have taken.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prost::Message as _;
use quaestor::{
    host::{Host, network::connector},
    proto::standard::envoy::{
        config::{
            core::v3::{HealthStatus, address as standard, socket_address},
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, lb_endpoint},
        },
        service::discovery::v3::{
            DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    rpc,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::World;
use crate::{
    cast::{BALANCERS, CLIENT, Cast, Role},
    checker::answers::Place,
    network::{HostId, address},
    operators::SERVICES,
};

/// Clients by xDS.
const SUBSCRIBERS: usize = 3;

/// Of the xDS standard: the kind of what tells endpoints.
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

impl World {
    /// A client that asks each balancer over the network, again and again.
    pub(super) fn ask(&self) {
        let (host, _) = self.guest(CLIENT, Role::Client);
        let cast = self.cast.clone();
        tokio::spawn(async move {
            let mut turn = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                turn += 1;
                let balancer = BALANCERS[turn % BALANCERS.len()];
                let name = SERVICES[turn / 2 % SERVICES.len()].1;
                let place = format!("{}:5150", address(balancer));
                let network = Arc::clone(&host.network);
                let limit = Duration::from_secs(1);
                // No answer is no lie.
                if let Ok(answer) = rpc::client::discover(network, &place, name, 0, limit).await {
                    let answer = answer.into_iter().map(|found| (found.host, found.port));
                    cast.answered(balancer, name, answer.collect());
                }
            }
        });
    }

    /// Clients that each follow the endpoints of one service by xDS, at whichever balancer is there.
    pub(super) fn subscribe(&self) {
        for number in 0..SUBSCRIBERS {
            let (host, _) = self.guest(CLIENT, Role::Client);
            let follower = Follower {
                number,
                name: SERVICES[number % 2].1,
                cast: self.cast.clone(),
                host,
            };
            tokio::spawn(async move { follower.follow().await });
        }
    }
}

/// A client by xDS.
struct Follower {
    number: usize,
    name: &'static str,
    cast: Cast,
    host: Host,
}

impl Follower {
    async fn follow(self) {
        let mut turn = self.number;
        loop {
            turn += 1;
            let balancer = BALANCERS[turn % BALANCERS.len()];
            // Whoever loses its balancer asks the next one.
            let _ = self.listen(balancer).await;
            self.cast.unsubscribed(self.number);
            tokio::time::sleep(Duration::from_millis(1_000)).await;
        }
    }

    async fn listen(&self, balancer: HostId) -> Result<(), Box<dyn std::error::Error>> {
        let place = format!("http://{}:5150", address(balancer));
        let target = tonic::transport::Endpoint::from_shared(place)?
            .connect_timeout(Duration::from_secs(2))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        let network = connector(Arc::clone(&self.host.network));
        let channel = target.connect_with_connector(network).await?;
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let (requests, asked) = mpsc::unbounded_channel();
        requests.send(self.request(""))?;
        let asked = UnboundedReceiverStream::new(asked);
        let responses = client.stream_aggregated_resources(asked).await?;
        let mut responses = responses.into_inner();
        while let Some(response) = responses.message().await? {
            self.cast.subscribed(self.number, told(&response));
            requests.send(self.request(&response.nonce))?;
        }
        Ok(())
    }

    fn request(&self, nonce: &str) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: ENDPOINTS.to_owned(),
            resource_names: vec![self.name.to_owned()],
            response_nonce: nonce.to_owned(),
            ..DiscoveryRequest::default()
        }
    }
}

/// The endpoints that a response names.
fn told(response: &DiscoveryResponse) -> BTreeSet<Place> {
    let resources = response.resources.iter();
    let assignments = resources.filter_map(|resource| {
        let any = prost_types::Any::decode(resource.clone()).ok()?;
        ClusterLoadAssignment::decode(&any.value[..]).ok()
    });
    assignments
        .flat_map(|assignment| assignment.endpoints)
        .flat_map(|locality| locality.lb_endpoints)
        .filter_map(|endpoint| place(&endpoint))
        .collect()
}

/// Where an endpoint is, if it is to be called.
fn place(endpoint: &LbEndpoint) -> Option<Place> {
    let usable = [HealthStatus::Unknown, HealthStatus::Healthy];
    if !usable.contains(&endpoint.health_status()) {
        return None;
    }
    let Some(lb_endpoint::HostIdentifier::Endpoint(found)) = &endpoint.host_identifier else {
        return None;
    };
    let standard::Address::SocketAddress(socket) = found.address.as_ref()?.address.as_ref()?;
    let socket_address::PortSpecifier::PortValue(port) = socket.port_specifier.as_ref()?;
    Some((socket.address.clone(), u16::try_from(*port).ok()?))
}
