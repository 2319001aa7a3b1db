//! `quaestor.v1.Balancer`: where to send the next request, for clients of our own.

use futures::{StreamExt as _, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{access, refusal::refused, trace};
use crate::{
    balancer::answers::{self, Answers, Changes, Seen},
    proto::v1::{
        self as wire,
        balancer_server::{Balancer, BalancerServer},
    },
};

/// The service, answering by `answers` until `stop`, which ends the watches.
pub(super) fn service(answers: Answers, stop: CancellationToken) -> BalancerServer<impl Balancer> {
    let most = answers.limits().message;
    BalancerServer::new(Service { answers, stop }).max_decoding_message_size(most)
}

struct Service {
    answers: Answers,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Balancer for Service {
    async fn pick(
        &self,
        request: Request<wire::PickRequest>,
    ) -> Result<Response<wire::PickResponse>, Status> {
        let span = trace::serve(
            &request,
            "quaestor.v1.Balancer/Pick",
            &request.get_ref().service,
        );
        let answer = span.in_scope(|| self.answer(request));
        trace::ended(&span, &answer);
        answer.map(Response::new)
    }

    async fn report_outcome(
        &self,
        request: Request<wire::ReportOutcomeRequest>,
    ) -> Result<Response<wire::ReportOutcomeResponse>, Status> {
        let caller = access::caller(&request);
        let request = request.into_inner();
        (self.answers.admit(&request.service, &caller)).map_err(refused)?;
        let tallies = request.outcomes.into_iter().map(|outcome| {
            let place = outcome.address.unwrap_or_default();
            answers::Tally {
                host: place.host,
                port: place.port,
                successes: outcome.successes,
                failures: outcome.failures,
            }
        });
        let reported = (self.answers).report(&request.service, &request.client, tallies.collect());
        reported.map_err(refused)?;
        Ok(Response::new(wire::ReportOutcomeResponse {}))
    }

    type WatchStream = BoxStream<'static, Result<wire::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (caller, service) = (access::caller(&request), &request.get_ref().service);
        self.answers.admit(service, &caller).map_err(refused)?;
        let watching = self.answers.watch(service);
        let changes = watching.map_err(refused)?.until(self.stop.clone());
        let told = changes.map(|changes| changes.map(response).map_err(refused));
        Ok(Response::new(told.boxed()))
    }
}

impl Service {
    /// Answers a pick.
    fn answer(&self, request: Request<wire::PickRequest>) -> Result<wire::PickResponse, Status> {
        let caller = access::caller(&request);
        let request = request.into_inner();
        (self.answers.admit(&request.service, &caller)).map_err(refused)?;
        let excluded = request.exclude.into_iter();
        let picked = self.answers.pick(&answers::Request {
            service: request.service,
            count: request.count,
            attributes: request.attributes,
            affinity_key: request.affinity_key,
            excluded: excluded.map(|place| (place.host, place.port)).collect(),
        });
        let picked = picked.map_err(refused)?;
        Ok(wire::PickResponse {
            endpoints: picked.iter().map(endpoint).collect(),
            view_age_millis: self.answers.age_millis(),
        })
    }
}

fn response(changes: Changes) -> wire::WatchResponse {
    let address = |(host, port): &(String, u16)| wire::Address {
        host: host.clone(),
        port: u32::from(*port),
    };
    wire::WatchResponse {
        complete: changes.complete,
        changed: changes.changed.iter().map(endpoint).collect(),
        removed: changes.removed.iter().map(address).collect(),
        view_age_millis: changes.age_millis,
    }
}

fn endpoint(seen: &Seen) -> wire::Endpoint {
    let (endpoint, labels) = (&seen.endpoint, seen.labels.iter());
    wire::Endpoint {
        address: Some(wire::Address {
            host: endpoint.host().to_owned(),
            port: u32::from(endpoint.port()),
        }),
        instance: endpoint.instance().to_string(),
        node: endpoint.node().name().to_string(),
        labels: labels.map(|(k, v)| (k.clone(), v.clone())).collect(),
        load: Some(wire::Load {
            rate: seen.load.known_rate,
            capacity: seen.load.counts.map(|counts| counts.capacity),
            current_requests: seen.load.counts.map(|counts| counts.current),
            effective: seen.effective_load,
        }),
        tls: false,
        suspect: seen.suspect,
        ejected: seen.ejected,
    }
}

#[cfg(test)]
mod tests;
