//! The dashboard: a page that shows the cluster as it is and changes, and what it asks for.
//!
//! - `page`: the page itself
//! - `api`: what it is told; `stream`: the same as it changes, and what instances print
//! - `visitor`: who looks, and what they may
//! - `deeds`: restart and drain
//! - [`logs`]: where lines come from

mod api;
mod deeds;
pub mod logs;
mod page;
mod stream;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use tokio_util::sync::CancellationToken;

use self::logs::Logs;
use crate::{
    host::Clock,
    model::Name,
    operator::{Operator, board::Board},
};

/// What a dashboard shows, and may be asked to do.
pub struct Dashboard {
    /// What it shows.
    pub board: Board,
    /// The cluster.
    pub cluster: Name,
    /// What the process is, in one word for people.
    pub role: &'static str,
    /// Where it gets what instances print; none: nowhere.
    pub logs: Option<Arc<dyn Logs>>,
    /// Who answers why, and restarts and drains; none: nobody.
    pub operator: Option<Operator>,
    /// What somebody has to know who restarts and drains; none: nobody may.
    pub token: Option<String>,
    /// Whether it can be reached from this host only.
    pub is_local: bool,
}

/// The same, with what answers take.
struct Desk {
    dashboard: Dashboard,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

/// Its paths.
pub(super) fn router(
    dashboard: Dashboard,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Router {
    let desk = Desk {
        dashboard,
        clock,
        stop,
    };
    Router::new()
        .route("/api/about", get(api::about))
        .route("/api/board", get(api::board))
        .route("/api/course", get(api::course))
        .route("/api/changes", get(stream::changes))
        .route("/api/logs", get(stream::logs))
        .route("/api/why", get(api::why))
        .route("/api/restart", post(deeds::restart))
        .route("/api/node", post(deeds::node))
        .with_state(Arc::new(desk))
        .merge(page::router())
}
