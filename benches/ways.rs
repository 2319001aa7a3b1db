//! What a request costs by each way to find a worker for it: `scripts/bench ways [--quick]`.
//!
//! 24 real workers, and a request that is a small call of one of them. Its caller asks the balancer first, which is our
//! way; or a real etcd, for all that is under a prefix, and draws one, which is what people do who have no balancer; or leaves it
//! to a proxy, nginx, which carries every byte; or knows a worker by itself, which is the limit. Connections stay open.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "support/turns.rs"]
#[allow(dead_code, reason = "each bench uses a part")]
mod turns;

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use etcd_client::{Client, GetOptions};
use futures::FutureExt as _;
use quaestor::proto::v1::{PickRequest, balancer_client::BalancerClient};
use support::{
    cluster::demo_workers, eventually, eventually_async, figures, hosts::Hosts, ports::free_port,
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use turns::{Kind, Request, take_turns};

const WORKERS: usize = 24;

/// What people write into etcd who have no balancer: a key for each worker, with its address.
const PREFIX: &str = "/services/worker/";

#[tokio::main(worker_threads = 2)]
async fn main() {
    // `cargo test --benches` only wants to know whether it compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let listen = format!("127.0.0.1:{}", free_port());
    let mut hosts = Hosts::start(&["n0"], &[]);
    hosts.role(
        "balancer",
        &["balancer", "--listen", &listen, "--max-peer-rate", "0"],
    );
    let replicas = u16::try_from(WORKERS).unwrap();
    let manifest = hosts.manifest("worker", &demo_workers(replicas, ""));
    hosts.ok(&["apply", "-f", &manifest, "--wait"]);
    let addresses = addresses(&hosts);
    let balancer = connect(&listen);
    eventually_async("the balancer knows all workers", async || {
        let request = PickRequest {
            service: "Worker".to_owned(),
            count: 100,
            ..Default::default()
        };
        let picked = BalancerClient::new(balancer.clone()).pick(request).await;
        picked.is_ok_and(|picked| picked.into_inner().endpoints.len() == WORKERS)
    })
    .await;
    let workers: HashMap<String, Channel> = addresses
        .iter()
        .map(|address| (address.clone(), connect(address)))
        .collect();
    let workers = Arc::new(workers);
    let mut etcd = Client::connect([hosts.etcd.endpoint()], None)
        .await
        .unwrap();
    for (at, address) in addresses.iter().enumerate() {
        etcd.put(format!("{PREFIX}{at}"), address.as_str(), None)
            .await
            .unwrap();
    }

    let mut kinds = vec![
        Kind::new("a worker that is known", known(&addresses, &workers)),
        Kind::new(
            "quaestor: Pick, then the worker",
            picked(&balancer, &workers),
        ),
        Kind::new("etcd by prefix, then a worker", listed(&etcd, &workers)),
    ];
    let proxy = Proxy::start(&addresses);
    match &proxy {
        Some(proxy) => {
            let channel = connect(&proxy.address);
            eventually_async("the proxy passes on", async || is_served(&channel).await).await;
            let through: Request = Arc::new(move |_| {
                let channel = channel.clone();
                async move { call(channel).await }.boxed()
            });
            kinds.push(Kind::new("through nginx", through));
        }
        None => println!("without a proxy: $QUAESTOR_BENCH_NGINX names none"),
    }
    let (rounds, turn) = turns::length();
    take_turns(&mut kinds, rounds, turn).await;
    turns::print_head();
    for kind in &kinds {
        kind.print(Some((&kinds[0], "of the known one")));
        let (medians, (rate, p99)) = (kind.medians(), kind.beside(&kinds[0]));
        let micros = medians.p50.as_secs_f64() * 1e6;
        let cells = [
            ("requests a second, beside the first", rate, ""),
            ("p99, beside the first", p99, ""),
            ("median", micros, "µs"),
        ];
        figures::row("ways", kind.name, &cells);
    }
}

/// Where the workers are.
fn addresses(hosts: &Hosts) -> Vec<String> {
    let instances = hosts.get("instances");
    let place = |instance: &serde_json::Value| {
        let endpoint = &instance["endpoint"];
        let host = endpoint["host"].as_str().unwrap();
        format!("{host}:{}", endpoint["port"])
    };
    instances.iter().map(place).collect()
}

fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect_lazy()
}

