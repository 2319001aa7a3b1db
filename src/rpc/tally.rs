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
    host::{Host, Network},
    operator::board::Counts,
    plan::access::Deed,
    proto::v1::{
        self as wire,
        tally_client::TallyClient,
        tally_server::{Tally, TallyServer},
    },
};

/// How long a balancer may take to answer: longer, and it counts as one that does not tell.
const PATIENCE: Duration = Duration::from_secs(2);

/// The service, of the balancer on `host`.
pub(super) fn service(host: &Host) -> TallyServer<impl Tally> {
    TallyServer::new(Service(host.clone()))
}

struct Service(Host);

#[tonic::async_trait]
impl Tally for Service {
    async fn count(
        &self,
        request: Request<wire::CountRequest>,
    ) -> Result<Response<wire::CountResponse>, Status> {
        access::check(&request, Deed::SeeCounts)?;
        let (answered, refused) = self.0.metrics.balancer.picks();
        Ok(Response::new(wire::CountResponse { answered, refused }))
    }
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
    fn answered(&self, address: &str) -> BoxFuture<'static, Option<u64>> {
        let channel = self.channel(address);
        let asking = async move {
            let mut request = Request::new(wire::CountRequest {});
            request.set_timeout(PATIENCE);
            let answer = TallyClient::new(channel?).count(request).await;
            // One that is away or older just does not tell.
            Some(answer.ok()?.into_inner().answered)
        };
        asking.boxed()
    }

    fn keep_only(&self, addresses: &[String]) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|address, _| addresses.contains(address));
    }
}
