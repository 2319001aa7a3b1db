//! Agents that are simulated by one task: each carries out at once what it is asked, and writes what it would report.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part")]

use std::{collections::BTreeMap, time::Instant};

use futures::{StreamExt as _, stream};
use quaestor::{
    host::Host,
    keys::{Key, Keys},
    model::{Assignment, Desired, Instance, Name, ServiceStatus},
    store::{Change, Config, Follow, Outcome, Store, Txn, Write},
};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

/// Writes per transaction, and transactions under way at once, of all simulated agents.
const BATCH: usize = 100;
const WIDTH: usize = 8;

/// An assignment was seen: of which instance, in which generation, and when.
pub type Sight = (Instance, u64, Instant);

/// The store of a cluster, as its operators, its agents and their observers use it.
#[derive(Clone)]
pub struct Fleet {
    pub store: Store,
    pub keys: Keys,
}

impl Fleet {
    pub fn new(endpoint: String) -> Self {
        Self {
            store: Store::new(Config::new([endpoint]), Host::system()).unwrap(),
            keys: Keys::new(&"default".parse().unwrap()),
        }
    }

    /// Commits them in batches, several at once.
    pub async fn put(&self, writes: Vec<Write>) {
        let batches: Vec<Vec<Write>> = writes.chunks(BATCH).map(<[Write]>::to_vec).collect();
        let commit = |batch: Vec<Write>| async move {
            let txn = batch.into_iter().fold(Txn::new(), Txn::then);
            let outcome = self.store.commit(txn).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed(_)));
        };
        stream::iter(batches)
            .map(commit)
            .buffer_unordered(WIDTH)
            .collect::<()>()
            .await;
    }

    pub fn write(&self, key: &Key, value: &Json) -> Write {
        Write::put(self.keys.of(key), value.to_string())
    }

    /// What the agent of node `at` says of itself.
    pub fn session(&self, at: usize) -> Write {
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": format!("10.0.{}.{}", at / 250, at % 250), "version": "0",
            "labels": {"zone": format!("z{}", at % 3)}, "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        self.write(&Key::Session(name("n", at)), &session)
    }

    /// Service `at` of so many replicas.
    pub fn service(&self, at: usize, replicas: u32, generation: u64) -> Write {
        let spec = json!({
            "replicas": replicas, "command": ["/opt/worker", "--port", "{port}"],
            "env": {"GENERATION": generation.to_string()},
            "ports": [{"name": "grpc"}], "serviceNames": [format!("S{at}")], "placement": {"spreadBy": "zone"},
            "rollout": {"maxUnavailable": "25%"},
        });
        let name = name("s", at);
        let object = json!({"metadata": {"name": name}, "generation": generation, "spec": spec});
        self.write(&Key::ServiceSpec(name), &object)
    }

    /// What an agent says at once of what it is asked.
    pub fn report(&self, node: Name, asked: &Assignment) -> Write {
        let key = Key::State(node.clone(), asked.instance.clone());
        if asked.desired == Desired::Absent {
            return Write::delete(self.keys.of(&key));
        }
        let state = json!({
            "instance": asked.instance, "node": node, "phase": "Running", "ready": true, "pid": 1,
            "endpoint": {"host": "10.0.0.1", "port": 5000}, "ports": {"grpc": 5000}, "restarts": 0,
            "reason": "", "message": "", "startedAt": "2026-01-01T00:00:00Z",
            "observedGeneration": asked.generation, "revision": asked.revision, "epoch": 1,
        });
        self.write(&key, &state)
    }

    /// All agents.
    pub async fn simulate(self, seen: mpsc::UnboundedSender<Sight>) {
        let mut follow = self.store.follow(vec![self.keys.assignments()]);
        loop {
            let update = follow.next().await;
            let now = Instant::now();
            let mut reports: BTreeMap<String, Write> = BTreeMap::new();
            for change in &update.changes {
                let Some(Key::Assignment(node, _)) = self.keys.parse(change.key()) else {
                    continue;
                };
                if let Change::Put(entry) = change {
                    let asked: Assignment = serde_json::from_slice(&entry.value).unwrap();
                    let _ = seen.send((asked.instance.clone(), asked.generation, now));
                    reports.insert(entry.key.clone(), self.report(node, &asked));
                }
            }
            self.put(reports.into_values().collect()).await;
        }
    }
}

pub fn name(kind: &str, at: usize) -> Name {
    format!("{kind}{at}").parse().unwrap()
}

/// How far the services are, as the leader reports them.
pub struct Statuses {
    keys: Keys,
    follow: Follow,
    done: BTreeMap<Name, u64>,
}

impl Statuses {
    pub fn of(fleet: &Fleet) -> Self {
        Self {
            follow: fleet.store.follow(vec![fleet.keys.statuses()]),
            keys: fleet.keys.clone(),
            done: BTreeMap::new(),
        }
    }

    /// Waits until `count` services have all replicas ready and updated in `generation`.
    pub async fn until(&mut self, count: usize, generation: u64) {
        while self
            .done
            .values()
            .filter(|done| **done >= generation)
            .count()
            < count
        {
            for change in self.follow.next().await.changes {
                let Some(Key::ServiceStatus(name)) = self.keys.parse(change.key()) else {
                    continue;
                };
                if let Change::Put(entry) = change {
                    let status: ServiceStatus = serde_json::from_slice(&entry.value).unwrap();
                    if (status.ready, status.updated) == (status.replicas, status.replicas) {
                        self.done.insert(name, status.observed_generation);
                    }
                }
            }
        }
    }
}
