//! What is not counted but looked at when somebody asks.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Labels with their values.
type Labels = Vec<(&'static str, String)>;

/// One metric, as it is now.
#[derive(Clone, Debug)]
pub struct Reading {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    samples: Vec<(Labels, f64)>,
}

impl Reading {
    /// One that may rise and fall. `help` is a sentence.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            is_counter: false,
            samples: Vec::new(),
        }
    }

    /// One that only rises, as long as the process lives; its samples are called `name`_total.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            is_counter: true,
            ..Self::gauge(name, help)
        }
    }

    /// The same, with this one value.
    #[must_use]
    pub fn of(mut self, value: f64) -> Self {
        self.push([], value);
        self
    }

    /// The same, with this one value where there is one.
    #[must_use]
    pub fn maybe(mut self, value: Option<f64>) -> Self {
        if let Some(value) = value {
            self.push([], value);
        }
        self
    }

    /// Adds a sample. No two have the same labels.
    pub fn push<const N: usize>(&mut self, labels: [(&'static str, String); N], value: f64) {
        self.samples.push((labels.to_vec(), value));
    }

    /// The samples.
    #[cfg(test)]
    pub(super) fn samples(&self) -> &[(Labels, f64)] {
        &self.samples
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.is_counter {
            true => MetricType::Counter,
            false => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, value) in &self.samples {
            let mut sample = metric.encode_family(labels)?;
            match self.is_counter {
                true => sample.encode_counter::<NoLabelSet, _, f64>(value, None)?,
                false => sample.encode_gauge(value)?,
            }
        }
        Ok(())
    }
}

/// Reads metrics whenever they are asked for.
pub(super) struct Reader<F>(pub(super) F);

impl<F> fmt::Debug for Reader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl<F: Fn() -> Vec<Reading> + Send + Sync + 'static> Collector for Reader<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)()
            .iter()
            .try_for_each(|one| one.encode(&mut encoder))
    }
}
