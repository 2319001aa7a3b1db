//! `Quaestor.ProcessAdministration.ProcessAdministrationGrpc`: cancelling the requests of a user.

use tonic::{Request, Response, Status};

use super::{Owner, Requests};
use crate::proto::process_admin::{
    CancelRequest, CancelResponse,
    process_administration_grpc_server::{
        ProcessAdministrationGrpc, ProcessAdministrationGrpcServer,
    },
};

/// The service for `requests`.
pub(super) fn service(
    requests: Requests,
) -> ProcessAdministrationGrpcServer<impl ProcessAdministrationGrpc> {
    ProcessAdministrationGrpcServer::new(Admin(requests))
}

struct Admin(Requests);

#[tonic::async_trait]
impl ProcessAdministrationGrpc for Admin {
    /// Like quaestor-mini-cluster, asks neither for the service name nor for the password. Succeeds
    /// when there was something to cancel.
    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        let success = self.0.cancel(&Owner {
            user_name: request.user_name,
            environment: request.environment,
        });
        Ok(Response::new(CancelResponse { success }))
    }
}
