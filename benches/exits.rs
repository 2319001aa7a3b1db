//! How soon an instance that exited is out of the answers: `scripts/bench exits [--quick]`.
//!
//! A real etcd, a real balancer, and this process, which writes what an agent writes when a process exits. From that
//! moment on it asks the balancer over gRPC, question after question, while a plain client of etcd watches the same key.
//! Both times begin when the write is sent: until the plain client is told, and until an answer comes without the
//! instance. The instance is idle and all others are busy, so that every answer names it while it is there.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use etcd_client::{Client, Txn, TxnOp};
use quaestor::proto::v1::{PickRequest, balancer_client::BalancerClient};
use serde_json::{Value, json};
use support::{
    PATIENCE,
    balancer::Balancer,
    etcd::Etcd,
    eventually_async,
    figures::{self, Bar},
};
use tokio::sync::mpsc;
use tonic::transport::Channel;

/// Instances on one node.
const PER_NODE: usize = 100;

const BAR: Duration = Duration::from_millis(2);

#[tokio::main(worker_threads = 2)]
async fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let (sizes, rounds) = match std::env::args().any(|argument| argument == "--quick") {
        true => (&[24, 10_000][..], 200),
        false => (&[24, 10_000, 100_000][..], 1_000),
    };
    println!(
        "{:>9}  {:>22}  {:>22}  {:>22}   bar: p99 <= {BAR:?} beyond",
        "endpoints", "put to watch, p50 p99", "out of answers, p50 p99", "beyond, p50 p99"
    );
    for size in sizes {
        let pairs = measure(*size, rounds).await;
        let [watched, gone, beyond] = [
            |pair: &Pair| pair.watched,
            |pair: &Pair| pair.gone,
            |pair: &Pair| pair.gone.saturating_sub(pair.watched),
        ]
        .map(|time| quantiles(pairs.iter().map(time)));
        let both = |(p50, p99): (f64, f64)| format!("  {p50:>10.2} {p99:>8.2} ms");
        println!("{size:>9}{}{}{}", both(watched), both(gone), both(beyond));
        let cells = [
            ("a plain watch, median", watched.0, "ms"),
            ("p99", watched.1, "ms"),
            ("out of the answers, median", gone.0, "ms"),
            ("p99 ", gone.1, "ms"),
        ];
        figures::row("exits", &format!("{size} endpoints"), &cells);
        let name = format!(
            "an exit among {size} until it is out of the answers, beyond a plain watch, p99"
        );
        let most = Bar::AtMost(BAR.as_secs_f64() * 1e3);
        figures::bar(&name, beyond.1, "ms", most);
    }
}

/// Median and 99th percentile, in milliseconds.
fn quantiles(times: impl Iterator<Item = Duration>) -> (f64, f64) {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

/// From the write on: when a plain client saw it, and when the first answer came that heeds it.
struct Pair {
    watched: Duration,
    gone: Duration,
}

async fn measure(size: usize, rounds: usize) -> Vec<Pair> {
    let etcd = Etcd::start();
    let mut client = Client::connect([etcd.endpoint()], None).await.unwrap();
    fill(&mut client, size).await;
    let balancer = Balancer::start(&["--etcd", &etcd.endpoint(), "--max-peer-rate", "0"]);
    let channel = Channel::from_shared(format!("http://{}", balancer.grpc)).unwrap();
    let channel = channel.connect_lazy();
    eventually_async("the instance is answered", async || {
        is_answered(&channel).await
    })
    .await;

    let (key, value) = state(0, false);
    let mut seen = watch(&mut client, key.clone()).await;
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let start = Instant::now();
        let asker = tokio::spawn({
            let channel = channel.clone();
            async move {
                while is_answered(&channel).await {
                    assert!(start.elapsed() < PATIENCE, "it is still answered");
                }
                start.elapsed()
            }
        });
        client
            .put(key.clone(), value.to_string(), None)
            .await
            .unwrap();
        let watched = seen.recv().await.unwrap() - start;
        let gone = asker.await.unwrap();
        pairs.push(Pair { watched, gone });

        let (key, value) = state(0, true);
        client.put(key, value.to_string(), None).await.unwrap();
        seen.recv().await.unwrap();
        eventually_async("it is answered again", async || is_answered(&channel).await).await;
        // Not in step with anything.
        tokio::time::sleep(Duration::from_micros(round as u64 * 37 % 1_000)).await;
    }
    pairs
}

/// When `key` was seen to change, by a watch as the library makes it.
async fn watch(client: &mut Client, key: String) -> mpsc::UnboundedReceiver<Instant> {
    let mut stream = client.watch(key, None).await.unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(response)) = stream.message().await {
            if !response.events().is_empty() && tell.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    told
}

/// Whether the next request would go to the instance.
async fn is_answered(channel: &Channel) -> bool {
    let request = PickRequest {
        service: "Worker".to_owned(),
        ..Default::default()
    };
    let answer = BalancerClient::new(channel.clone()).pick(request).await;
    answer.is_ok_and(|answer| answer.get_ref().endpoints[0].instance == instance(0))
}

fn instance(at: usize) -> String {
    format!("worker-{at}")
}

fn path(key: String) -> String {
    format!("/quaestor/default/{key}")
}

/// What an agent says of an instance.
fn state(at: usize, ready: bool) -> (String, Value) {
    let (node, slot) = (at / PER_NODE, at % PER_NODE);
    let value = json!({
        "instance": instance(at), "node": format!("node-{node}"), "ready": ready,
        "phase": if ready { "Running" } else { "BackOff" }, "pid": 10_000 + slot,
        "endpoint": {"host": format!("node-{node}.example.com"), "port": 20_000 + slot},
        "restarts": 0, "startedAt": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        "revision": "0123456789", "epoch": 1,
    });
    (path(format!("state/node-{node}/{}", instance(at))), value)
}

/// Writes a service of so many instances.
async fn fill(client: &mut Client, size: usize) {
    for node in 0..size.div_ceil(PER_NODE) {
        let all = node * PER_NODE..size.min((node + 1) * PER_NODE);
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": format!("node-{node}.example.com"), "version": "0",
            "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        let report = |at: usize| {
            let current = if at == 0 { 0 } else { i32::MAX };
            let stats = json!({
                "requestCapacity": i32::MAX, "currentRequests": current,
                "serverUtilization": 0.3, "serverMemoryUsagePercent": 40.0,
            });
            (instance(at), json!({"stats": stats}))
        };
        let load: serde_json::Map<_, _> = all.clone().map(report).collect();
        let load = json!({"at": "2026-01-01T00:00:00Z", "instances": load});
        let mut keys: Vec<_> = all.map(|at| state(at, true)).collect();
        keys.push((path(format!("session/node-{node}")), session));
        keys.push((path(format!("load/node-{node}")), load));
        put(client, keys).await;
    }
    let route =
        json!({"service": "worker", "names": ["Worker"], "published": true, "generation": 1});
    put(client, vec![(path("route/worker".to_owned()), route)]).await;
}

async fn put(client: &mut Client, keys: Vec<(String, Value)>) {
    let puts = keys
        .into_iter()
        .map(|(key, value)| TxnOp::put(key, value.to_string(), None));
    client
        .txn(Txn::new().and_then(puts.collect::<Vec<_>>()))
        .await
        .unwrap();
}
