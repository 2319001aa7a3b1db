//! Whole controllers on a real etcd. The tests write specs as an operator would, and sessions and
//! states as agents would.
//!
//! 1. Leading: `instances_are_placed_...`, `a_rollout_...`, `a_deletion_...`, `a_bad_spec_...`
//! 2. Resting: `an_idle_cluster_...`
//! 3. Taking over: `another_controller_...`, `a_silent_leader_...`, `a_former_leader_...`
//! 4. Refusing: `an_unknown_layout_...`
//! 5. Enduring: `a_store_that_was_away_...`
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run controllers and agents as they like"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use quaestor::{
    controller,
    host::Host,
    keys::{Key, Keys},
    model::{Assignment, ConditionStatus, Desired, Name, ServiceStatus},
    plan::absence::GRACE,
    store::{self, Entry, Outcome, Store, Txn, Write},
};
use serde_json::{Value as Json, json};
use support::{etcd::Etcd, eventually_async};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct World {
    etcd: Etcd,
    store: Store,
    keys: Keys,
}

/// A running controller; silenced, as if its host had died, when dropped.
struct Controller {
    task: JoinHandle<Result<(), controller::Error>>,
    stop: CancellationToken,
}

impl Controller {
    /// Ends it as SIGTERM does.
    async fn end(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn worker(replicas: u32, version: &str) -> Json {
    json!({
        "replicas": replicas, "command": ["worker", version],
        "ports": [{"name": "grpc", "range": "5161-5164"}],
    })
}

impl World {
    fn new() -> Self {
        let etcd = Etcd::start();
        Self {
            store: connect(&etcd),
            etcd,
            keys: Keys::new(&name("default")),
        }
    }

    fn controller(&self) -> Controller {
        let config = controller::Config {
            cluster: name("default"),
            name: "test".to_owned(),
            node_grace: GRACE,
            compacts_every: None,
            state_directory: None,
        };
        let stop = CancellationToken::new();
        let running = controller::run(config, connect(&self.etcd), Host::system(), stop.clone());
        Controller {
            task: tokio::spawn(running),
            stop,
        }
    }

    async fn put(&self, key: &Key, value: &Json) {
        self.put_text(key, &value.to_string()).await;
    }

    async fn put_text(&self, key: &Key, text: &str) {
        let write = Write::put(self.keys.of(key), text.to_owned());
        self.store.commit(Txn::new().then(write)).await.unwrap();
    }

    async fn drop_key(&self, key: &Key) {
        let write = Write::delete(self.keys.of(key));
        self.store.commit(Txn::new().then(write)).await.unwrap();
    }

    async fn spec(&self, service: &str, generation: u64, spec: Json) {
        let object = json!({"metadata": {"name": service}, "generation": generation, "spec": spec});
        self.put(&Key::ServiceSpec(name(service)), &object).await;
    }

    async fn session(&self, node: &str) {
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": "127.0.0.1", "version": "0",
            "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        self.put(&Key::Session(name(node)), &session).await;
    }

    /// All keys of the cluster, without its root.
    async fn all(&self) -> BTreeMap<String, Entry> {
        let listing = self.store.list(self.keys.root()).await.unwrap();
        let entries = listing.entries.into_iter();
        entries
            .map(|entry| (entry.key.replace(self.keys.root(), ""), entry))
            .collect()
    }

    async fn assignments(&self) -> Vec<(Name, Assignment)> {
        let listing = self.store.list(&self.keys.assignments()).await.unwrap();
        let entries = listing.entries.into_iter();
        entries
            .map(|entry| match self.keys.parse(&entry.key) {
                Some(Key::Assignment(node, _)) => {
                    (node, serde_json::from_slice(&entry.value).unwrap())
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    async fn status(&self, service: &str) -> Option<ServiceStatus> {
        let key = self.keys.of(&Key::ServiceStatus(name(service)));
        let entry = self.store.get(&key).await.unwrap()?;
        Some(serde_json::from_slice(&entry.value).unwrap())
    }

    async fn is_ready(&self, service: &str, generation: u64) -> bool {
        self.status(service).await.is_some_and(|status| {
            status.observed_generation == generation
                && (status.conditions.iter())
                    .any(|c| c.r#type == "Ready" && c.status == ConditionStatus::True)
        })
    }

    /// What agents do with an assignment, at once.
    async fn act_on(&self, node: &Name, asked: &Assignment) {
        let key = Key::State(node.clone(), asked.instance.clone());
        let stored = self.store.get(&self.keys.of(&key)).await.unwrap();
        if asked.desired == Desired::Absent {
            if stored.is_some() {
                self.drop_key(&key).await;
            }
            return;
        }
        let state = json!({
            "instance": asked.instance, "node": node, "phase": "Running", "ready": true,
            "observedGeneration": asked.generation, "revision": asked.revision, "epoch": 1,
        });
        let known = stored.map(|entry| serde_json::from_slice::<Json>(&entry.value).unwrap());
        if known.as_ref() != Some(&state) {
            self.put(&key, &state).await;
        }
    }

    async fn act(&self) {
        for (node, asked) in self.assignments().await {
            self.act_on(&node, &asked).await;
        }
    }

    /// Agents act until the service is ready.
    async fn until_ready(&self, service: &str, generation: u64) {
        eventually_async("the service is ready", async || {
            self.act().await;
            self.is_ready(service, generation).await
        })
        .await;
    }
}

fn connect(etcd: &Etcd) -> Store {
    Store::new(store::Config::new([etcd.endpoint()]), Host::system()).unwrap()
}

#[tokio::test]
async fn instances_are_placed_on_live_nodes_and_reported_ready() {
    let world = World::new();
    let _controller = world.controller();
    world.spec("worker", 1, worker(4, "1")).await;
    eventually_async("the lack of nodes is reported", async || {
        let status = world.status("worker").await;
        status.is_some_and(|s| s.conditions[0].message.contains("there are no nodes"))
    })
    .await;
    for node in ["a", "b"] {
        world.session(node).await;
    }
    world.until_ready("worker", 1).await;
    let mut on: BTreeMap<Name, u32> = BTreeMap::new();
    let mut ports = Vec::new();
    for (node, asked) in world.assignments().await {
        *on.entry(node).or_default() += 1;
        ports.push(asked.ports[0].number.unwrap());
    }
    ports.sort_unstable();
    assert_eq!(ports, [5161, 5162, 5163, 5164]);
    assert_eq!(on, BTreeMap::from([(name("a"), 2), (name("b"), 2)]));
    let all = world.all().await;
    for key in [
        "route/worker",
        "status/node/a",
        "status/node/b",
        "meta/identity",
        "leader",
    ] {
        assert!(all.contains_key(key), "{key} in {:?}", all.keys());
    }
}

#[tokio::test]
async fn a_rollout_goes_on_only_when_the_last_one_is_ready() {
    let world = World::new();
    let _controller = world.controller();
    world.session("a").await;
    world.spec("worker", 1, worker(3, "1")).await;
    world.until_ready("worker", 1).await;
    world.spec("worker", 2, worker(3, "2")).await;
    for done in 1..=3 {
        let updated = async || {
            let all = world.assignments().await;
            all.into_iter()
                .filter(|(_, asked)| asked.generation == 2)
                .collect::<Vec<_>>()
        };
        eventually_async("the next one is replaced", async || {
            updated().await.len() == done
        })
        .await;
        eventually_async("how far it is is reported", async || {
            let status = world.status("worker").await.unwrap();
            (status.observed_generation, status.updated) == (2, done as u32 - 1)
        })
        .await;
        assert_eq!(updated().await.len(), done, "the next one waits");
        world.act().await;
    }
    world.until_ready("worker", 2).await;
}

#[tokio::test]
async fn a_deletion_ends_with_nothing_but_its_record() {
    let world = World::new();
    let _controller = world.controller();
    world.session("a").await;
    world.spec("worker", 1, worker(2, "1")).await;
    world.until_ready("worker", 1).await;
    let key = |key: Key| world.keys.of(&key);
    let tombstone = json!({"generation": 2, "deletedAt": "2026-01-01T00:00:00Z"}).to_string();
    let deletion = Txn::new()
        .then(Write::delete(key(Key::ServiceSpec(name("worker")))))
        .then(Write::put(key(Key::Tombstone(name("worker"))), tombstone));
    world.store.commit(deletion).await.unwrap();
    eventually_async("the instances are to stop", async || {
        let all = world.assignments().await;
        all.iter()
            .all(|(_, asked)| asked.desired == Desired::Absent)
    })
    .await;
    assert_eq!(
        world.assignments().await.len(),
        2,
        "their agents have not stopped them yet"
    );
    eventually_async("nothing is left", async || {
        world.act().await;
        let all = world.all().await;
        let of_worker: Vec<_> = all.keys().filter(|key| key.contains("worker")).collect();
        of_worker == ["spec/deleted/worker"]
    })
    .await;
}

#[tokio::test]
async fn a_bad_spec_is_reported_and_harms_nobody() {
    let world = World::new();
    let _controller = world.controller();
    world.session("a").await;
    world.spec("worker", 1, worker(2, "1")).await;
    world.until_ready("worker", 1).await;
    let before = world.assignments().await;
    world
        .put_text(&Key::ServiceSpec(name("worker")), "{garbage")
        .await;
    world.spec("other", 1, json!({"command": ["x"]})).await;
    world.until_ready("other", 1).await;
    eventually_async("the refusal is reported", async || {
        let status = world.status("worker").await.unwrap();
        status.conditions[1].reason == "SpecRefused"
    })
    .await;
    let after = world.assignments().await;
    assert!(before.iter().all(|assignment| after.contains(assignment)));
}

#[tokio::test]
async fn an_idle_cluster_writes_nothing() {
    let world = World::new();
    let _controller = world.controller();
    for node in ["a", "b"] {
        world.session(node).await;
    }
    world.spec("worker", 1, worker(3, "1")).await;
    world.until_ready("worker", 1).await;
    // What is planned for it comes after all that was written before.
    world.session("z").await;
    eventually_async("all is written", async || {
        world.all().await.contains_key("status/node/z")
    })
    .await;
    let before = world.all().await;
    // Each of these makes the leader plan again, and the last is the last to be planned.
    for node in ["a", "b", "a", "b"] {
        world.session(node).await;
    }
    world.session("c").await;
    eventually_async("the new node is reported", async || {
        world.all().await.contains_key("status/node/c")
    })
    .await;
    let after = world.all().await;
    for (key, entry) in before
        .iter()
        // That of the cluster counts the new node.
        .filter(|(key, _)| !key.starts_with("session/") && *key != "status/cluster")
        // What happened is told a moment later.
        .filter(|(key, _)| !key.starts_with("event/"))
    {
        assert_eq!(
            after[key].mod_revision, entry.mod_revision,
            "{key} was written"
        );
    }
    let count = |all: &BTreeMap<String, _>| {
        let keys = all.keys().filter(|key| !key.starts_with("event/"));
        keys.count()
    };
    assert_eq!(count(&after), count(&before) + 2, "{:?}", after.keys());
}

#[tokio::test]
async fn another_controller_takes_over_at_once_from_one_that_ends() {
    let world = World::new();
    let first = world.controller();
    world.session("a").await;
    world.spec("worker", 1, worker(1, "1")).await;
    world.until_ready("worker", 1).await;
    let _second = world.controller();
    let before = world.all().await["leader"].clone();
    let start = tokio::time::Instant::now();
    first.end().await;
    eventually_async("the second leads", async || {
        let all = world.all().await;
        all.get("leader")
            .is_some_and(|entry| entry.value != before.value)
    })
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    world.spec("worker", 2, worker(2, "1")).await;
    world.until_ready("worker", 2).await;
}

#[tokio::test]
async fn a_silent_leader_is_replaced_when_its_lease_ends_and_its_old_writes_are_refused() {
    let world = World::new();
    let first = world.controller();
    eventually_async("the first leads", async || {
        world.all().await.contains_key("leader")
    })
    .await;
    let old = world.all().await["leader"].clone();
    drop(first);
    let _second = world.controller();
    world.session("a").await;
    world.spec("worker", 1, worker(1, "1")).await;
    world.until_ready("worker", 1).await;
    // What the first one would still write.
    let late = Txn::new()
        .when(store::Guard::CreateRevision(
            old.key.clone(),
            old.create_revision,
        ))
        .when(store::Guard::Value(old.key.clone(), old.value.clone()))
        .then(Write::delete(world.keys.of(&Key::Route(name("worker")))));
    assert_eq!(world.store.commit(late).await.unwrap(), Outcome::Conflict);
}

#[tokio::test]
async fn an_unknown_layout_is_refused() {
    let world = World::new();
    world
        .put(&Key::Identity, &json!({"uuid": "x", "layout": 2}))
        .await;
    let mut controller = world.controller();
    let error = (&mut controller.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
    assert!(!world.all().await.contains_key("leader"));
}

#[tokio::test]
async fn a_store_that_was_away_is_led_again_when_it_is_back() {
    let mut world = World::new();
    let _controller = world.controller();
    world.session("a").await;
    world.spec("worker", 1, worker(1, "1")).await;
    world.until_ready("worker", 1).await;
    world.etcd.kill();
    world.etcd.restart();
    eventually_async("the spec is written", async || {
        let object =
            json!({"metadata": {"name": "worker"}, "generation": 2, "spec": worker(2, "1")});
        let key = world.keys.of(&Key::ServiceSpec(name("worker")));
        let write = Write::put(key, object.to_string());
        world.store.commit(Txn::new().then(write)).await.is_ok()
    })
    .await;
    world.until_ready("worker", 2).await;
}
