//! A worker's gRPC server within our own limits, on a listener and a clock that are given to it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::server::Router,
};
use tower::Layer as _;

use super::{Health, Kit, Machine};
use crate::{
    grpc,
    host::{Clock, Listener},
};

/// The server of one worker process.
pub struct Server {
    router: Router,
    kit: Kit,
    clock: Arc<dyn Clock>,
}

/// A machine of which only the time is known: what runs on it reports the same on every host.
pub struct Unmeasured(pub Arc<dyn Clock>);

impl Machine for Unmeasured {
    fn time(&self) -> Duration {
        let millis = self.0.timestamp().as_millis();
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }
}

impl Server {
    /// A healthy worker that serves what `kit` says.
    pub async fn new(kit: Kit, clock: Arc<dyn Clock>) -> Self {
        Self {
            router: grpc::server().add_routes(kit.routes().await),
            kit,
            clock,
        }
    }

    /// Adds one of the worker's own services, whose calls count.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.router = self.router.add_service(self.kit.layer().layer(service));
        self
    }

    /// Its health.
    pub fn health(&self) -> Health {
        self.kit.health()
    }

    /// Serves on `listener` until `stop`; then says NOT_SERVING, takes no more connections, and lets
    /// requests end for at most `grace`.
    ///
    /// # Errors
    /// When the server ends by itself.
    pub async fn run(
        self,
        listener: Box<dyn Listener>,
        stop: CancellationToken,
        grace: Duration,
    ) -> Result<(), grpc::Error> {
        let drain = CancellationToken::new();
        let health = self.kit.health();
        let tell = async {
            stop.cancelled().await;
            health.set(false).await;
            drain.cancel();
            health.end_watches().await;
            std::future::pending::<Infallible>().await
        };
        let served = grpc::serve(self.router, listener, self.clock, drain.clone(), grace);
        tokio::select! {
            outcome = served => outcome,
            never = tell => match never {},
        }
    }
}
