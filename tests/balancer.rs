//! A balancer as clients see it, on a real etcd whose keys are written by hand:
//!
//! - what it answers: [`names_find_the_ready_endpoints_of_their_service`],
//!   [`the_least_busy_comes_first_and_two_askers_in_a_row_get_two`],
//!   [`endpoints_of_a_node_whose_session_ended_come_last`]
//! - how fast: [`an_instance_that_is_not_ready_any_more_is_gone_at_once`]
//! - without a store: [`before_it_has_read_the_store_it_is_unavailable`],
//!   [`with_the_store_killed_it_answers_from_what_it_knows_and_then_catches_up`],
//!   [`restarted_while_the_store_is_gone_it_answers_from_its_file_and_tells_the_age`],
//!   [`a_store_that_is_restored_from_a_snapshot_is_followed_back_and_never_empties_a_service`],
//!   [`the_real_program_is_restarted_while_the_store_is_gone_and_goes_on_from_its_file`]
//! - with nonsense in the store: [`a_value_that_cannot_be_read_leaves_the_last_good_one_in_force`]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "measures in real time")]

mod support;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use quaestor::{
    balancer::{self, answers::Answers, limits::Limits},
    host::Host,
    model::Name,
    proto::service_discovery::{
        DiscoverServicesRequest, DiscoverServicesResponse,
        service_discovery_grpc_client::ServiceDiscoveryGrpcClient,
    },
    rpc,
    store::{self, Outcome, Store, Txn, Write},
    task::Tasks,
    view::Directory,
};
use serde_json::{Value, json};
use support::{balancer::Balancer as Program, etcd::Etcd, eventually_async};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// A balancer, asked over a real connection. Ends when dropped.
struct Balancer {
    store: Store,
    directory: Arc<Directory>,
    channel: Channel,
    host: Host,
    _tasks: Tasks,
}

impl Balancer {
    async fn start(etcd: &Etcd) -> Self {
        Self::keeping(etcd, None).await
    }

    /// One that keeps its view in a file.
    async fn keeping(etcd: &Etcd, view_cache: Option<&Path>) -> Self {
        let host = Host::system();
        let store = Store::new(store::Config::new([etcd.endpoint()]), host.clone()).unwrap();
        let directory = Arc::new(Directory::default());
        let listener = host
            .network
            .listen(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let address = format!("http://{}", listener.local_address().unwrap());
        let channel = Channel::from_shared(address).unwrap().connect_lazy();

        let mut tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop().clone();
        let cluster: Name = "test".parse().unwrap();
        let (follow, known) = (store.clone(), Arc::clone(&directory));
        let config = balancer::Config {
            cluster,
            view_cache: view_cache.map(Path::to_owned),
            import: None,
            announced: None,
        };
        tasks.spawn(
            "balancer",
            balancer::run(config, follow, host.clone(), known, stop.clone()),
        );
        let answers = Answers::new(Arc::clone(&directory), host.clone(), Limits::default());
        let surface = rpc::serve(listener, answers, None, host.clone(), stop);
        tasks.spawn("surface", surface);
        Self {
            store,
            directory,
            channel,
            host,
            _tasks: tasks,
        }
    }

    /// Writes a key below the cluster's root.
    async fn put(&self, key: &str, value: impl ToString) {
        let write = Write::put(format!("/quaestor/test/{key}"), value.to_string());
        self.commit(write).await;
    }

    async fn delete(&self, key: &str) {
        self.commit(Write::delete(format!("/quaestor/test/{key}")))
            .await;
    }

    async fn commit(&self, write: Write) {
        let outcome = self.store.commit(Txn::new().then(write)).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed(_)));
    }

    async fn ask(&self, name: &str) -> Result<Vec<String>, Status> {
        let mut client = ServiceDiscoveryGrpcClient::new(self.channel.clone());
        places(name, client.discover_services(question(name, 0)).await)
    }

    async fn ask_top(&self, name: &str, max_count: i32) -> Result<Vec<String>, Status> {
        let mut client = ServiceDiscoveryGrpcClient::new(self.channel.clone());
        places(
            name,
            client
                .discover_top_services(question(name, max_count))
                .await,
        )
    }

    /// Waits until the answer for `name`, sorted, is `expected`.
    async fn answers(&self, name: &str, expected: &[&str]) {
        eventually_async(&format!("{name} is found at {expected:?}"), async || {
            let mut places = self.ask(name).await.unwrap_or_default();
            places.sort();
            places == expected
        })
        .await;
    }

    /// Two ready workers on node `n`, ports 1 and 2, found as `Worker`.
    async fn with_two_workers(self) -> Self {
        self.put("session/n", session(true)).await;
        self.put("route/worker", route("worker", "Worker")).await;
        self.put("state/n/worker-0", state("n", "worker-0", 1, true))
            .await;
        self.put("state/n/worker-1", state("n", "worker-1", 2, true))
            .await;
        self.answers("Worker", &["n.test:1", "n.test:2"]).await;
        self
    }
}

