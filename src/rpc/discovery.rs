//! `Quaestor.ServiceDiscovery.ServiceDiscoveryGrpc`, as quaestor-mini-cluster's clients know it.
//!
//! Names match exactly: the ancestor's `DiscoverServices` also found names that begin with the one
//! asked for, which nobody can want.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::access;
use crate::{
    host::Host,
    proto::service_discovery::{
        DiscoverServicesRequest, DiscoverServicesResponse, ServiceLocationMsg,
        service_discovery_grpc_server::{ServiceDiscoveryGrpc, ServiceDiscoveryGrpcServer},
    },
    view::{Directory, Endpoint, Refusal},
};

/// The service, answering from `directory`; questions have `most` bytes at most.
pub(super) fn service(
    directory: Arc<Directory>,
    host: Host,
    most: usize,
) -> ServiceDiscoveryGrpcServer<impl ServiceDiscoveryGrpc> {
    ServiceDiscoveryGrpcServer::new(Discovery { directory, host }).max_decoding_message_size(most)
}

struct Discovery {
    directory: Arc<Directory>,
    host: Host,
}

impl Discovery {
    /// The question, if its caller may ask it.
    fn admitted(
        &self,
        request: Request<DiscoverServicesRequest>,
    ) -> Result<DiscoverServicesRequest, Status> {
        let caller = access::caller(&request);
        let request = request.into_inner();
        let admitted = self.directory.admit(&request.service_name, &caller);
        admitted.map_err(super::refusal::view)?;
        Ok(request)
    }

    fn answer(
        &self,
        request: &DiscoverServicesRequest,
        found: Result<Vec<Arc<Endpoint>>, Refusal>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        let found = found.map_err(super::refusal::view)?;
        let now = self.host.clock.now();
        found.iter().for_each(|endpoint| endpoint.note_named(now));
        let location = |endpoint: &Arc<Endpoint>| ServiceLocationMsg {
            scope: String::new(),
            service_name: request.service_name.clone(),
            host_name: endpoint.host().to_owned(),
            port: i32::from(endpoint.port()),
        };
        Ok(Response::new(DiscoverServicesResponse {
            service_locations: found.iter().map(location).collect(),
        }))
    }
}

#[tonic::async_trait]
impl ServiceDiscoveryGrpc for Discovery {
    async fn discover_services(
        &self,
        request: Request<DiscoverServicesRequest>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        let request = self.admitted(request)?;
        let seed = self.host.entropy.bits();
        let found = self
            .directory
            .random(&request.service_name, at_most(&request), seed);
        self.answer(&request, found)
    }

    async fn discover_top_services(
        &self,
        request: Request<DiscoverServicesRequest>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        let request = self.admitted(request)?;
        let now = self.host.clock.now();
        let found = self
            .directory
            .top(&request.service_name, at_most(&request), now);
        self.answer(&request, found)
    }
}

/// How many locations are wanted: 0 or less means all.
fn at_most(request: &DiscoverServicesRequest) -> usize {
    match usize::try_from(request.max_count) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(count) => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_and_a_negative_one_mean_all() {
        for (max_count, expected) in [
            (0, usize::MAX),
            (-1, usize::MAX),
            (i32::MIN, usize::MAX),
            (1, 1),
            (7, 7),
        ] {
            let request = DiscoverServicesRequest {
                max_count,
                ..Default::default()
            };
            assert_eq!(at_most(&request), expected, "{max_count}");
        }
    }
}
