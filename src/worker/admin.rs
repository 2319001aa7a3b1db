//! `Quaestor.ProcessAdministration.ProcessAdministrationGrpc`: cancelling the requests of a user.

use tonic::{Request, Response, Status};

use super::{Owner, Requests, kit::Verify};
use crate::proto::process_admin::{
    CancelRequest, CancelResponse,
    process_administration_grpc_server::{
        ProcessAdministrationGrpc, ProcessAdministrationGrpcServer,
    },
};

/// The service for `requests`.
pub(super) fn service(
    requests: Requests,
    verify: Verify,
) -> ProcessAdministrationGrpcServer<impl ProcessAdministrationGrpc> {
    ProcessAdministrationGrpcServer::new(Admin { requests, verify })
}

struct Admin {
    requests: Requests,
    verify: Verify,
}

#[tonic::async_trait]
impl ProcessAdministrationGrpc for Admin {
    /// Like quaestor-mini-cluster, does not ask for the service name. Succeeds when there was something to
    /// cancel.
    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        let owner = Owner {
            user_name: request.user_name,
            environment: request.environment,
        };
        if !(self.verify)(&owner, &request.password) {
            return Err(Status::permission_denied("the password is not right"));
        }
        let success = self.requests.cancel(&owner);
        Ok(Response::new(CancelResponse { success }))
    }
}
