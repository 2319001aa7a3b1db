//! A client that waits for what it is told, and says that it has taken it, or does not.

use quaestor::proto::standard::envoy::service::discovery::v3::{
    DiscoveryRequest, DiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// One such client.
pub struct Idle {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

impl Idle {
    /// Subscribes to the endpoints of `Worker`, and takes what it is told first.
    pub async fn connect(channel: Channel) -> Self {
        let (requests, asked) = mpsc::channel(8);
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        requests.send(Self::request("")).await.unwrap();
        let responses = client
            .stream_aggregated_resources(ReceiverStream::new(asked))
            .await;
        let responses = responses.unwrap().into_inner();
        let mut idle = Self {
            requests,
            responses,
        };
        idle.told().await;
        idle
    }

    fn request(nonce: &str) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: ENDPOINTS.to_owned(),
            resource_names: vec!["Worker".to_owned()],
            response_nonce: nonce.to_owned(),
            ..DiscoveryRequest::default()
        }
    }

    /// Waits for the next word, and takes it.
    pub async fn told(&mut self) {
        assert!(self.take().await, "the balancer has ended");
    }

    /// Takes whatever it is told, until the balancer ends.
    pub async fn follow(mut self) {
        while self.take().await {}
    }

    async fn take(&mut self) -> bool {
        let Ok(Some(response)) = self.responses.message().await else {
            return false;
        };
        assert_eq!(
            (response.type_url.as_str(), response.resources.len()),
            (ENDPOINTS, 1)
        );
        let taken = self.requests.send(Self::request(&response.nonce));
        taken.await.is_ok()
    }
}
