//! HTTP/JSON, for clients without gRPC: the balancer's answers on a port of their own.
//!
//! - `routes`: what is served; `query`: questions in URLs
//! - `document`: the same as an OpenAPI document
//! - `json`: endpoints as they are written
//! - `events`: a watch as server-sent events
//! - `problem`: why there is no answer (RFC 9457)
//! - `server`: connections, and their limits

mod document;
mod events;
mod json;
mod problem;
mod query;
mod routes;
mod server;

use std::convert::Infallible;

use tokio_util::sync::CancellationToken;

use crate::{
    balancer::answers::Answers,
    host::{Host, Listener},
};

/// Serves `answers` on `listener` until `stop`; then lets requests end for a short time.
///
/// # Errors
/// None today.
pub async fn serve(
    listener: Box<dyn Listener>,
    answers: Answers,
    host: Host,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let clock = host.clock.clone();
    let router = routes::router(routes::Surface {
        answers: answers.clone(),
        clock,
        stop: stop.clone(),
    });
    server::run(router, &answers, listener, &host, stop).await;
    Ok(())
}

#[cfg(test)]
mod tests;
