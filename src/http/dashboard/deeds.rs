//! What the page may be asked to do, by those who know the token.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::json;

use super::{
    Desk, api,
    visitor::{Query, Visitor},
};
use crate::{
    http::{problem::Problem, routes::encode},
    model::Name,
    operator::{Error, Operator},
};

/// New processes for a service or an instance, as `quaestor restart` makes them.
pub(super) async fn restart(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Problem> {
    let operator = admitted(&desk, &visitor)?;
    let target: String = query.need("target")?;
    let asked = operator.restart(&target).await.map_err(refused)?;
    tracing::info!(target, "a restart was asked for in the dashboard");
    Ok(api::answer(encode(
        &json!({"service": asked.service, "generation": asked.generation}),
    )))
}

/// Drains a node, cordons it, or opens it again.
pub(super) async fn node(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Problem> {
    let operator = admitted(&desk, &visitor)?;
    let (name, deed): (Name, String) = (query.need("name")?, query.need("do")?);
    let (cordoned, draining) = match deed.as_str() {
        "drain" => (None, true),
        "cordon" => (Some(true), false),
        "uncordon" => (Some(false), false),
        _ => return Err(Problem::bad_request("`do` is drain, cordon or uncordon")),
    };
    let change = operator.change_node(&name, |spec| {
        spec.cordoned = cordoned.unwrap_or(spec.cordoned);
        spec.draining = draining;
    });
    let changed = change.await.map_err(refused)?;
    tracing::info!(node = %name, deed, "asked for in the dashboard");
    Ok(api::answer(encode(&json!({"changed": changed}))))
}

/// Who does what the visitor asks for.
fn admitted<'a>(desk: &'a Desk, visitor: &Visitor) -> Result<&'a Operator, Problem> {
    let dashboard = &desk.dashboard;
    let forbidden = |detail: &str| Problem::new(StatusCode::FORBIDDEN, "NoToken", detail);
    match (&dashboard.operator, &dashboard.token) {
        (Some(operator), Some(_)) if visitor.has_token => Ok(operator),
        (Some(_), Some(_)) => Err(forbidden(
            "that takes the token: `quaestor dev` prints it, elsewhere it is in the file of --http-token-file",
        )),
        _ => Err(forbidden(
            "nothing can be done here: start a controller with --http-token-file, or use the command line",
        )),
    }
}

pub(super) fn refused(error: Error) -> Problem {
    let status = match &error {
        Error::Unknown(_) | Error::NoService(_) | Error::UnknownNode(_) => StatusCode::NOT_FOUND,
        Error::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    Problem::new(status, "NotDone", error.to_string())
}
