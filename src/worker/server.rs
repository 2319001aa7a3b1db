//! A worker's gRPC server: health, load reports and cancelling, with the worker's own services added.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::server::Router,
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{Requests, admin, load};
use crate::{
    grpc,
    host::{Clock, Listener},
};

/// The server of one worker process.
pub struct Server {
    router: Router,
    health: Health,
    clock: Arc<dyn Clock>,
}

/// Says whether a worker is healthy. Cheap to clone; clones speak of the same worker.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    names: BTreeSet<String>,
}

impl Health {
    /// Answers health checks for each of the worker's names, and the empty one, from now on with
    /// SERVING or NOT_SERVING.
    pub async fn set(&self, serving: bool) {
        let status = match serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in &self.names {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Ends the streams of those who watch it, which would hold up the end of the server.
    async fn end_watches(&mut self) {
        for name in &self.names {
            self.reporter.clear_service_status(name).await;
        }
    }
}

impl Server {
    /// A healthy worker that serves `names` (and the empty name, which stands for the process) and
    /// works on `requests`.
    pub async fn new(
        names: impl IntoIterator<Item = String>,
        requests: Requests,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let names: BTreeSet<String> = names.into_iter().chain([String::new()]).collect();
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let router = grpc::server()
            .add_service(health_service)
            .add_service(load::service(
                names.clone(),
                requests.clone(),
                Arc::clone(&clock),
            ))
            .add_service(admin::service(requests));
        let health = Health { reporter, names };
        health.set(true).await;
        Self {
            router,
            health,
            clock,
        }
    }

    /// Adds one of the worker's own services.
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
        self.router = self.router.add_service(service);
        self
    }

    /// Its health.
    pub fn health(&self) -> Health {
        self.health.clone()
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
        let mut health = self.health;
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
