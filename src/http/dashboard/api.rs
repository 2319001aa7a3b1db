//! What the page is told when it asks once.

use std::{io::Write as _, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{
    Desk,
    visitor::{Query, Visitor},
};
use crate::{
    http::{problem::Problem, routes::encode},
    model::{Name, Timestamp, event::Object},
    operator::board::Scope,
    plan::why,
};

/// What is asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a> {
    cluster: &'a Name,
    role: &'static str,
    version: &'static str,
    /// What is shown: `cluster`, `node`, `answers`.
    scope: &'static str,
    /// Whether there is a token by which one may restart and drain.
    has_deeds: bool,
    /// Whether the visitor has it.
    may_act: bool,
    has_logs: bool,
    /// The time here, by which ages are told.
    now: Timestamp,
}

/// What this dashboard is, and may.
pub(super) async fn about(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Response {
    let dashboard = &desk.dashboard;
    answer(encode(&About {
        cluster: &dashboard.cluster,
        role: dashboard.role,
        version: env!("CARGO_PKG_VERSION"),
        scope: match dashboard.board.scope() {
            Scope::Cluster => "cluster",
            Scope::Node(_) => "node",
            Scope::Answers => "answers",
        },
        has_deeds: dashboard.operator.is_some() && dashboard.token.is_some(),
        may_act: visitor.has_token,
        has_logs: dashboard.logs.is_some(),
        now: desk.clock.timestamp(),
    }))
}

/// Everything that the board says, and the mark from which changes are asked for.
pub(super) async fn board(
    State(desk): State<Arc<Desk>>,
    _: Visitor,
    headers: HeaderMap,
) -> Response {
    let board = &desk.dashboard.board;
    let all = board.all();
    let text = format!(
        r#"{{"isRead":{},"mark":"{}","changes":{}}}"#,
        board.is_read(),
        all.mark,
        all.to_json()
    );
    let mut packed = pack(&headers, text.as_bytes()).into_response();
    let own = packed.headers_mut();
    own.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    packed
}

/// The last half hour of a service, or of all.
pub(super) async fn course(
    State(desk): State<Arc<Desk>>,
    _: Visitor,
    query: Query,
) -> Result<Response, Problem> {
    let service = query.maybe::<Name>("service")?;
    let course = desk.dashboard.board.course(service.as_ref());
    Ok(answer(encode(&course)))
}

/// Why a service, an instance or a node is as it is, as `quaestor why` tells.
pub(super) async fn why(
    State(desk): State<Arc<Desk>>,
    _: Visitor,
    query: Query,
) -> Result<Response, Problem> {
    let object: String = query.need("object")?;
    let object = Object::try_from(object).map_err(Problem::bad_request)?;
    let Some(operator) = &desk.dashboard.operator else {
        let detail =
            "this dashboard sees too little of the cluster to say why; `quaestor why` does";
        return Err(Problem::new(StatusCode::NOT_FOUND, "NotKnown", detail));
    };
    let observed = operator.observe().await.map_err(super::deeds::refused)?;
    let seen = observed.seen(desk.clock.timestamp());
    let cause = why::why(&seen, &object).ok_or_else(|| {
        let detail = format!("nothing is known of {object}");
        Problem::new(StatusCode::NOT_FOUND, "NotKnown", detail)
    })?;
    Ok(answer(encode(&cause)))
}

/// JSON that is another one the next time.
pub(super) fn answer(json: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, json).into_response()
}

/// Bytes as whoever sent those headers takes them: packed, where that is said.
pub(super) fn pack(headers: &HeaderMap, bytes: &[u8]) -> (HeaderMap, Vec<u8>) {
    let accepted = headers.get(header::ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    let mut own = HeaderMap::new();
    own.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !accepted.is_some_and(|accepted| accepted.contains("gzip")) {
        return (own, bytes.to_vec());
    }
    own.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    (own, gzip(bytes))
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes whatever is written to it.
    let _ = packing.write_all(bytes);
    packing.finish().unwrap_or_default()
}
