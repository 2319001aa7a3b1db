//! What is served by HTTP, on a port of its own:
//!
//! - `site`: everything that one process serves there
//! - `exposition`: `/metrics`, for Prometheus
//! - [`dashboard`]: the page for people
//!
//! HTTP/JSON, for clients without gRPC: the balancer's answers.
//!
//! - `routes`: what is served; `query`: questions in URLs
//! - `document`: the same as an OpenAPI document
//! - `json`: endpoints as they are written
//! - `events`: a watch as server-sent events
//! - `problem`: why there is no answer (RFC 9457)
//! - `server`: connections, and their limits

pub mod dashboard;
mod document;
mod events;
mod exposition;
mod json;
mod problem;
pub mod query;
mod routes;
mod server;
mod site;

use std::convert::Infallible;

use tokio_util::sync::CancellationToken;

pub use self::site::Site;
use crate::host::{Host, Listener};

/// Serves `site` on `listener` until `stop`; then lets requests end for a short time.
///
/// # Errors
/// None today.
pub async fn serve(
    listener: Box<dyn Listener>,
    site: Site,
    host: Host,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let door = server::Door::of(site.answers.clone());
    let router = site::router(site, &host, &stop);
    server::run(router, door, listener, &host, stop).await;
    Ok(())
}

#[cfg(test)]
mod tests;
