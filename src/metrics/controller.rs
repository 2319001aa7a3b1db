//! What the controller decides.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{Counters, labels};

/// Plans, and the writes that they come to.
#[derive(Clone, Debug)]
pub struct Decisions {
    leading: Gauge,
    terms: Counter,
    passes: Counters<1>,
    seconds: Histogram,
    writes: Counters<1>,
    waiting: Gauge,
    services: Gauge,
    /// Nodes with a session, and those without.
    nodes: Arc<[AtomicI64; 2]>,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            leading: Gauge::default(),
            terms: Counter::default(),
            passes: Counters::default(),
            // 10 us to 10 s: a service of a small cluster, and all of a large one.
            seconds: Histogram::new(exponential_buckets(0.000_01, 4.0, 11)),
            writes: Counters::default(),
            waiting: Gauge::default(),
            services: Gauge::default(),
            nodes: Arc::default(),
        }
    }
}

impl Decisions {
    /// Whether this controller leads from now on.
    pub fn lead(&self, leads: bool) {
        if leads {
            self.terms.inc();
        } else {
            self.waiting.set(0);
        }
        self.leading.set(i64::from(leads));
    }

    /// A plan was made, which took that long, and written, or it has to be made again.
    pub fn planned(&self, took: Duration, written: bool) {
        let result = if written { "written" } else { "again" };
        let labels = labels([("result", result)]);
        self.passes.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A write was made, by which something was decided or, with none, only reported.
    pub fn wrote(&self, decision: Option<&'static str>) {
        let labels = labels([("decision", decision.unwrap_or("reported"))]);
        self.writes.get_or_create(&labels).inc();
    }

    /// What the leader looks after, and for how many things it waits.
    pub fn looks_after(&self, services: usize, connected: usize, away: usize, waiting: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.services.set(number(services));
        self.nodes[0].store(number(connected), Relaxed);
        self.nodes[1].store(number(away), Relaxed);
        self.waiting.set(number(waiting));
    }

    /// Whether it leads, and then how many nodes are connected and away.
    pub(super) fn nodes(&self) -> Option<[i64; 2]> {
        let counts = || [0, 1].map(|index: usize| self.nodes[index].load(Relaxed));
        (self.leading.get() == 1).then(counts)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "controller_leading",
            "Whether this controller leads: 1 or 0",
            self.leading.clone(),
        );
        registry.register(
            "controller_terms",
            "Times that this controller began to lead",
            self.terms.clone(),
        );
        registry.register(
            "controller_plan_passes",
            "Plans made, by whether all of it was written or it had to be made again",
            self.passes.clone(),
        );
        registry.register_with_unit(
            "controller_plan",
            "How long a plan took to make",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "controller_writes",
            "Keys written, by what was decided",
            self.writes.clone(),
        );
        registry.register(
            "controller_waiting",
            "What the last plan left undone until something happens",
            self.waiting.clone(),
        );
        registry.register(
            "controller_services",
            "Services that the leader looks after",
            self.services.clone(),
        );
    }
}
