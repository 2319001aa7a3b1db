//! Whether the worker is healthy: `grpc.health.v1.Health`.

use std::{collections::BTreeSet, sync::Arc};

use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as Service, HealthServer},
    server::{HealthReporter, HealthService},
};

/// Says whether a worker is healthy. Cheap to clone; clones speak of the same worker.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    names: Arc<BTreeSet<String>>,
    ended: CancellationToken,
}

impl Health {
    /// Of a worker that serves `names`.
    pub(super) fn new(names: Arc<BTreeSet<String>>) -> Self {
        Self {
            reporter: HealthReporter::new(),
            names,
            ended: CancellationToken::new(),
        }
    }

    /// Answers health checks for each of the worker's names, and the empty one, from now on with
    /// SERVING or NOT_SERVING.
    pub async fn set(&self, serving: bool) {
        let status = match serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        for name in self.names.iter() {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Cancelled when streams that do not end by themselves are to end.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Ends the streams of those who watch it, or the load, which would hold up the end of the server.
    pub(super) async fn end_watches(&self) {
        self.ended.cancel();
        let mut reporter = self.reporter.clone();
        for name in self.names.iter() {
            reporter.clear_service_status(name).await;
        }
    }

    pub(super) fn service(&self) -> HealthServer<impl Service> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}
