//! Whether the worker is healthy: `grpc.health.v1.Health`.

use std::{collections::BTreeSet, sync::Arc};

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
}

impl Health {
    /// Of a worker that serves `names`.
    pub(super) fn new(names: Arc<BTreeSet<String>>) -> Self {
        Self {
            reporter: HealthReporter::new(),
            names,
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

    /// Ends the streams of those who watch it, which would hold up the end of the server.
    pub(super) async fn end_watches(&self) {
        let mut reporter = self.reporter.clone();
        for name in self.names.iter() {
            reporter.clear_service_status(name).await;
        }
    }

    pub(super) fn service(&self) -> HealthServer<impl Service> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}