fn question(name: &str, max_count: i32) -> DiscoverServicesRequest {
    DiscoverServicesRequest {
        scope: "ignored".to_owned(),
        service_name: name.to_owned(),
        max_count,
    }
}

/// `host:port` of every location of an answer, whose other fields are as they must be.
fn places(
    name: &str,
    answer: Result<Response<DiscoverServicesResponse>, Status>,
) -> Result<Vec<String>, Status> {
    let locations = answer?.into_inner().service_locations;
    let place = locations.into_iter().map(|location| {
        assert_eq!(
            (location.scope.as_str(), location.service_name.as_str()),
            ("", name)
        );
        format!("{}:{}", location.host_name, location.port)
    });
    Ok(place.collect())
}

fn route(service: &str, name: &str) -> Value {
    json!({"service": service, "names": [name], "published": true, "generation": 1})
}

fn session(reconciled: bool) -> Value {
    json!({
        "uuid": "u", "nodeUuid": "n", "address": "n.test", "version": "0",
        "startedAt": "2026-01-01T00:00:00Z", "reconciled": reconciled,
    })
}

fn state(node: &str, instance: &str, port: u16, ready: bool) -> Value {
    json!({
        "instance": instance, "node": node, "phase": "Running", "ready": ready,
        "endpoint": {"host": format!("{node}.test"), "port": port},
        "observedGeneration": 1, "epoch": 1,
    })
}

/// Each instance with its current requests, out of ten.
fn load(instances: &[(&str, i32)]) -> Value {
    let report = |(instance, current): &(&str, i32)| {
        let stats = json!({
            "requestCapacity": 10, "currentRequests": current,
            "serverUtilization": 0.0, "serverMemoryUsagePercent": -1.0,
        });
        ((*instance).to_owned(), json!({"stats": stats}))
    };
    let instances: serde_json::Map<_, _> = instances.iter().map(report).collect();
    json!({"at": "2026-01-01T00:00:00Z", "instances": instances})
}

#[tokio::test]
async fn names_find_the_ready_endpoints_of_their_service() {
    let etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;

    // Not ready, not published, or only similar: none of them is found.
    balancer
        .put("state/n/worker-2", state("n", "worker-2", 3, false))
        .await;
    balancer
        .put(
            "route/hidden",
            json!({
                "service": "hidden", "names": ["Worker"], "published": false, "generation": 1,
            }),
        )
        .await;
    balancer
        .put("state/n/hidden-0", state("n", "hidden-0", 4, true))
        .await;
    balancer
        .put("route/longer", route("longer", "WorkerX"))
        .await;
    balancer
        .put("state/n/longer-0", state("n", "longer-0", 5, true))
        .await;
    balancer.answers("WorkerX", &["n.test:5"]).await;
    balancer.answers("Worker", &["n.test:1", "n.test:2"]).await;
    assert!(balancer.ask("worker").await.unwrap().is_empty());
    assert!(balancer.ask("Work").await.unwrap().is_empty());
    assert!(balancer.ask_top("Nobody", 1).await.unwrap().is_empty());

    // Services that share a name are one to their clients; a deleted route ends it.
    balancer
        .put("route/longer", route("longer", "Worker"))
        .await;
    balancer
        .answers("Worker", &["n.test:1", "n.test:2", "n.test:5"])
        .await;
    balancer.delete("route/worker").await;
    balancer.answers("Worker", &["n.test:5"]).await;
    balancer.delete("state/n/longer-0").await;
    balancer.answers("Worker", &[]).await;
}

