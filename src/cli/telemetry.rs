//! What this program tells of itself beside metrics: log lines on standard error, and traces for OpenTelemetry.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt as _, registry::LookupSpan};

use super::{
    args::{Cli, Command, LogFormat},
    output,
};

/// Traces are sent for as long as this lives.
pub(super) struct Telemetry {
    #[cfg(feature = "otel")]
    traces: Option<traces::Traces>,
}

impl Telemetry {
    /// Sends what was not sent yet.
    pub(super) fn end(self) {
        #[cfg(feature = "otel")]
        drop(self.traces);
    }
}

/// Begins to log, and to send traces where that is asked for. To be called within the runtime.
///
/// # Errors
/// Traces cannot be sent.
pub(super) fn begin(cli: &Cli) -> anyhow::Result<Telemetry> {
    let registry = tracing_subscriber::registry().with(log(cli));
    #[cfg(feature = "otel")]
    {
        let traces = traces::Traces::begin(cli)?;
        let spans = traces.as_ref().map(traces::Traces::layer);
        install(registry.with(spans));
        Ok(Telemetry { traces })
    }
    #[cfg(not(feature = "otel"))]
    {
        if cli.global.otlp_endpoint.is_some() {
            anyhow::bail!(
                "this program was built without OpenTelemetry: `cargo build --release --features otel` builds it with it"
            );
        }
        install(registry);
        Ok(Telemetry {})
    }
}

/// Takes what is told from now on.
fn install(subscriber: impl Subscriber + Send + Sync) {
    // There is one only where somebody called us twice; it goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Roles log what they do; commands only what went wrong. `RUST_LOG` overrides both.
fn log<S>(cli: &Cli) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let level = match cli.command {
        _ if cli.command.is_role() => "info",
        // It would be written across the screen.
        Command::Top(_) => "off",
        _ => "error",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|error| {
        if std::env::var_os("RUST_LOG").is_some() {
            output::note(format_args!("RUST_LOG is ignored: {error}"));
        }
        // Spans of traces are nothing to be logged.
        EnvFilter::new(format!("{level},{}=off", crate::rpc::trace::TARGET))
    });
    let log = tracing_subscriber::fmt::layer()
        // A terminal that has gone must not end a role: without this, a line that cannot be written
        // is complained of where it could not be written.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    match cli.global.log_format {
        LogFormat::Human => log
            .with_target(false)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => log.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

#[cfg(feature = "otel")]
mod traces {
    //! Traces, sent by OTLP over gRPC in batches.

    use anyhow::Context as _;
    use opentelemetry::{KeyValue, trace::TracerProvider as _};
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
    use opentelemetry_sdk::{
        Resource,
        trace::{SdkTracerProvider, Tracer},
    };
    use tracing::Subscriber;
    use tracing_opentelemetry::OpenTelemetryLayer;
    use tracing_subscriber::{Layer as _, filter::Targets, registry::LookupSpan};

    use crate::{cli::args::Cli, rpc::trace::TARGET};

    /// What sends them.
    pub(super) struct Traces(SdkTracerProvider);

    impl Traces {
        /// None where they are not asked for.
        pub(super) fn begin(cli: &Cli) -> anyhow::Result<Option<Self>> {
            let Some(endpoint) = &cli.global.otlp_endpoint else {
                return Ok(None);
            };
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .build();
            let exporter = exporter.with_context(|| {
                format!("traces cannot be sent to {endpoint} (--otlp-endpoint)")
            })?;
            let cluster = cli.global.cluster.to_string();
            let resource = Resource::builder()
                .with_service_name(format!("quaestor-{}", cli.command.role()))
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .with_attribute(KeyValue::new("quaestor.cluster", cluster))
                .build();
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource)
                .build();
            Ok(Some(Self(provider)))
        }

        /// Takes the spans of calls, and nothing else.
        pub(super) fn layer<S>(&self) -> impl tracing_subscriber::Layer<S> + Send + Sync + use<S>
        where
            S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
        {
            let tracer: Tracer = self.0.tracer("quaestor");
            let spans: OpenTelemetryLayer<S, Tracer> =
                tracing_opentelemetry::layer().with_tracer(tracer);
            let only = Targets::new().with_target(TARGET, tracing::Level::INFO);
            spans.with_filter(only)
        }
    }

    impl Drop for Traces {
        fn drop(&mut self) {
            if let Err(error) = self.0.shutdown() {
                tracing::debug!(%error, "the last traces were not sent");
            }
        }
    }
}
