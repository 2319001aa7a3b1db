//! Servers that count their calls, and say how busy they are by the standard's report.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::BoxStream};
use quaestor::proto::{
    demo::{
        WorkRequest, WorkResponse,
        demo_worker_server::{DemoWorker, DemoWorkerServer},
    },
    standard::xds::{
        data::orca::v3::OrcaLoadReport,
        service::orca::v3::{
            OrcaLoadReportRequest,
            open_rca_service_server::{OpenRcaService, OpenRcaServiceServer},
        },
    },
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// A server that answers with its name. Ends, with its connections, when dropped.
pub struct Backend {
    pub address: SocketAddr,
    pub calls: Arc<Calls>,
    runtime: Option<Runtime>,
}

/// What it has seen.
#[derive(Default)]
pub struct Calls {
    name: String,
    pub count: AtomicU64,
    pub last: Mutex<Option<Instant>>,
}

impl Backend {
    /// Starts one for a slot, at this address, or at any.
    pub fn start(slot: u16, address: Option<SocketAddr>) -> Self {
        let calls = Arc::new(Calls {
            name: format!("worker-{slot}"),
            ..Calls::default()
        });
        // Of its own, so that nothing of it outlives it.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let service = DemoWorkerServer::new(Counting(Arc::clone(&calls)));
        let reporting = OpenRcaServiceServer::new(Reporting(utilization(slot)));
        let serving = Server::builder()
            .add_service(service)
            .add_service(reporting)
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(async { serving.await.unwrap() });
        Self {
            address,
            calls,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for what runs, which is not much: afterwards its port is free.
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

struct Counting(Arc<Calls>);

#[tonic::async_trait]
impl DemoWorker for Counting {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        self.0.count.fetch_add(1, Relaxed);
        *self.0.last.lock().unwrap() = Some(Instant::now());
        let work = Duration::from_millis(request.into_inner().millis.into());
        tokio::time::sleep(work).await;
        Ok(Response::new(WorkResponse {
            instance: self.0.name.clone(),
            pid: 0,
        }))
    }
}

/// How busy a slot says that it is, by the standard's load report: each is twice as busy as the one before.
fn utilization(slot: u16) -> f64 {
    0.2 * f64::from(1 << slot.min(2))
}

/// Tells how busy it is, and that it has a hundred requests a second.
struct Reporting(f64);

#[tonic::async_trait]
impl OpenRcaService for Reporting {
    type StreamCoreMetricsStream = BoxStream<'static, Result<OrcaLoadReport, Status>>;

    async fn stream_core_metrics(
        &self,
        _: Request<OrcaLoadReportRequest>,
    ) -> Result<Response<Self::StreamCoreMetricsStream>, Status> {
        let report = OrcaLoadReport {
            rps_fractional: 100.0,
            application_utilization: self.0,
            ..OrcaLoadReport::default()
        };
        let ticks = tokio::time::interval(Duration::from_millis(500));
        let reports = IntervalStream::new(ticks).map(move |_| Ok(report.clone()));
        Ok(Response::new(reports.boxed()))
    }
}
