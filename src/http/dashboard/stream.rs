//! What the page is told as it happens, as server-sent events. Each has an id from which the next connection goes on.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Desk,
    logs::Piece,
    visitor::{Query, Visitor},
};
use crate::{
    http::problem::Problem,
    model::{Instance, LogBatch, LogPosition, LogQuery, LogSource, Name},
};

/// A stream that has nothing to tell gives a sign of life this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// What changes within this time is told at once: a page need not be painted more often.
const PAUSE: Duration = Duration::from_millis(100);

/// Lines that are there already, where nothing else is asked for.
const TAIL: u64 = 500;

/// What changed of the board since a mark. `reset` comes where that is not known: everything is to be asked for.
pub(super) async fn changes(
    State(desk): State<Arc<Desk>>,
    _: Visitor,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mark = match last_id(&headers) {
        Some(mark) => mark,
        None => query.need("after")?,
    };
    let stop = desk.stop.clone();
    let events = stream::unfold(Some((desk, mark)), async |state| {
        let (desk, mark) = state?;
        let board = &desk.dashboard.board;
        let Some(changes) = board.since(&mark) else {
            return Some((event("reset", "", "{}"), None));
        };
        if changes.mark == mark {
            let sign = tokio::select! {
                () = board.newer(&mark) => None,
                () = desk.clock.sleep(SIGN_OF_LIFE) => Some(Bytes::from_static(b": alive\n\n")),
            };
            desk.clock.sleep(PAUSE).await;
            return Some((sign.unwrap_or_default(), Some((desk, mark))));
        }
        let told = event("change", &changes.mark, &changes.to_json());
        Some((told, Some((desk, changes.mark))))
    });
    Ok(answer(events.take_until(stop.cancelled_owned())))
}

/// What an instance prints, the last lines first, then whatever comes.
pub(super) async fn logs(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let Some(logs) = &desk.dashboard.logs else {
        let detail = "this dashboard reads no logs; `quaestor logs` does";
        return Err(Problem::new(StatusCode::NOT_FOUND, "NoLogs", detail));
    };
    if !desk.dashboard.is_local && !visitor.has_token {
        let detail = "logs that are read from other hosts take the token";
        return Err(Problem::new(StatusCode::FORBIDDEN, "NoToken", detail));
    }
    let (node, instance): (Name, Instance) = (query.need("node")?, query.need("instance")?);
    let wanted = LogQuery {
        tail: Some(query.maybe("tail")?.unwrap_or(TAIL)),
        follow: true,
        after: last_id(&headers).and_then(|id| position(&id)),
        ..LogQuery::default()
    };
    let (clock, stop) = (desk.clock.clone(), desk.stop.clone());
    let pieces = Some(logs.read(node, instance, wanted));
    let events = stream::unfold(pieces, move |pieces| {
        let clock = clock.clone();
        async move {
            let mut pieces = pieces?;
            let piece = tokio::select! {
                piece = pieces.next() => piece,
                () = clock.sleep(SIGN_OF_LIFE) => {
                    return Some((Bytes::from_static(b": alive\n\n"), Some(pieces)));
                }
            };
            let goes_on = matches!(piece, Some(Ok(_)));
            Some((told(piece), goes_on.then_some(pieces)))
        }
    });
    Ok(answer(events.take_until(stop.cancelled_owned())))
}

fn told(piece: Option<Piece>) -> Bytes {
    match piece {
        Some(Ok((LogBatch::Lines(lines), at))) => {
            let lines = lines.iter().map(|line| {
                json!({
                    "at": line.at,
                    "from": match line.source {
                        LogSource::Out => "out",
                        LogSource::Err => "err",
                        LogSource::Quaestor => "quaestor",
                    },
                    "text": String::from_utf8_lossy(&line.text),
                    "continues": line.continues,
                })
            });
            let id = at.map(|at| format!("{}.{}.{}", at.file, at.offset, at.at));
            let lines = Value::Array(lines.collect()).to_string();
            event("lines", &id.unwrap_or_default(), &lines)
        }
        Some(Ok((LogBatch::CaughtUp, _))) => Bytes::from_static(b": all\n\n"),
        Some(Err(why)) => event("over", "", &json!({"why": why}).to_string()),
        None => event("over", "", "{}"),
    }
}

/// A place in a log, as it is written in ids.
fn position(id: &str) -> Option<LogPosition> {
    let mut parts = id.splitn(3, '.');
    Some(LogPosition {
        file: parts.next()?.parse().ok()?,
        offset: parts.next()?.parse().ok()?,
        at: parts.next()?.parse().ok()?,
    })
}

/// What whoever connects again has seen last.
fn last_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// One event; JSON has no line breaks of its own.
fn event(name: &str, id: &str, data: &str) -> Bytes {
    match id {
        "" => format!("event: {name}\ndata: {data}\n\n"),
        id => format!("event: {name}\nid: {id}\ndata: {data}\n\n"),
    }
    .into()
}

fn answer(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let events = events.filter(|bytes| std::future::ready(!bytes.is_empty()));
    (headers, Body::from_stream(events.map(Ok::<_, Infallible>))).into_response()
}
