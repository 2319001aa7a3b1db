//! `quaestor.v1.DrainProof`: what an agent asks balancers before it stops what they answered with.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tonic::{Code, Request, Response, Status};

use super::{
    access,
    connect::{Timeouts, connect_lazily, refusal, words},
};
use crate::{
    agent::witnesses::Witnesses,
    balancer::witness::Witness,
    host::Network,
    model::Name,
    plan::{access::Deed, proof::Question},
    proto::v1::{
        self as wire,
        drain_proof_client::DrainProofClient,
        drain_proof_server::{DrainProof, DrainProofServer},
    },
};

/// The largest question that is read, in bytes: an id for each of a thousand balancers.
const LARGEST_REQUEST: usize = 64 * 1024;

/// How much longer than the window an answer may take.
const WAY: Duration = Duration::from_millis(200);

/// The service.
pub(super) fn service(witness: Witness) -> DrainProofServer<impl DrainProof> {
    DrainProofServer::new(Service(witness)).max_decoding_message_size(LARGEST_REQUEST)
}

struct Service(Witness);

#[tonic::async_trait]
impl DrainProof for Service {
    async fn testify(
        &self,
        request: Request<wire::TestifyRequest>,
    ) -> Result<Response<wire::TestifyResponse>, Status> {
        access::check(&request, Deed::AskForProof)?;
        let request = request.into_inner();
        let own = self.0.id();
        if request.balancer != own.as_str() {
            return Err(Status::failed_precondition(format!(
                "this is balancer {own}, not {}",
                request.balancer
            )));
        }
        let unreadable = |what: &str| Status::invalid_argument(format!("`{what}` is no name"));
        let node = request.node.parse();
        let instance = request.instance.parse();
        let ids = request.balancers.iter().map(|id| id.parse::<Name>());
        let question = Question {
            whose: (
                node.map_err(|_| unreadable(&request.node))?,
                instance.map_err(|_| unreadable(&request.instance))?,
            ),
            revision: request.revision,
            window: Duration::from_millis(request.window_millis),
            balancers: ids.filter_map(Result::ok).collect(),
        };
        let doubt = self.0.testify(&question).await.err();
        Ok(Response::new(wire::TestifyResponse {
            known: doubt.is_none(),
            doubt: doubt.map(|doubt| doubt.to_string()).unwrap_or_default(),
        }))
    }
}

/// Balancers, as an agent asks them: over a connection of its own each time, as stops are rare and balancers many.
pub struct Balancers(pub Arc<dyn Network>);

impl Witnesses for Balancers {
    fn ask(
        &self,
        balancer: &Name,
        address: &str,
        question: &Question,
    ) -> BoxFuture<'static, Result<(), String>> {
        let (node, instance) = &question.whose;
        let patience = question.window + WAY;
        let mut request = Request::new(wire::TestifyRequest {
            balancer: balancer.to_string(),
            instance: instance.to_string(),
            node: node.to_string(),
            revision: question.revision,
            window_millis: u64::try_from(question.window.as_millis()).unwrap_or(u64::MAX),
            balancers: question.balancers.iter().map(Name::to_string).collect(),
        });
        request.set_timeout(patience);
        let channel = connect_lazily(Arc::clone(&self.0), address, Timeouts::question(patience));
        let asking = async move {
            let channel = channel.map_err(|error| error.to_string())?;
            let answer = DrainProofClient::new(channel).testify(request).await;
            match answer.map(Response::into_inner) {
                Ok(wire::TestifyResponse { known: true, .. }) => Ok(()),
                Ok(wire::TestifyResponse { doubt, .. }) => Err(doubt),
                Err(status) if status.code() == Code::Unimplemented => {
                    Err(refusal(&status, "it is too old to know"))
                }
                Err(status) => Err(words(&status)),
            }
        };
        asking.boxed()
    }
}