#[tokio::test]
async fn the_least_busy_comes_first_and_two_askers_in_a_row_get_two() {
    let etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;
    balancer
        .put("load/n", load(&[("worker-0", 7), ("worker-1", 3)]))
        .await;
    // Asking moves what is found to the end, so the load is watched elsewhere.
    eventually_async("the load is known", async || {
        let known = balancer.directory.random("Worker", usize::MAX, 0).unwrap();
        known
            .iter()
            .all(|endpoint| endpoint.load().counts.is_some())
    })
    .await;
    assert_eq!(balancer.ask_top("Worker", 1).await.unwrap(), ["n.test:2"]);
    assert_eq!(balancer.ask_top("Worker", 1).await.unwrap(), ["n.test:1"]);
    assert_eq!(
        balancer.ask_top("Worker", -1).await.unwrap(),
        ["n.test:2", "n.test:1"]
    );
}

#[tokio::test]
async fn endpoints_of_a_node_whose_session_ended_come_last() {
    let etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;
    balancer.put("session/m", session(true)).await;
    balancer
        .put("state/m/worker-2", state("m", "worker-2", 3, true))
        .await;
    balancer.put("load/m", load(&[("worker-2", 0)])).await;
    balancer
        .answers("Worker", &["m.test:3", "n.test:1", "n.test:2"])
        .await;

    balancer.delete("session/m").await;
    eventually_async("the suspect is last, however often asked", async || {
        let mut last = Vec::new();
        for _ in 0..20 {
            last.extend(balancer.ask("Worker").await.unwrap().pop());
        }
        last.iter().all(|place| place == "m.test:3")
    })
    .await;
    let top = balancer.ask_top("Worker", 0).await.unwrap();
    assert_eq!(top, ["n.test:1", "n.test:2", "m.test:3"]);
}

#[tokio::test]
async fn an_instance_that_is_not_ready_any_more_is_gone_at_once() {
    let etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;
    let mut late = Vec::new();
    for _ in 0..10 {
        balancer
            .put("state/n/worker-0", state("n", "worker-0", 1, false))
            .await;
        let written = Instant::now();
        while balancer
            .ask("Worker")
            .await
            .unwrap()
            .contains(&"n.test:1".to_owned())
        {}
        late.push(written.elapsed());
        balancer
            .put("state/n/worker-0", state("n", "worker-0", 1, true))
            .await;
        balancer.answers("Worker", &["n.test:1", "n.test:2"]).await;
    }
    late.sort();
    println!("gone after {late:?}");
    // A millisecond or two where nothing else runs; a busy machine makes some of them longer.
    assert!(late[4] < Duration::from_millis(500), "{late:?}");
}

#[tokio::test]
async fn restarted_while_the_store_is_gone_it_answers_from_its_file_and_tells_the_age() {
    let mut etcd = Etcd::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("view");
    let first = Balancer::keeping(&etcd, Some(&file)).await;
    let first = first.with_two_workers().await;
    eventually_async("the view is kept", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("worker-1"))
    })
    .await;
    // Without a last word, as if it were killed.
    drop(first);
    etcd.kill();
    let killed = Instant::now();

    let second = Balancer::keeping(&etcd, Some(&file)).await;
    second.answers("Worker", &["n.test:1", "n.test:2"]).await;
    let least = killed.elapsed();
    let age = second.directory.age(second.host.clock.now()).unwrap();
    assert!(age >= least, "{age:?} since the store was heard");

    // Back again, it says what is gone meanwhile.
    etcd.restart();
    second.delete("state/n/worker-1").await;
    second.answers("Worker", &["n.test:1"]).await;
    let age = second.directory.age(second.host.clock.now()).unwrap();
    assert!(age < killed.elapsed(), "heard again: {age:?}");
}

#[tokio::test]
async fn a_store_that_is_restored_from_a_snapshot_is_followed_back_and_never_empties_a_service() {
    let mut etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;
    let snapshot = etcd.snapshot();
    // What the snapshot does not know.
    balancer.delete("state/n/worker-0").await;
    balancer
        .put("state/n/worker-2", state("n", "worker-2", 3, true))
        .await;
    balancer.answers("Worker", &["n.test:2", "n.test:3"]).await;

    etcd.restore(&snapshot);
    eventually_async("the store of then is followed", async || {
        let mut places = balancer.ask("Worker").await.unwrap();
        places.sort();
        assert!(places.contains(&"n.test:2".to_owned()), "{places:?}");
        places == ["n.test:1", "n.test:2"]
    })
    .await;
    // And what happens there from then on.
    balancer
        .put("state/n/worker-1", state("n", "worker-1", 2, false))
        .await;
    balancer.answers("Worker", &["n.test:1"]).await;
}

