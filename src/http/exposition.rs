//! `/metrics`: what Prometheus is told.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};

use super::problem::Problem;
use crate::{
    balancer::answers::Answers,
    metrics::{Exposition, MEDIA, reading::Reading},
};

/// The metrics of the process.
pub(super) async fn metrics(State(told): State<Arc<Exposition>>) -> Result<Response, Problem> {
    let text = told.text().map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "NotWritten", error.to_string())
    })?;
    let headers = [
        (header::CONTENT_TYPE, MEDIA),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

/// `told`, and what can be said of the view that a balancer answers from.
pub(super) fn of_view(told: Exposition, answers: Answers) -> Exposition {
    told.with(move || {
        let synced = answers.directory().is_synced();
        let mut endpoints = Reading::gauge(
            "quaestor_balancer_endpoints",
            "Healthy endpoints, by the name under which they are found.",
        );
        for listed in answers.services().unwrap_or_default() {
            endpoints.push([("name", listed.name)], listed.endpoints as f64);
        }
        let mut picked = Reading::counter(
            "quaestor_balancer_answered_picks",
            "Picks that were answered, by the name that was asked for.",
        );
        for (name, count) in answers.directory().picked() {
            picked.push([("name", name)], count as f64);
        }
        let shed = answers.shed();
        let mut turned_away = Reading::counter(
            "quaestor_balancer_turned_away",
            "What was refused because the balancer has limits.",
        );
        let counts = [
            ("connection", shed.connections),
            ("request", shed.requests),
            ("watch", shed.watches),
        ];
        for (what, count) in counts {
            turned_away.push([("what", what.to_owned())], count as f64);
        }
        vec![
            Reading::gauge(
                "quaestor_balancer_synced",
                "Whether the balancer has seen the whole cluster once: 1 or 0.",
            )
            .of(f64::from(u8::from(synced))),
            Reading::gauge(
                "quaestor_balancer_view_age_seconds",
                "How long ago the balancer last heard from the store.",
            )
            .maybe(synced.then(|| answers.age().as_secs_f64())),
            endpoints,
            picked,
            turned_away,
        ]
    })
}
