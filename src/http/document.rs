//! What is served, as an OpenAPI document.

/// The document. Tests compare it with what is served.
pub(super) const OPENAPI: &str = include_str!("openapi.json");
