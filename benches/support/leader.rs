//! A cluster in memory as the leader knows it, and agents that do at once what they are asked.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part")]

use std::time::{Duration, Instant};

use quaestor::{
    keys::Key,
    model::{Assignment, Desired, Name, Timestamp},
    plan::{
        check,
        cluster::Cluster,
        controller::{Plan, Value, plan},
        scope::Scope,
    },
};
use serde_json::{Value as Json, json};

#[derive(Default)]
pub struct World {
    pub cluster: Cluster,
    revision: i64,
}

impl World {
    fn put(&mut self, key: &Key, value: &Json) {
        self.revision += 1;
        let json = value.to_string();
        self.cluster.put(key, json.as_bytes(), self.revision);
    }

    /// A node that is ready.
    pub fn node(&mut self, at: usize) {
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": format!("10.0.{}.{}", at / 250, at % 250), "version": "0",
            "labels": {"zone": format!("z{}", at % 3)}, "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        self.put(&Key::Session(name("n", at)), &session);
    }

    /// Service `at`, in three zones.
    pub fn service(&mut self, at: usize, replicas: usize, generation: u64) {
        let spec = json!({
            "replicas": replicas, "command": ["/opt/worker", "--port", "{port}"], "env": {"GENERATION": generation.to_string()},
            "ports": [{"name": "grpc"}], "serviceNames": [format!("S{at}")], "placement": {"spreadBy": "zone"},
        });
        let name = name("s", at);
        let object = json!({"metadata": {"name": name}, "generation": generation, "spec": spec});
        self.put(&Key::ServiceSpec(name), &object);
    }

    /// Plans what was touched, or all, and says how long that took.
    pub fn plan(&mut self, scope: &Scope) -> (Plan, Duration) {
        let start = Instant::now();
        let plan = plan(&self.cluster, scope, Timestamp::from_millis(0));
        (plan, start.elapsed())
    }

    /// Writes the plan, and lets the agents do what it asks.
    pub fn carry_out(&mut self, plan: &Plan) {
        check::carry_out(&mut self.cluster, plan, &mut self.revision);
        for intent in plan.writes() {
            let (Key::Assignment(node, instance), Some(Value::Assignment(asked))) =
                (&intent.key, &intent.value)
            else {
                continue;
            };
            if asked.desired == Desired::Absent {
                let key = Key::State(node.clone(), instance.clone());
                self.cluster.delete(&key);
            } else {
                self.report(node, asked, true);
            }
        }
    }

    /// What an agent says of an instance.
    fn report(&mut self, node: &Name, asked: &Assignment, is_ready: bool) {
        let state = json!({
            "instance": asked.instance, "node": node, "phase": "Running", "ready": is_ready, "pid": 1,
            "endpoint": {"host": "10.0.0.1", "port": 5000}, "ports": {"grpc": 5000}, "restarts": 0, "reason": "", "message": "",
            "observedGeneration": asked.generation, "revision": asked.revision, "epoch": 1,
        });
        self.put(&Key::State(node.clone(), asked.instance.clone()), &state);
    }

    /// The first instance of a service says that it is not ready any more.
    pub fn ail(&mut self, at: usize) {
        let seats = &self.cluster.services()[&name("s", at)].seats;
        let ((_, node), seat) = seats.first_key_value().unwrap();
        let (node, asked) = (node.clone(), seat.asked().unwrap().clone());
        self.report(&node, &asked, false);
    }

    /// Plans what has changed.
    pub fn consider(&mut self) -> Plan {
        let touched = self.cluster.take_touched();
        self.plan(&touched).0
    }

    /// Plans what has changed, and does it; how long the planning took.
    pub fn react(&mut self) -> Duration {
        let start = Instant::now();
        let plan = self.consider();
        let took = start.elapsed();
        assert!(!plan.steps.is_empty());
        self.carry_out(&plan);
        took
    }

    /// Leader and agents take turns until nothing is left to be done.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            let touched = self.cluster.take_touched();
            let (plan, _) = self.plan(&touched);
            if plan.steps.is_empty() {
                return;
            }
            self.carry_out(&plan);
        }
        panic!("it does not come to rest");
    }
}

pub fn name(kind: &str, at: usize) -> Name {
    format!("{kind}{at}").parse().unwrap()
}
