//! `envoy.service.discovery.v3.AggregatedDiscoveryService`: what stock gRPC clients ask that dial `xds:///NAME`.
//!
//! - [`resources`]: listeners, clusters and endpoints, as they are written
//! - [`status`]: who is connected, for `quaestor xds clients`

mod resources;
pub(super) mod status;

use std::{mem, sync::Arc};

use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    access,
    refusal::{refused, status},
};
use crate::{
    balancer::{
        answers::Answers,
        xds::{Connection, Update, Who, Xds},
    },
    model::Caller,
    plan::xds::{Kind, Request as Asked},
    proto::standard::envoy::{
        config::core::v3::{Node, node::UserAgentVersionType},
        service::discovery::v3::{
            DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_server::{
                AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
            },
        },
    },
};

/// The largest request that is read, in bytes: a thousand names of services are some ten kilobytes.
const LARGEST_REQUEST: usize = 128 * 1024;

/// Characters that are kept of what a client says of itself, and of why it refuses: people read it.
const LONGEST_WORDS: usize = 512;

/// The service, until `stop`, which ends the streams. Each takes one of the places that `answers` has for watches.
pub(super) fn service(
    xds: Xds,
    answers: Answers,
    stop: CancellationToken,
) -> AggregatedDiscoveryServiceServer<impl AggregatedDiscoveryService> {
    AggregatedDiscoveryServiceServer::new(Service { xds, answers, stop })
        .max_decoding_message_size(LARGEST_REQUEST)
}

struct Service {
    xds: Xds,
    answers: Answers,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let client = Client {
            caller: access::caller(&request),
            answers: self.answers.clone(),
            is_warned: false,
            _place: self.answers.place().map_err(refused)?,
            connection: self.xds.connect(),
            requests: request.into_inner(),
        };
        let updates = stream::unfold(Some(client), async |client| {
            let mut client = client?;
            let next = client.next().await?;
            let goes_on = next.is_ok().then_some(client);
            Some((next, goes_on))
        });
        let updates = updates.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(updates.boxed()))
    }
}

/// One client. Nothing is made for it before it has room for it, and nothing read before it was answered.
struct Client {
    connection: Connection,
    requests: Streaming<DiscoveryRequest>,
    caller: Caller,
    /// Says what the caller may ask for.
    answers: Answers,
    /// Whether the log has said that it asks for more: each of its words has all names again.
    is_warned: bool,
    _place: OwnedSemaphorePermit,
}

impl Client {
    /// What it is sent next; none once it has gone.
    async fn next(&mut self) -> Option<Result<DiscoveryResponse, Status>> {
        loop {
            if let Some(update) = self.connection.update() {
                return Some(Ok(response(update)));
            }
            tokio::select! {
                request = self.requests.message() => {
                    let request = match request {
                        Ok(request) => request?,
                        Err(failure) if failure.code() == Code::OutOfRange => return Some(Err(too_large(failure.message()))),
                        // One that breaks off has gone as well.
                        Err(_) => return None,
                    };
                    if let Err(refusal) = self.hear(request) {
                        return Some(Err(refusal));
                    }
                }
                () = self.connection.changed() => {}
            }
        }
    }

    fn hear(&mut self, request: DiscoveryRequest) -> Result<(), Status> {
        // Kinds that we do not have are not answered, as the protocol wants it.
        let Some(kind) = resources::kind(&request.type_url) else {
            return Ok(());
        };
        let mut names = request.resource_names;
        // The other names of the stream are none the worse for it: to this caller there is no such service.
        names.retain(|name| match self.answers.admit(name, &self.caller) {
            Ok(()) => true,
            Err(refused) => {
                if !mem::replace(&mut self.is_warned, true) {
                    tracing::warn!("an xDS client is not told of a service: {refused}");
                }
                false
            }
        });
        let asked = Asked {
            kind,
            nonce: request.response_nonce,
            names: names.into_iter().map(Arc::from).collect(),
            refusal: request.error_detail.map(|status| kept(&status.message)),
        };
        let heard = self.connection.hear(request.node.map(who), asked);
        heard.map_err(|why| too_large(why.to_string()))
    }
}

fn too_large(why: impl Into<String>) -> Status {
    status(Code::ResourceExhausted, "TooLarge", why)
}

/// The beginning of a client's words.
fn kept(words: &str) -> String {
    words.chars().take(LONGEST_WORDS).collect()
}

fn who(node: Node) -> Who {
    let version = match node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => format!(" {version}"),
        None => String::new(),
    };
    Who {
        agent: kept(&format!("{}{version}", node.user_agent_name)),
        node: kept(&node.id),
        cluster: kept(&node.cluster),
    }
}

fn response(update: Update) -> DiscoveryResponse {
    let resources = update
        .resources
        .iter()
        .map(|(name, assigned)| match update.kind {
            Kind::Listener => resources::listener(name),
            Kind::Cluster => resources::cluster(name, assigned.weighing),
            Kind::Endpoints => assigned.wire(|assigned| resources::endpoints(name, assigned)),
        });
    DiscoveryResponse {
        version_info: update.version.to_string(),
        resources: resources.collect(),
        type_url: resources::type_url(update.kind).to_owned(),
        nonce: update.nonce.to_string(),
    }
}

#[cfg(test)]
mod tests;
