//! What is counted, and how Prometheus is told of it.
//!
//! - [`Metrics`]: everything that the parts of one process count; each finds it in its [`crate::host::Host`]
//! - [`store`], [`controller`], [`agent`], [`balancer`]: the counts, by who counts
//! - [`Exposition`]: the text, of those parts that the process has
//! - [`reading`]: what is not counted but looked at when somebody asks; `process`: memory, descriptors, time
//!
//! Counting is an atomic addition, or a short lock where nobody waits for an answer.

pub mod agent;
pub mod balancer;
pub mod controller;
mod exposition;
mod process;
pub mod reading;
pub mod store;

use prometheus_client::metrics::{counter::Counter, family::Family};

pub use exposition::{Exposition, MEDIA, Part};

/// What the parts of one process count. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// What everybody asks of the store.
    pub store: store::Requests,
    /// What the controller decides.
    pub controller: controller::Decisions,
    /// What the agent's instances do.
    pub agent: agent::Instances,
    /// What the balancer answers.
    pub balancer: balancer::Answers,
}

/// Counters that differ in `N` labels.
type Counters<const N: usize> = Family<[(&'static str, String); N], Counter>;

/// Labels of which some are texts of this program.
fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> [(&'static str, String); N] {
    pairs.map(|(key, value)| (key, value.to_owned()))
}
