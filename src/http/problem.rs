//! Why there is no answer: problem details by RFC 9457, with the reasons of the gRPC surface.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;

use crate::{balancer::answers::Refused, view::Refusal};

/// The media type of problems.
pub(super) const PROBLEM: &str = "application/problem+json";

/// A refused request.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    /// The kind of problem, as a URI that leads nowhere.
    r#type: String,
    title: &'static str,
    #[serde(serialize_with = "number")]
    status: StatusCode,
    detail: String,
    /// The kind in one word: the `quaestor-reason` of gRPC.
    reason: &'static str,
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem of the kind `reason`.
    pub(super) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:quaestor:problem:{reason}"),
            title: title(reason),
            status,
            detail: detail.into(),
            reason,
        }
    }

    /// A question that cannot be read.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", detail)
    }
}

fn title(reason: &str) -> &'static str {
    match reason {
        "NotFound" => "No such service",
        "NothingHealthy" => "No healthy instance",
        "AllExcluded" => "All healthy instances are excluded",
        "NotSynced" => "The balancer does not know the cluster yet",
        "Forbidden" => "The service is not for everybody",
        "Exclusive" => "The service is given out by tickets only",
        "TooLarge" => "The question is too large",
        "Overloaded" => "The balancer has too much to do",
        "Stopping" => "The balancer is about to end",
        "NoSuchPath" => "Nothing is served here",
        "MethodNotAllowed" => "Questions are asked with GET",
        "NoToken" => "That takes a token",
        "NotKnown" => "That is not known here",
        "NoLogs" => "No logs are read here",
        "NotDone" => "It was not done",
        "NotWritten" => "The answer cannot be written",
        _ => "The question cannot be read",
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::View(
                Refusal::NotSynced(_) | Refusal::NothingHealthy { .. } | Refusal::AllExcluded(_),
            ) => StatusCode::SERVICE_UNAVAILABLE,
            Refused::View(Refusal::Unknown(_)) => StatusCode::NOT_FOUND,
            Refused::View(Refusal::Exclusive(_)) => StatusCode::CONFLICT,
            Refused::View(Refusal::Forbidden { .. }) => StatusCode::FORBIDDEN,
            Refused::TooLarge(_) => StatusCode::BAD_REQUEST,
            Refused::Overloaded(_) | Refused::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
        };
        Self::new(status, refused.reason(), refused.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(super::routes::encode(&self)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let media = header::HeaderValue::from_static(PROBLEM);
        headers.insert(header::CONTENT_TYPE, media);
        let later = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if later.contains(&self.status) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
