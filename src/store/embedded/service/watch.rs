//! The Watch service: one stream, its requests and its responses.

use std::{sync::Arc, time::Duration};

use etcd_client::proto::{PbWatchRequest, PbWatchResponse, PbWatchService};
use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Services;
use crate::{
    model::Moment,
    store::embedded::{core::Core, refusal::Refusal, watch::Watchers},
};

/// How long a watcher that asked for it is silent before it is told how far it is, as in etcd; up to
/// a tenth more, so that watchers made together are not told together.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

#[async_trait]
impl PbWatchService for Services {
    type WatchStream = BoxStream<'static, Result<PbWatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let session = Session::new(self.core.clone(), request.into_inner(), self.stop.clone());
        // Polled by the connection, and only while it has room to send: nothing piles up.
        let responses = stream::try_unfold(session, |mut session| async {
            let response = session.next().await?;
            Ok(Some((response, session)))
        });
        Ok(Response::new(responses.boxed()))
    }
}

/// One watch stream.
struct Session {
    core: Arc<Core>,
    /// None once the client has said all: its watchers go on.
    requests: Option<Streaming<PbWatchRequest>>,
    revisions: tokio::sync::watch::Receiver<i64>,
    stop: CancellationToken,
    watchers: Watchers,
    /// When to tell silent watchers how far they are.
    tick: Moment,
}

impl Session {
    fn new(core: Arc<Core>, requests: Streaming<PbWatchRequest>, stop: CancellationToken) -> Self {
        let jitter = PROGRESS_INTERVAL.mul_f64(core.entropy.fraction() / 10.0);
        Self {
            tick: core.clock.now() + PROGRESS_INTERVAL + jitter,
            revisions: core.revisions(),
            requests: Some(requests),
            stop,
            watchers: Watchers::default(),
            core,
        }
    }

    /// The next response; an error ends the stream.
    async fn next(&mut self) -> Result<PbWatchResponse, Status> {
        loop {
            if self.stop.is_cancelled() {
                return Err(Refusal::Stopped.into());
            }
            // One request, then one response: neither can starve the other.
            if !self.watchers.has_answer()
                && let Some(request) = request(&mut self.requests).now_or_never()
            {
                self.handle(request?);
            }
            let response = self.core.with(|state, _| self.watchers.next(&state.map));
            if let Some(mut response) = response {
                self.core.sign(response.header.get_or_insert_default());
                return Ok(response);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                request = request(&mut self.requests) => self.handle(request?),
                // Cannot fail: the sender lives in `core`.
                _ = self.revisions.changed() => {}
                () = self.core.clock.sleep_until(self.tick) => {
                    self.tick = self.core.clock.now() + PROGRESS_INTERVAL;
                    self.core.with(|state, _| self.watchers.tick(&state.map));
                }
            }
        }
    }

    fn handle(&mut self, request: Option<PbWatchRequest>) {
        match request {
            None => self.requests = None,
            Some(PbWatchRequest { request_union }) => {
                // An empty request is ignored, as in etcd.
                if let Some(request) = request_union {
                    self.core
                        .with(|state, _| self.watchers.handle(&state.map, request));
                }
            }
        }
    }
}

/// The next request, or none when there will be no more, which is said once.
async fn request(
    requests: &mut Option<Streaming<PbWatchRequest>>,
) -> Result<Option<PbWatchRequest>, Status> {
    match requests {
        Some(requests) => requests.message().await,
        None => std::future::pending().await,
    }
}
