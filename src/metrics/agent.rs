//! What the agent's instances do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

use super::{Counters, labels, reading::Reading};
use crate::model::{Instance, InstanceState, Phase, Usage};

/// Instances by phase, and what happens to them.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    shown: Arc<Mutex<BTreeMap<Instance, Shown>>>,
    usage: Arc<Mutex<BTreeMap<Instance, Usage>>>,
    restarts: Counters<1>,
    transitions: Counters<2>,
    connected: Gauge,
}

/// What was last heard of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    phase: Phase,
    ready: bool,
    restarts: u32,
}

impl Instances {
    /// How an instance is now; none: there is no such instance any more.
    pub fn show(&self, instance: &Instance, state: Option<&InstanceState>) {
        let mut shown = lock(&self.shown);
        let Some(state) = state else {
            shown.remove(instance);
            return;
        };
        let now = Shown {
            phase: state.phase,
            ready: state.ready,
            restarts: state.restarts,
        };
        let before = shown.get(instance).copied();
        if before == Some(now) {
            return;
        }
        shown.insert(instance.clone(), now);
        drop(shown);
        let service = instance.service.as_str();
        // What an agent finds when it starts has not happened now.
        let Some(before) = before else {
            return;
        };
        let restarts = now.restarts.saturating_sub(before.restarts);
        if restarts > 0 {
            let labels = labels([("service", service)]);
            let counter = self.restarts.get_or_create_owned(&labels);
            counter.inc_by(u64::from(restarts));
        }
        if before.ready != now.ready {
            let to = if now.ready { "ready" } else { "unready" };
            let labels = labels([("service", service), ("to", to)]);
            self.transitions.get_or_create(&labels).inc();
        }
    }

    /// What the instances use up.
    pub fn use_up(&self, usage: &BTreeMap<Instance, Usage>) {
        lock(&self.usage).clone_from(usage);
    }

    /// Whether the agent holds its session in the store.
    pub fn connect(&self, is_connected: bool) {
        self.connected.set(i64::from(is_connected));
    }

    /// Instances by service, phase and readiness, and what each uses up.
    pub(super) fn read(&self) -> Vec<Reading> {
        let mut counts: BTreeMap<(String, String, bool), u32> = BTreeMap::new();
        for (instance, shown) in lock(&self.shown).iter() {
            let phase = format!("{:?}", shown.phase);
            let kind = (instance.service.to_string(), phase, shown.ready);
            *counts.entry(kind).or_default() += 1;
        }
        let mut instances = Reading::gauge(
            "quaestor_agent_instances",
            "Instances on this node, by service, phase and whether clients may be sent to them.",
        );
        for ((service, phase, ready), count) in counts {
            let labels = [
                ("service", service),
                ("phase", phase),
                ("ready", ready.to_string()),
            ];
            instances.push(labels, f64::from(count));
        }
        let mut processors = Reading::gauge(
            "quaestor_agent_instance_cpu_cores",
            "Processors that an instance uses, with all processes that descend from it.",
        );
        let mut memory = Reading::gauge(
            "quaestor_agent_instance_memory_bytes",
            "Resident memory of an instance, with all processes that descend from it.",
        );
        for (instance, usage) in lock(&self.usage).iter() {
            let labels = || {
                [
                    ("service", instance.service.to_string()),
                    ("instance", instance.to_string()),
                ]
            };
            processors.push(labels(), usage.cpu);
            memory.push(labels(), usage.memory as f64);
        }
        vec![instances, processors, memory]
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "agent_restarts",
            "Starts of instances after their first one",
            self.restarts.clone(),
        );
        registry.register(
            "agent_health_transitions",
            "Times that an instance became ready, or ceased to be",
            self.transitions.clone(),
        );
        registry.register(
            "agent_connected",
            "Whether the agent holds its session in the store: 1 or 0",
            self.connected.clone(),
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(restarts: u32, ready: bool) -> InstanceState {
        serde_json::from_value(serde_json::json!({
            "instance": "worker-1", "node": "n", "phase": "Running", "ready": ready,
            "restarts": restarts, "observedGeneration": 1, "epoch": 1,
        }))
        .unwrap()
    }

    #[test]
    fn what_is_found_at_the_start_does_not_count_as_having_happened() {
        let instances = Instances::default();
        let name: Instance = "worker-1".parse().unwrap();
        instances.show(&name, Some(&state(7, true)));
        let restarts = || {
            let labels = labels([("service", "worker")]);
            instances.restarts.get_or_create(&labels).get()
        };
        assert_eq!(restarts(), 0);
        instances.show(&name, Some(&state(9, false)));
        instances.show(&name, Some(&state(9, false)));
        assert_eq!(restarts(), 2);
        let unready = labels([("service", "worker"), ("to", "unready")]);
        let unready = instances.transitions.get_or_create_owned(&unready);
        assert_eq!(unready.get(), 1);
        assert_eq!(instances.read()[0].samples().len(), 1);
        instances.show(&name, None);
        assert_eq!(instances.read()[0].samples().len(), 0);
    }
}
