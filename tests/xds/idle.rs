//! A client that waits for what it is told, and says that it has taken it, or does not.

use quaestor::proto::standard::envoy::service::discovery::v3::{
    DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// One such client.
pub struct Idle {
    name: String,
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

/// The kind of resource that says where the instances of a service are.
pub const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

impl Idle {
    /// Subscribes to the endpoints of `Worker`, and takes what it is told first.
    pub async fn connect(channel: Channel) -> Self {
        let mut idle = Self::subscribe(channel, "Worker").await;
        idle.told().await;
        idle
    }

    /// Subscribes to the endpoints of a service.
    pub async fn subscribe(channel: Channel, name: &str) -> Self {
        let (requests, responses) = open(channel).await.unwrap();
        requests.send(request(name, "")).await.unwrap();
        Self {
            name: name.to_owned(),
            requests,
            responses,
        }
    }

    /// Waits for the next word, and takes it.
    pub async fn told(&mut self) {
        assert!(self.take().await.is_some(), "the balancer has ended");
    }

    /// Takes whatever it is told, until the balancer ends.
    pub async fn follow(mut self) {
        while self.take().await.is_some() {}
    }

    /// The next word, which is taken; none once the balancer has ended.
    pub async fn take(&mut self) -> Option<DiscoveryResponse> {
        let response = self.responses.message().await.ok().flatten()?;
        assert_eq!(
            (response.type_url.as_str(), response.resources.len()),
            (ENDPOINTS, 1)
        );
        let taken = self.requests.send(request(&self.name, &response.nonce));
        taken.await.ok()?;
        Some(response)
    }
}

/// A stream on which nothing was said yet.
pub async fn open(
    channel: Channel,
) -> Result<(mpsc::Sender<DiscoveryRequest>, Streaming<DiscoveryResponse>), Status> {
    let (requests, asked) = mpsc::channel(8);
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let asked = ReceiverStream::new(asked);
    let responses = client.stream_aggregated_resources(asked).await?;
    Ok((requests, responses.into_inner()))
}

/// What a client says that wants to know where the instances of a service are, or has taken what it was told.
pub fn request(name: &str, nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: ENDPOINTS.to_owned(),
        resource_names: vec![name.to_owned()],
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    }
}
