//! The text that Prometheus reads.

use prometheus_client::{encoding::text, registry::Registry};

use super::{
    Metrics, process,
    reading::{Reader, Reading},
};
use crate::host::Host;

/// The media type of the text: OpenMetrics, which Prometheus, VictoriaMetrics and others read.
pub const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It speaks with the store.
    Store,
    /// It is, or has, a controller.
    Controller,
    /// An agent.
    Agent,
    /// A balancer.
    Balancer,
}

/// The metrics of a process, as they are told.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// The metrics of `host`'s process, which has these `parts`.
    pub fn new(host: &Host, parts: &[Part]) -> Self {
        // Readings bring their whole names, as not all of them are ours.
        let mut exposition = Self {
            registry: Registry::default(),
        };
        let metrics = host.metrics.clone();
        let registry = exposition.registry.sub_registry_with_prefix("quaestor");
        for part in parts {
            match part {
                Part::Store => metrics.store.register(registry),
                Part::Controller => metrics.controller.register(registry),
                Part::Agent => metrics.agent.register(registry),
                Part::Balancer => metrics.balancer.register(registry),
            }
        }
        let disk = host.disk.clone();
        let mut exposition = exposition
            .with(|| vec![build()])
            .with(move || process::read(&*disk));
        for part in parts {
            let Metrics {
                store,
                controller,
                agent,
                balancer,
            } = Metrics::clone(&metrics);
            let clock = host.clock.clone();
            exposition = match part {
                Part::Store => exposition.with(move || {
                    let silence = store.silence(clock.now());
                    following(
                        silence.map(|silence| silence.as_secs_f64()),
                        store.revision(),
                    )
                }),
                Part::Controller => exposition.with(move || vec![nodes(controller.nodes())]),
                Part::Agent => exposition.with(move || agent.read()),
                Part::Balancer => exposition.with(move || balancer.read()),
            };
        }
        exposition
    }

    /// The same, and what `read` says whenever it is asked.
    #[must_use]
    pub fn with(mut self, read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Self {
        self.registry.register_collector(Box::new(Reader(read)));
        self
    }

    /// The text, as it is now.
    ///
    /// # Errors
    /// None that is known: it is written to memory.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}

fn build() -> Reading {
    let mut build = Reading::gauge("quaestor_build", "The version that runs; always 1.");
    build.push([("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0);
    build
}

fn following(silence: Option<f64>, revision: i64) -> Vec<Reading> {
    vec![
        Reading::gauge(
            "quaestor_store_silence_seconds",
            "How long ago the store was last heard; while all is well, 10 s at most.",
        )
        .maybe(silence),
        Reading::gauge(
            "quaestor_store_revision",
            "The highest revision of the store that was seen.",
        )
        .of(revision as f64),
    ]
}

fn nodes(counts: Option<[i64; 2]>) -> Reading {
    let mut nodes = Reading::gauge(
        "quaestor_controller_nodes",
        "Nodes that the leader knows, by whether their agents are connected.",
    );
    if let Some([connected, away]) = counts {
        nodes.push([("connected", "true".to_owned())], connected as f64);
        nodes.push([("connected", "false".to_owned())], away as f64);
    }
    nodes
}
