//! A worker of one's own, on the worker kit: two requests at a time, each for as long as it is asked to.
//!
//!     cargo run --no-default-features --features worker --example worker -- 127.0.0.1:5201
//!
//! Its manifest says `serviceNames: [Worker]`, `health: {grpc: {}}` and `load: {reportLoad: {}}`.

use std::{error::Error, process, time::Duration};

use quaestor::{
    proto::demo::{
        WorkRequest, WorkResponse,
        demo_worker_server::{DemoWorker, DemoWorkerServer},
    },
    worker::{Call, Kit},
};
use tonic::{Request, Response, Status, transport::Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:5201".to_owned());

    // Callers name their user in the metadata `user-name` and `environment`.
    let kit = Kit::new(["Worker"]).capacity(2).limited();
    Server::builder()
        .layer(kit.layer())
        .add_routes(kit.routes().await)
        .add_service(DemoWorkerServer::new(Worker))
        .serve_with_shutdown(address.parse()?, kit.until(stop()))
        .await?;
    Ok(())
}

struct Worker;

#[tonic::async_trait]
impl DemoWorker for Worker {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let cancelled = Call::of(&request).unwrap_or_default().token();
        let work = Duration::from_millis(request.get_ref().millis.into());
        tokio::select! {
            () = tokio::time::sleep(work) => Ok(Response::new(WorkResponse {
                instance: std::env::var("QUAESTOR_INSTANCE").unwrap_or_default(),
                pid: process::id(),
            })),
            // Here it would put in order what it has begun.
            () = cancelled.cancelled() => Err(Status::cancelled("cancelled, and all put in order")),
        }
    }
}

/// Resolves when the process is asked to end.
async fn stop() {
    #[cfg(unix)]
    let terminate = async {
        let listening = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        match listening {
            Ok(mut terminations) => drop(terminations.recv().await),
            Err(error) => {
                eprintln!("cannot listen for SIGTERM: {error}");
                std::future::pending().await
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
