//! Who looks at a dashboard, and what they ask for.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use axum::extract::FromRequestParts;
use http::{HeaderMap, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;

use super::Desk;
use crate::http::problem::Problem;

/// Somebody who may look.
pub(super) struct Visitor {
    /// Whether the token came along.
    pub(super) has_token: bool,
}

impl FromRequestParts<Arc<Desk>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Arc<Desk>) -> Result<Self, Problem> {
        let dashboard = &desk.dashboard;
        if dashboard.is_local && !is_meant(&parts.headers) {
            let detail =
                "this dashboard is for its own host only: ask for it as localhost or 127.0.0.1";
            return Err(Problem::new(StatusCode::FORBIDDEN, "Forbidden", detail));
        }
        let query = Query::of(parts);
        let shown = bearer(&parts.headers).or(query.find("token"));
        let has_token = dashboard.token.as_ref();
        Ok(Self {
            has_token: has_token
                .is_some_and(|token| shown.is_some_and(|shown| is_same(token, &shown))),
        })
    }
}

/// Whether the request names this host by number, or as local: a page from elsewhere, whose name leads here, names itself.
fn is_meant(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok()
}

/// The token in the header `authorization`.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(header.strip_prefix("Bearer ")?.to_owned())
}

/// Whether both are the same; how long that takes tells nothing of where they differ.
fn is_same(token: &str, shown: &str) -> bool {
    let differing = token.bytes().zip(shown.bytes());
    let differing = differing.fold(0, |differing, (a, b)| differing | (a ^ b));
    token.len() == shown.len() && differing == 0
}

/// The query of a URL.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn of(parts: &Parts) -> Self {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
            decoded.into_owned()
        };
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// What is said as `name`.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(found, _)| found == name);
        found.map(|(_, value)| value.clone())
    }

    /// What is said as `name`, if anything is.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn maybe<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = |text: String| {
            let wrong = |_| Problem::bad_request(format!("`{name}` cannot be `{text}`"));
            text.parse().map_err(wrong)
        };
        self.find(name).map(read).transpose()
    }

    /// What is said as `name`.
    ///
    /// # Errors
    /// Nothing is, or it cannot be read.
    pub(super) fn need<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let missing = || Problem::bad_request(format!("`{name}` is missing"));
        self.maybe(name)?.ok_or_else(missing)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_from_elsewhere_whose_name_leads_here_is_not_meant() {
        for (host, expected) in [
            ("127.0.0.1:5160", true),
            ("localhost:5160", true),
            ("[::1]:5160", true),
            ("localhost", true),
            ("evil.example:5160", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(is_meant(&headers), expected, "{host}");
        }
    }

    #[test]
    fn tokens_are_the_same_as_a_whole_only() {
        assert!(is_same("abc", "abc"));
        for other in ["", "ab", "abd", "abcd"] {
            assert!(!is_same("abc", other), "{other}");
        }
    }
}
