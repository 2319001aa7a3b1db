//! The Maintenance and Cluster services: what there is to say about the only member.

use etcd_client::{
    AlarmAction,
    proto::{
        PbAlarmRequest, PbAlarmResponse, PbClusterService, PbDefragmentRequest,
        PbDefragmentResponse, PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest,
        PbHashKvResponse, PbHashRequest, PbHashResponse, PbMaintenanceService, PbMember,
        PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest, PbMemberListResponse,
        PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
        PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse, PbMoveLeaderRequest,
        PbMoveLeaderResponse, PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest,
        PbStatusResponse,
    },
};
use futures::stream;
use tonic::{Request, Response, Status, async_trait};

use super::{Services, not_here};
use crate::store::embedded::core::RAFT_TERM;

/// The etcd whose behaviour this is; what follows the `+` says that it is not one.
const VERSION: &str = "3.4.0+quaestor";

impl Services {
    /// The newest revision.
    fn revision(&self) -> i64 {
        self.core.with(|state, _| state.map.revision())
    }
}

#[async_trait]
impl PbMaintenanceService for Services {
    async fn alarm(
        &self,
        request: Request<PbAlarmRequest>,
    ) -> Result<Response<PbAlarmResponse>, Status> {
        if request.into_inner().action == AlarmAction::Activate as i32 {
            return Err(not_here("alarms"));
        }
        // There never is one to list or to disarm.
        Ok(Response::new(PbAlarmResponse {
            header: self.core.header(self.revision()),
            alarms: Vec::new(),
        }))
    }

    async fn status(
        &self,
        _: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let (revision, (kept, newest)) = self
            .core
            .with(|state, _| (state.map.revision(), state.map.size()));
        // There is no raft log; every revision stands for an entry.
        let index = revision.unsigned_abs();
        Ok(Response::new(PbStatusResponse {
            header: self.core.header(revision),
            version: VERSION.to_owned(),
            db_size: kept,
            db_size_in_use: newest,
            leader: self.core.member,
            raft_index: index,
            raft_applied_index: index,
            raft_term: RAFT_TERM,
            ..PbStatusResponse::default()
        }))
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        // Nothing to do, and, as in etcd, no header.
        Ok(Response::new(PbDefragmentResponse { header: None }))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Err(not_here("hash"))
    }

    async fn hash_kv(
        &self,
        _: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        Err(not_here("hash"))
    }

    type SnapshotStream = stream::Empty<Result<PbSnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(not_here("snapshots"))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(not_here("second member"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(not_here("downgrades"))
    }
}

#[async_trait]
impl PbClusterService for Services {
    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Err(not_here("second member"))
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        Err(not_here("second member"))
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        Err(not_here("second member"))
    }

    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let member = PbMember {
            id: self.core.member,
            name: "embedded".to_owned(),
            client_ur_ls: vec![format!("http://{}", self.address)],
            ..PbMember::default()
        };
        Ok(Response::new(PbMemberListResponse {
            header: self.core.header(self.revision()),
            members: vec![member],
        }))
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        Err(not_here("second member"))
    }
}
