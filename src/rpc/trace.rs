//! Spans of calls, for OpenTelemetry: a call comes with whose child it is, as W3C's `traceparent`, and passes that on to
//! whoever is asked for its sake.
//!
//! Only with the feature `otel`. Without it nothing is looked at and nothing is sent.

use tonic::Request;
use tracing::Span;

/// The target of these spans, by which they are told from what is logged.
pub const TARGET: &str = "quaestor::trace";

/// The span of a call of `method` about `about`: a service, or an instance.
#[cfg(feature = "otel")]
pub(super) fn serve<T>(request: &Request<T>, method: &'static str, about: &str) -> Span {
    remote::serve(request, method, about)
}

/// The span of a call of `method` about `about`: there is none.
#[cfg(not(feature = "otel"))]
pub(super) fn serve<T>(_: &Request<T>, _: &'static str, _: &str) -> Span {
    Span::none()
}

/// Says in `request` that it is made for the sake of the present span.
#[cfg(feature = "otel")]
pub(super) fn pass_on<T>(request: &mut Request<T>) {
    remote::pass_on(request);
}

/// Says in `request` that it is made for the sake of the present span: there is none.
#[cfg(not(feature = "otel"))]
pub(super) fn pass_on<T>(_: &mut Request<T>) {}

#[cfg(feature = "otel")]
mod remote {
    use opentelemetry::{
        propagation::{Extractor, Injector, TextMapPropagator as _},
        trace::TraceContextExt as _,
    };
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tonic::{
        Request,
        metadata::{MetadataKey, MetadataMap, MetadataValue},
    };
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::TARGET;

    pub(super) fn serve<T>(request: &Request<T>, method: &'static str, about: &str) -> Span {
        let span = tracing::info_span!(
            target: TARGET,
            "call",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
            rpc.system = "grpc",
            quaestor.about = about,
        );
        let context = TraceContextPropagator::new().extract(&Headers(request.metadata()));
        if context.span().span_context().is_valid() {
            // Fails where nobody takes spans: then there is nothing to be a child of.
            let _ = span.set_parent(context);
        }
        span
    }

    pub(super) fn pass_on<T>(request: &mut Request<T>) {
        let context = Span::current().context();
        let mut headers = NewHeaders(request.metadata_mut());
        TraceContextPropagator::new().inject_context(&context, &mut headers);
    }

    struct Headers<'a>(&'a MetadataMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            // The standard's are asked for by name.
            Vec::new()
        }
    }

    struct NewHeaders<'a>(&'a mut MetadataMap);

    impl Injector for NewHeaders<'_> {
        fn set(&mut self, key: &str, value: String) {
            let key = MetadataKey::from_bytes(key.as_bytes());
            if let (Ok(key), Ok(value)) = (key, MetadataValue::try_from(value)) {
                self.0.insert(key, value);
            }
        }
    }
}

/// Notes in the span what became of its call.
pub(super) fn ended<T>(span: &Span, outcome: &Result<T, tonic::Status>) {
    match outcome {
        Ok(_) => span.record("otel.status_code", "OK"),
        Err(status) => {
            span.record("otel.status_description", status.message());
            span.record("otel.status_code", "ERROR")
        }
    };
}
