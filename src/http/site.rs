//! Everything that one process serves by HTTP.

use std::sync::Arc;

use axum::{Router, routing::get};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::{
    dashboard::{self, Dashboard},
    exposition,
    problem::Problem,
    routes,
};
use crate::{
    balancer::answers::Answers,
    host::Host,
    metrics::{Exposition, Part},
};

/// What there is to serve.
pub struct Site {
    /// What the process is made of.
    pub parts: Vec<Part>,
    /// Those of its balancer, where it has one.
    pub answers: Option<Answers>,
    /// What people are shown, if anything is.
    pub dashboard: Option<Dashboard>,
}

/// Its paths.
pub(super) fn router(site: Site, host: &Host, stop: &CancellationToken) -> Router {
    let told = Exposition::new(host, &site.parts);
    let told = match &site.answers {
        Some(answers) => exposition::of_view(told, answers.clone()),
        None => told,
    };
    let own = Router::new()
        .route("/metrics", get(exposition::metrics))
        .with_state(Arc::new(told));
    let own = match site.dashboard {
        Some(shown) => own.merge(dashboard::router(shown, host.clock.clone(), stop.clone())),
        None => own,
    };
    match site.answers {
        Some(answers) => own.merge(routes::router(routes::Surface {
            answers,
            clock: host.clock.clone(),
            stop: stop.clone(),
        })),
        None => own.fallback(async || {
            let detail = "nothing is served at this path";
            Problem::new(StatusCode::NOT_FOUND, "NoSuchPath", detail)
        }),
    }
}
