//! What the cluster and its users ask of every worker process, for gRPC servers built with tonic.
//!
//! Three lines make a server a good citizen: balancers send requests where it is not busy, agents know
//! whether it is healthy and wait for its work before they stop it, and users can cancel what they have
//! asked for (`quaestor cancel`).
//!
//! ```no_run
//! use quaestor::{
//!     proto::demo::{
//!         WorkRequest, WorkResponse,
//!         demo_worker_server::{DemoWorker, DemoWorkerServer},
//!     },
//!     worker::{Call, Kit},
//! };
//! use tonic::{Request, Response, Status, transport::Server};
//!
//! struct Answering;
//!
//! #[tonic::async_trait]
//! impl DemoWorker for Answering {
//!     async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
//!         // Optional: a handler that asks for the token ends by itself when its user cancels the request.
//!         // One that does not is dropped in the middle, and its caller told CANCELLED.
//!         let cancelled = Call::of(&request).map(|call| call.token());
//!         // ...
//!         # drop(cancelled);
//!         Ok(Response::new(WorkResponse::default()))
//!     }
//! }
//!
//! # async fn stop() {}
//! # async fn serve() -> Result<(), tonic::transport::Error> {
//! let kit = Kit::new(["Worker"]).capacity(2); // the names that clients ask for
//! Server::builder()
//!     .layer(kit.layer()) // counts requests
//!     .add_routes(kit.routes().await) // health, load, cancelling
//!     .add_service(DemoWorkerServer::new(Answering))
//!     .serve_with_shutdown("0.0.0.0:5201".parse().unwrap(), kit.until(stop()))
//!     .await
//! # }
//! ```
//!
//! `examples/worker.rs` is a whole one. A worker needs neither store nor balancer: the feature `worker` alone,
//! without default features, has this module and [`proto`](crate::proto), and depends on no etcd.
//!
//! - [`Kit`]: what one process serves
//! - [`Layer`]: counts the calls of other services, and ends those that are cancelled
//! - [`Requests`]: the requests that are worked on, for those who count by themselves
//! - [`Health`]: whether it is healthy
//! - [`Machine`]: what the kit knows of the host
//! - `load`, `orca`, `admin`: `LoadReportingGrpc`, `OpenRcaService` and `ProcessAdministrationGrpc`
//! - `server`, `demo`: a server within our own limits, and a worker to try things out with; not part of the
//!   feature `worker`

mod admin;
#[cfg(feature = "cluster")]
pub mod demo;
mod health;
mod kit;
mod layer;
mod load;
mod machine;
mod orca;
mod requests;
#[cfg(feature = "cluster")]
mod server;

pub use health::Health;
pub use kit::Kit;
pub use layer::{Counted, Layer};
pub use machine::{Machine, Processors, System};
pub use requests::{Call, Owner, Requests, Running};
#[cfg(feature = "cluster")]
pub use server::{Server, Unmeasured};

#[cfg(test)]
#[cfg(feature = "cluster")]
mod tests;
