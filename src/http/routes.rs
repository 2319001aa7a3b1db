//! What is served.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, RawQuery, State},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get},
};
use http::{StatusCode, header};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{document, events, json, problem::Problem, query};
use crate::{
    balancer::answers::Answers,
    host::{Clock, Peer},
    model::Caller,
    view::{NotSynced, Refusal},
};

/// What the handlers need.
#[derive(Clone)]
pub(super) struct Surface {
    pub answers: Answers,
    pub clock: Arc<dyn Clock>,
    /// Cancelled when the balancer is to end.
    pub stop: CancellationToken,
}

/// Every path, as in the OpenAPI document, with its handler.
pub(super) fn routes() -> [(&'static str, MethodRouter<Surface>); 6] {
    [
        ("/v1/services", get(services)),
        ("/v1/services/{name}/pick", get(pick)),
        ("/v1/services/{name}/endpoints", get(endpoints)),
        ("/v1/services/{name}/watch", get(watch)),
        ("/healthz", get(health)),
        ("/openapi.json", get(openapi)),
    ]
}

/// All of them.
pub(super) fn router(surface: Surface) -> Router {
    let no_path = async || {
        let detail = "nothing is served at this path; /openapi.json says what is";
        Problem::new(StatusCode::NOT_FOUND, "NoSuchPath", detail)
    };
    let no_method = async || {
        let detail = "questions are asked with GET";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", detail)
    };
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handler)| {
            router.route(path, handler)
        });
    router
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(surface)
}

async fn services(State(surface): State<Surface>) -> Result<Response, Problem> {
    let services = surface.answers.services()?;
    Ok(answer(&json::Services {
        services: services.into_iter().map(json::Service::from).collect(),
        view_age_millis: surface.answers.age_millis(),
    }))
}

async fn pick(
    State(surface): State<Surface>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Problem> {
    surface.answers.admit(&name, &caller(peer))?;
    let question = query::question(name, query.as_deref().unwrap_or_default());
    let picked = surface
        .answers
        .pick(&question.map_err(Problem::bad_request)?)?;
    Ok(answer(&json::Endpoints {
        endpoints: picked.iter().map(json::Endpoint::from).collect(),
        view_age_millis: surface.answers.age_millis(),
    }))
}

async fn endpoints(
    State(surface): State<Surface>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Problem> {
    surface.answers.admit(&name, &caller(peer))?;
    let all = surface.answers.endpoints(&name)?;
    Ok(answer(&json::Endpoints {
        endpoints: all.iter().map(json::Endpoint::from).collect(),
        view_age_millis: surface.answers.age_millis(),
    }))
}

async fn watch(
    State(surface): State<Surface>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Problem> {
    surface.answers.admit(&name, &caller(peer))?;
    let watching = surface.answers.watch(&name)?;
    let events = events::events(watching, surface.clock, surface.stop);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// Who asks, as its connection told.
fn caller(peer: Option<Extension<Peer>>) -> Caller {
    peer.map_or(Caller::Anonymous, |Extension(peer)| peer.caller())
}

/// Whether this balancer should be asked.
async fn health(State(surface): State<Surface>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Health {
        status: &'static str,
        view_age_millis: u64,
        turned_away: TurnedAway,
    }
    /// Since the start.
    #[derive(Serialize)]
    struct TurnedAway {
        connections: u64,
        requests: u64,
        watches: u64,
    }
    if surface.stop.is_cancelled() {
        let detail = "this balancer was told to end; ask another one";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "Stopping", detail));
    }
    if !surface.answers.directory().is_synced() {
        return Err(Problem::from(crate::balancer::answers::Refused::from(
            Refusal::from(NotSynced),
        )));
    }
    let shed = surface.answers.shed();
    Ok(answer(&Health {
        status: "SERVING",
        view_age_millis: surface.answers.age_millis(),
        turned_away: TurnedAway {
            connections: shed.connections,
            requests: shed.requests,
            watches: shed.watches,
        },
    }))
}

async fn openapi() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, document::OPENAPI).into_response()
}

fn answer(value: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        // The next question may get another answer.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, encode(value)).into_response()
}

/// A value of ours as JSON: none of them can fail to be written.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