async fn is_served(channel: &Channel) -> bool {
    let request = HealthCheckRequest::default();
    HealthClient::new(channel.clone())
        .check(request)
        .await
        .is_ok()
}

/// The request: as small as one can be.
async fn call(worker: Channel) {
    let request = HealthCheckRequest::default();
    HealthClient::new(worker).check(request).await.unwrap();
}

fn known(addresses: &[String], workers: &Arc<HashMap<String, Channel>>) -> Request {
    let channels: Vec<Channel> = (addresses.iter())
        .map(|address| workers[address].clone())
        .collect();
    let next = Arc::new(AtomicUsize::new(0));
    Arc::new(move |_| {
        let worker = channels[next.fetch_add(1, Relaxed) % channels.len()].clone();
        call(worker).boxed()
    })
}

fn picked(balancer: &Channel, workers: &Arc<HashMap<String, Channel>>) -> Request {
    let (balancer, workers) = (balancer.clone(), Arc::clone(workers));
    Arc::new(move |_| {
        let (mut balancer, workers) = (BalancerClient::new(balancer.clone()), Arc::clone(&workers));
        async move {
            let request = PickRequest {
                service: "Worker".to_owned(),
                ..Default::default()
            };
            let picked = balancer.pick(request).await.unwrap().into_inner();
            let address = picked.endpoints[0].address.as_ref().unwrap();
            call(workers[&format!("{}:{}", address.host, address.port)].clone()).await;
        }
        .boxed()
    })
}

fn listed(etcd: &Client, workers: &Arc<HashMap<String, Channel>>) -> Request {
    let (etcd, workers) = (etcd.clone(), Arc::clone(workers));
    let next = Arc::new(AtomicUsize::new(0));
    Arc::new(move |_| {
        let (mut etcd, workers) = (etcd.clone(), Arc::clone(&workers));
        let next = next.fetch_add(1, Relaxed);
        async move {
            let all = GetOptions::new().with_prefix();
            let found = etcd.get(PREFIX, Some(all)).await.unwrap();
            let found = &found.kvs()[next % found.kvs().len()];
            call(workers[found.value_str().unwrap()].clone()).await;
        }
        .boxed()
    })
}

/// nginx, which passes calls on to the least busy worker.
struct Proxy {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Proxy {
    /// None where `$QUAESTOR_BENCH_NGINX` names no program.
    fn start(addresses: &[String]) -> Option<Self> {
        let program = std::env::var_os("QUAESTOR_BENCH_NGINX")?;
        let directory = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let servers: String = (addresses.iter())
            .map(|address| format!("server {address};"))
            .collect();
        let path = directory.path().display();
        // What its documentation advises for many small calls: connections that stay, no log.
        let configuration = format!(
            "daemon off; worker_processes 2; pid {path}/pid; error_log stderr warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
               access_log off; keepalive_requests 1000000000; client_body_temp_path {path}/body;\n\
               proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi;\n\
               scgi_temp_path {path}/scgi;\n\
               upstream workers {{ least_conn; {servers} keepalive 256; keepalive_requests 1000000000; }}\n\
               server {{ listen {address} http2; location / {{ grpc_pass grpc://workers; }} }}\n\
             }}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).arg("-p").arg(directory.path());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        eventually("nginx listens", || {
            std::net::TcpStream::connect(&address).is_ok()
        });
        Some(Self {
            child,
            address,
            _directory: directory,
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It ends its own processes when it is asked to, and not when it is killed.
        support::signal(self.child.id(), "TERM");
        let _ = self.child.wait();
    }
}