#[tokio::test]
async fn the_real_program_is_restarted_while_the_store_is_gone_and_goes_on_from_its_file() {
    let mut etcd = Etcd::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("view");
    let endpoint = etcd.endpoint();
    let flags = [
        "--cluster",
        "test",
        "--etcd",
        &endpoint,
        "--view-cache",
        file.to_str().unwrap(),
    ];
    // Writes the keys, and is not asked.
    drop(Balancer::start(&etcd).await.with_two_workers().await);
    let both = ["n.test:1".to_owned(), "n.test:2".to_owned()];
    let mut first = Program::start(&flags);
    first.await_places("Worker", &both);
    etcd.kill();
    // Told to end, it keeps its last view; and the next one begins with it.
    support::signal(first.pid(), "TERM");
    assert!(first.wait());
    let second = Program::start(&flags);
    second.await_places("Worker", &both);
    let (status, pick) = second.ask("/v1/services/Worker/pick").unwrap();
    assert_eq!(status, 200);
    assert!(pick["viewAgeMillis"].as_u64().unwrap() > 1_000, "{pick}");

    etcd.restart();
    let writer = Balancer::start(&etcd).await;
    writer.delete("state/n/worker-1").await;
    second.await_places("Worker", &both[..1]);
    eventually_async("the view is young again", async || {
        let (_, pick) = second.ask("/v1/services/Worker/pick").unwrap();
        pick["viewAgeMillis"].as_u64().unwrap() < 15_000
    })
    .await;
}

#[tokio::test]
async fn before_it_has_read_the_store_it_is_unavailable() {
    let mut etcd = Etcd::start();
    etcd.kill();
    let balancer = Balancer::start(&etcd).await;
    let mut health = HealthClient::new(balancer.channel.clone());
    let mut health = async || {
        let answer = health.check(HealthCheckRequest::default()).await;
        answer.unwrap().into_inner().status()
    };
    let refused = balancer.ask("Worker").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("has not read the store"),
        "{}",
        refused.message()
    );
    assert_eq!(
        balancer.ask_top("Worker", 1).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert_eq!(health().await, ServingStatus::NotServing);
    assert_eq!(balancer.directory.age(balancer.host.clock.now()), None);

    etcd.restart();
    eventually_async("it answers", async || balancer.ask("Worker").await.is_ok()).await;
    assert_eq!(health().await, ServingStatus::Serving);
}

#[tokio::test]
async fn with_the_store_killed_it_answers_from_what_it_knows_and_then_catches_up() {
    let mut etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;
    let age = || balancer.directory.age(balancer.host.clock.now()).unwrap();
    etcd.kill();
    eventually_async("the view grows old", async || {
        let mut known = balancer.ask("Worker").await.unwrap();
        known.sort();
        assert_eq!(known, ["n.test:1", "n.test:2"]);
        age() > Duration::from_secs(3)
    })
    .await;

    etcd.restart();
    balancer
        .put("state/n/worker-1", state("n", "worker-1", 2, false))
        .await;
    balancer.answers("Worker", &["n.test:1"]).await;
    eventually_async("the view is young again", async || {
        age() < Duration::from_secs(2)
    })
    .await;
}

#[tokio::test]
async fn a_value_that_cannot_be_read_leaves_the_last_good_one_in_force() {
    let etcd = Etcd::start();
    let balancer = Balancer::start(&etcd).await.with_two_workers().await;
    for key in [
        "route/worker",
        "state/n/worker-0",
        "session/n",
        "load/n",
        "state/n/nonsense",
    ] {
        balancer.put(key, "{nonsense").await;
    }
    // Whatever is written later is seen later.
    balancer
        .put("state/n/worker-2", state("n", "worker-2", 3, true))
        .await;
    balancer
        .answers("Worker", &["n.test:1", "n.test:2", "n.test:3"])
        .await;
    balancer
        .put("state/n/worker-0", state("n", "worker-0", 1, false))
        .await;
    balancer.answers("Worker", &["n.test:2", "n.test:3"]).await;
}
