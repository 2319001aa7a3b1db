//! The serving side of a worker: what the cluster and its users ask of every worker process.
//!
//! - `server`: a gRPC server with all of it, to which a worker adds its own services
//! - `requests`: the requests that are worked on: counted for load reports, cancelled by their user
//! - `load`: `LoadReportingGrpc`: how busy it is
//! - `admin`: `ProcessAdministrationGrpc`: cancelling
//! - [`demo`]: a worker to try things out with
//!
//! Needs neither store nor balancer.

mod admin;
pub mod demo;
mod load;
mod requests;
mod server;

pub use requests::{Owner, Requests, Running};
pub use server::{Health, Server};

#[cfg(test)]
mod tests;
