//! `quaestor.v1.Tally`: how much a balancer has answered, for those who show a cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use tonic::{Request, Response, Status, transport::Channel};

use super::{
    access,
    connect::{Timeouts, connect_lazily},
};
use crate::{
    balancer::answers::Answers,
    host::Network,
    operator::board::{Count, Counts, Refusing},
    plan::access::Deed,
    proto::v1::{
        self as wire,
        tally_client::TallyClient,
        tally_server::{Tally, TallyServer},
    },
};

/// How long a balancer may take to answer: longer, and it counts as one that does not tell.
const PATIENCE: Duration = Duration::from_secs(2);

/// The service, of the balancer that gives these answers.
pub(super) fn service(answers: Answers) -> TallyServer<impl Tally> {
    TallyServer::new(Service(answers))
}

struct Service(Answers);

#[tonic::async_trait]
impl Tally for Service {
    async fn count(
        &self,
        request: Request<wire::CountRequest>,
    ) -> Result<Response<wire::CountResponse>, Status> {
        access::check(&request, Deed::SeeCounts)?;
        let count = count(&self.0);
        let (_, refused) = self.0.picks();
        Ok(Response::new(wire::CountResponse {
            answered: count.answered,
            refused,
            answered_by_name: count.names.into_iter().collect(),
            xds_refusers: count.refusing.clients,
            xds_refusal: count.refusing.words,
        }))
    }
}

/// What the balancer that gives these answers has counted.
fn count(answers: &Answers) -> Count {
    let clients = answers.xds().into_iter().flat_map(|xds| xds.clients());
    let mut refusing = Refusing::default();
    for client in clients.filter(|client| client.refusals > 0) {
        refusing.clients += 1;
        refusing.words = client.last_refusal;
    }
    let (answered, _) = answers.picks();
    Count {
        answered,
        names: answers.directory().picked(),
        refusing,
    }
}

/// A balancer, as its own process asks it.
pub struct Own(Answers);

impl Own {
    /// The one that gives these answers.
    pub fn new(answers: Answers) -> Self {
        Self(answers)
    }
}

impl Counts for Own {
    fn count(&self, _: &str) -> BoxFuture<'static, Option<Count>> {
        std::future::ready(Some(count(&self.0))).boxed()
    }

    fn keep_only(&self, _: &[String]) {}
}

/// Balancers, as whoever shows a cluster asks them: again and again, over one connection each.
pub struct Balancers {
    network: Arc<dyn Network>,
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Balancers {
    /// Balancers that are reached over `network`.
    pub fn new(network: Arc<dyn Network>) -> Self {
        Self {
            network,
            channels: Mutex::default(),
        }
    }

    /// The connection to the balancer at `address`; none where that is no address.
    fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        let timeouts = Timeouts::question(PATIENCE);
        let channel = connect_lazily(Arc::clone(&self.network), address, timeouts).ok()?;
        channels.insert(address.to_owned(), channel.clone());
        Some(channel)
    }
}

impl Counts for Balancers {
    fn count(&self, address: &str) -> BoxFuture<'static, Option<Count>> {
        let channel = self.channel(address);
        let asking = async move {
            let mut request = Request::new(wire::CountRequest {});
            request.set_timeout(PATIENCE);
            let answer = TallyClient::new(channel?).count(request).await;
            // One that is away or older just does not tell.
            let told = answer.ok()?.into_inner();
            Some(Count {
                answered: told.answered,
                names: told.answered_by_name.into_iter().collect(),
                refusing: Refusing {
                    clients: told.xds_refusers,
                    words: told.xds_refusal,
                },
            })
        };
        asking.boxed()
    }

    fn keep_only(&self, addresses: &[String]) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|address, _| addresses.contains(address));
    }
}
