//! `quaestor.v1.XdsStatus`: which stock clients are connected.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::super::access;
use crate::{
    balancer::xds::{Assigned, Connected, Xds},
    plan::{access::Deed, xds::Subscription},
    proto::v1::{
        self as wire,
        xds_status_server::{XdsStatus, XdsStatusServer},
    },
};

/// The service.
pub(in super::super) fn service(xds: Xds) -> XdsStatusServer<impl XdsStatus> {
    XdsStatusServer::new(Service(xds))
}

struct Service(Xds);

#[tonic::async_trait]
impl XdsStatus for Service {
    async fn list_clients(
        &self,
        request: Request<wire::ListXdsClientsRequest>,
    ) -> Result<Response<wire::ListXdsClientsResponse>, Status> {
        access::check(&request, Deed::SeeClients)?;
        let clients = self.0.clients().into_iter().map(client).collect();
        Ok(Response::new(wire::ListXdsClientsResponse { clients }))
    }
}

fn client(connected: Connected) -> wire::XdsClient {
    let subscriptions = connected.subscriptions.into_iter();
    let subscription = |(known, newest): (Subscription, Option<Arc<Assigned>>)| {
        let endpoints = newest.as_ref().map_or(0, |newest| newest.in_use().count());
        wire::XdsSubscription {
            service: known.name.to_string(),
            version: newest.map_or(0, |newest| newest.version),
            sent: known.sent.unwrap_or_default(),
            acknowledged: known.acknowledged.unwrap_or_default(),
            endpoints: u32::try_from(endpoints).unwrap_or(u32::MAX),
        }
    };
    wire::XdsClient {
        node_id: connected.who.node,
        node_cluster: connected.who.cluster,
        user_agent: connected.who.agent,
        connected_millis: u64::try_from(connected.age.as_millis()).unwrap_or(u64::MAX),
        subscriptions: subscriptions.map(subscription).collect(),
        refusals: connected.refusals,
        last_refusal: connected.last_refusal,
    }
}
