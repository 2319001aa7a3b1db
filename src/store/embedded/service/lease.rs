//! The Lease service.

use std::sync::Arc;

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Services;
use crate::store::embedded::{core::Core, lease::Leases, refusal::Refusal};

#[async_trait]
impl PbLeaseService for Services {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.into_inner();
        let random = self.core.entropy.bits();
        let (id, ttl, revision) = self.core.with(|state, now| {
            let id = match request.id {
                0 => free_id(&state.leases, random),
                id => id,
            };
            let ttl = state.leases.grant(id, request.ttl, now)?;
            Ok::<_, Refusal>((id, ttl, state.map.revision()))
        })?;
        Ok(Response::new(PbLeaseGrantResponse {
            header: self.core.header(revision),
            id,
            ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let request = request.into_inner();
        let revision = self.core.with(|state, _| {
            let revoked = state.revoke(request.id);
            revoked.map(|()| state.map.revision())
        })?;
        Ok(Response::new(PbLeaseRevokeResponse {
            header: self.core.header(revision),
        }))
    }

    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let keeper = Keeper {
            core: self.core.clone(),
            stop: self.stop.clone(),
        };
        let requests = request.into_inner();
        let answers = stream::try_unfold((keeper, requests), |(keeper, mut requests)| async {
            let answer = keeper.answer(&mut requests).await?;
            Ok(answer.map(|answer| (answer, (keeper, requests))))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let answer = self.core.with(|state, now| {
            let mut answer = PbLeaseTimeToLiveResponse {
                header: self.core.header(state.map.revision()),
                id: request.id,
                ttl: -1,
                ..PbLeaseTimeToLiveResponse::default()
            };
            if let Some(lease) = state.leases.get(request.id) {
                let left = lease.end.since(now).as_secs();
                answer.ttl = i64::try_from(left).unwrap_or(i64::MAX);
                answer.granted_ttl = lease.ttl;
                if request.keys {
                    answer.keys = lease.keys.iter().map(|key| key.to_vec()).collect();
                }
            }
            answer
        });
        Ok(Response::new(answer))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let answer = self.core.with(|state, _| PbLeaseLeasesResponse {
            header: self.core.header(state.map.revision()),
            leases: state.leases.ids().map(|id| PbLeaseStatus { id }).collect(),
        });
        Ok(Response::new(answer))
    }
}

/// A positive id that no lease has, from random bits.
fn free_id(leases: &Leases, random: u64) -> i64 {
    let mut id = (random >> 1).cast_signed();
    while id == 0 || leases.get(id).is_some() {
        id = id.checked_add(1).unwrap_or(1);
    }
    id
}

/// Answers one stream of keep-alives.
struct Keeper {
    core: Arc<Core>,
    stop: CancellationToken,
}

impl Keeper {
    /// Renews the lease that the next request names; none at the end of the requests. An unknown
    /// lease is answered with a time to live of 0.
    async fn answer(
        &self,
        requests: &mut Streaming<PbLeaseKeepAliveRequest>,
    ) -> Result<Option<PbLeaseKeepAliveResponse>, Status> {
        let request = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Refusal::Stopped.into()),
            request = requests.message() => request?,
        };
        Ok(request.map(|request| {
            self.core.with(|state, now| PbLeaseKeepAliveResponse {
                header: self.core.header(state.map.revision()),
                id: request.id,
                ttl: state.leases.renew(request.id, now).unwrap_or(0),
            })
        }))
    }
}
