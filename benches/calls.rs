//! What a call of the balancer costs beside a call that does nothing: `scripts/bench balancer [--quick]`.
//!
//! One server and its clients in one process. The kinds of calls take turns, many times, so that each meets the
//! same machine; what is printed are ratios of medians. The empty call has messages of the size that `Pick` has.
//! The ancestor's way is a server that asks 24 workers for health and load for every question, all at the same
//! time over connections that stay open, and answers the least busy.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/support/figures.rs"]
#[allow(dead_code, unreachable_pub, reason = "each bench uses a part")]
mod figures;
mod support;
#[path = "support/turns.rs"]
mod turns;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use figures::Bar;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use quaestor::{
    balancer::{answers::Answers, limits::Limits},
    host::Host,
    proto::{
        load_reporting::{
            LoadReportRequest, LoadReportResponse, ServerStats,
            load_reporting_grpc_client::LoadReportingGrpcClient,
            load_reporting_grpc_server::{LoadReportingGrpc, LoadReportingGrpcServer},
        },
        service_discovery::{
            DiscoverServicesRequest, DiscoverServicesResponse, ServiceLocationMsg,
            service_discovery_grpc_client::ServiceDiscoveryGrpcClient,
            service_discovery_grpc_server::{ServiceDiscoveryGrpc, ServiceDiscoveryGrpcServer},
        },
        v1::{
            PickRequest, PickResponse, ReportOutcomeRequest, ReportOutcomeResponse, WatchRequest,
            WatchResponse,
            balancer_client::BalancerClient,
            balancer_server::{Balancer, BalancerServer},
        },
    },
    rpc,
};
use support::World;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use turns::{CALLERS, Kind, Request as Ask, take_turns};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// All calls go over so many.
const CONNECTIONS: usize = 2;
const WORKERS: usize = 24;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let (rounds, turn) = turns::length();
    turns::print_head();
    for size in [24, 10_000] {
        beside_empty(size, rounds, turn).await;
    }
    growth(rounds, turn).await;
    reports(rounds, turn).await;
    ancestor(rounds, turn).await;
}

/// `Pick` and `DiscoverTopServices` for one, beside empty calls with the same messages.
async fn beside_empty(size: usize, rounds: usize, turn: Duration) {
    let world = Arc::new(Mutex::new(World::new(size)));
    let balancer = Real::start(&world).await;
    let sample = balancer.pick().await;
    let located = balancer.top().await;
    let empty = Empty::start(sample, located).await;
    let mut kinds = [
        Kind::new("empty, as large as Pick", picks(&empty.channels)),
        Kind::new("Pick", picks(&balancer.channels)),
        Kind::new("empty, as large as Discover", tops(&empty.channels)),
        Kind::new("DiscoverTopServices(1)", tops(&balancer.channels)),
    ];
    take_turns(&mut kinds, rounds, turn).await;
    println!("{size} endpoints");
    for pair in kinds.chunks(2) {
        pair[0].print(None);
        pair[1].print(Some((&pair[0], "bars: throughput >= 0.90, p99 <= 1.15")));
        let (rate, p99) = pair[1].beside(&pair[0]);
        let name = format!("{}, {size} endpoints, beside an empty call", pair[1].name);
        figures::bar(&format!("{name}: throughput"), rate, "", Bar::AtLeast(0.9));
        figures::bar(&format!("{name}: p99"), p99, "", Bar::AtMost(1.15));
    }
}

/// `Pick` beside an empty call with as many endpoints, and as many callers, as there may be.
async fn growth(rounds: usize, turn: Duration) {
    println!("growth: Pick beside an empty call of the same size");
    for size in [10, 100, 1_000, 10_000, 100_000] {
        let (rate, p99) = grown(size, CALLERS, rounds, turn).await;
        figures::point("endpoints", "throughput", size as f64, rate);
        figures::point("endpoints", "p99", size as f64, p99);
    }
    for callers in [1, 4, 16, 64, 256] {
        let (rate, p99) = grown(1_000, callers, rounds, turn).await;
        figures::point("callers", "throughput", callers as f64, rate);
        figures::point("callers", "p99", callers as f64, p99);
    }
}

async fn grown(size: usize, callers: usize, rounds: usize, turn: Duration) -> (f64, f64) {
    let world = Arc::new(Mutex::new(World::new(size)));
    let balancer = Real::start(&world).await;
    let empty = Empty::start(balancer.pick().await, balancer.top().await).await;
    let mut kinds = [
        Kind::new("empty", picks(&empty.channels)).with(callers),
        Kind::new("Pick", picks(&balancer.channels)).with(callers),
    ];
    take_turns(&mut kinds, rounds, turn / 2).await;
    let (rate, p99) = kinds[1].beside(&kinds[0]);
    let what = format!("{size} endpoints, {callers} callers");
    println!("{what:<34} throughput {rate:.2}, p99 {p99:.3}");
    (rate, p99)
}

/// `Pick` while ten thousand load reports a second come in.
async fn reports(rounds: usize, turn: Duration) {
    let world = Arc::new(Mutex::new(World::new(10_000)));
    let balancer = Real::start(&world).await;
    let active = Arc::new(AtomicBool::new(false));
    let stop = CancellationToken::new();
    let injector = {
        let (world, active, stop) = (Arc::clone(&world), Arc::clone(&active), stop.clone());
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(1));
            for at in 0_usize.. {
                tokio::select! { () = stop.cancelled() => return, _ = beat.tick() => {} }
                if active.load(Relaxed) {
                    let mut world = world.lock().unwrap();
                    for report in 0..10 {
                        let at = at * 10 + report;
                        world.set_load(at * 7 % 10_000, (at % 4) as i32);
                    }
                }
            }
        })
    };
    let mut kinds = [
        Kind::new("Pick, no reports", picks(&balancer.channels)),
        Kind::new("Pick, 10 000 reports/s", picks(&balancer.channels)),
    ];
    for _ in 0..rounds {
        active.store(false, Relaxed);
        kinds[0].turn(turn).await;
        active.store(true, Relaxed);
        kinds[1].turn(turn).await;
    }
    stop.cancel();
    injector.await.unwrap();
    println!("10 000 endpoints");
    kinds[0].print(None);
    kinds[1].print(Some((&kinds[0], "bar: p99 <= 1.20")));
    let (_, p99) = kinds[1].beside(&kinds[0]);
    let name = "Pick, 10 000 endpoints, while 10 000 reports a second come in: p99 beside without";
    figures::bar(name, p99, "", Bar::AtMost(1.2));
}

/// `Pick` beside a server that asks every worker for every question.
async fn ancestor(rounds: usize, turn: Duration) {
    let world = Arc::new(Mutex::new(World::new(WORKERS)));
    let balancer = Real::start(&world).await;
    let old = Ancestor::start().await;
    let mut kinds = [
        Kind::new("the ancestor's way, 24 workers", tops(&old)),
        Kind::new("Pick", picks(&balancer.channels)),
    ];
    take_turns(&mut kinds, rounds, turn).await;
    println!("{WORKERS} workers");
    kinds[0].print(None);
    kinds[1].print(Some((&kinds[0], "bars: throughput >= 50, p99 <= 0.05")));
    let (rate, p99) = kinds[1].beside(&kinds[0]);
    let name = "Pick beside the ancestor's way among 24 workers";
    figures::bar(&format!("{name}: throughput"), rate, "", Bar::AtLeast(50.0));
    figures::bar(&format!("{name}: p99"), p99, "", Bar::AtMost(0.05));
}

/// `Pick` over these connections, by turns.
fn picks(channels: &[Channel]) -> Ask {
    let channels = channels.to_vec();
    Arc::new(move |caller| {
        let channel = channels[caller % channels.len()].clone();
        async move { drop(pick(&channel).await) }.boxed()
    })
}

/// `DiscoverTopServices` for one, the same way.
fn tops(channels: &[Channel]) -> Ask {
    let channels = channels.to_vec();
    Arc::new(move |caller| {
        let channel = channels[caller % channels.len()].clone();
        async move { drop(top(&channel).await) }.boxed()
    })
}

async fn pick(channel: &Channel) -> PickResponse {
    let request = PickRequest {
        service: "Worker".to_owned(),
        ..Default::default()
    };
    let answer = BalancerClient::new(channel.clone()).pick(request).await;
    answer.unwrap().into_inner()
}

async fn top(channel: &Channel) -> DiscoverServicesResponse {
    let request = DiscoverServicesRequest {
        scope: String::new(),
        service_name: "Worker".to_owned(),
        max_count: 1,
    };
    let mut client = ServiceDiscoveryGrpcClient::new(channel.clone());
    let answer = client.discover_top_services(request).await;
    answer.unwrap().into_inner()
}

async fn connect(address: &str) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let target = Channel::from_shared(format!("http://{address}")).unwrap();
        channels.push(target.connect().await.unwrap());
    }
    channels
}

/// Connections as the balancer takes them: without a wait for more to send, which would slow down others now and then.
fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// The balancer's surface, with its loop's ticks.
struct Real {
    channels: Vec<Channel>,
    stop: CancellationToken,
}

impl Real {
    async fn start(world: &Arc<Mutex<World>>) -> Self {
        let host = Host::system();
        let listener = host
            .network
            .listen(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let address = listener.local_address().unwrap().to_string();
        let directory = Arc::clone(&world.lock().unwrap().directory);
        let stop = CancellationToken::new();
        tokio::spawn(rpc::serve(
            listener,
            Answers::new(directory, host.clone(), Limits::default()),
            None,
            host.clone(),
            stop.clone(),
        ));
        let (world, end) = (Arc::clone(world), stop.clone());
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_millis(250));
            while !end.is_cancelled() {
                beat.tick().await;
                world.lock().unwrap().pass_to(host.clock.now());
            }
        });
        let channels = connect(&address).await;
        // The first question for one asks for a kept order.
        top(&channels[0]).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        Self { channels, stop }
    }

    async fn pick(&self) -> PickResponse {
        pick(&self.channels[0]).await
    }

    async fn top(&self) -> DiscoverServicesResponse {
        top(&self.channels[0]).await
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Servers that answer what they are given, whatever is asked.
#[derive(Clone)]
struct Empty {
    channels: Vec<Channel>,
}

#[derive(Clone)]
struct Given(PickResponse, DiscoverServicesResponse);

impl Empty {
    async fn start(picked: PickResponse, located: DiscoverServicesResponse) -> Self {
        let given = Given(picked, located);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = quaestor::grpc::server()
            .add_service(BalancerServer::new(given.clone()))
            .add_service(ServiceDiscoveryGrpcServer::new(given));
        tokio::spawn(server.serve_with_incoming(incoming(listener)));
        Self {
            channels: connect(&address).await,
        }
    }
}

#[tonic::async_trait]
impl Balancer for Given {
    async fn pick(&self, _: Request<PickRequest>) -> Result<Response<PickResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    type WatchStream = futures::stream::Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn report_outcome(
        &self,
        _: Request<ReportOutcomeRequest>,
    ) -> Result<Response<ReportOutcomeResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

#[tonic::async_trait]
impl ServiceDiscoveryGrpc for Given {
    async fn discover_services(
        &self,
        _: Request<DiscoverServicesRequest>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        Ok(Response::new(self.1.clone()))
    }

    async fn discover_top_services(
        &self,
        _: Request<DiscoverServicesRequest>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        Ok(Response::new(self.1.clone()))
    }
}

/// Asks every worker, every time.
struct Ancestor {
    workers: Vec<(u16, Channel)>,
}

struct Worker;

impl Ancestor {
    async fn start() -> Vec<Channel> {
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (health, service) = tonic_health::server::health_reporter();
            health
                .set_service_status("Worker", tonic_health::ServingStatus::Serving)
                .await;
            let server = Server::builder()
                .add_service(service)
                .add_service(LoadReportingGrpcServer::new(Worker));
            tokio::spawn(server.serve_with_incoming(incoming(listener)));
            let channel = Channel::from_shared(format!("http://{address}")).unwrap();
            workers.push((address.port(), channel.connect().await.unwrap()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server =
            Server::builder().add_service(ServiceDiscoveryGrpcServer::new(Self { workers }));
        tokio::spawn(server.serve_with_incoming(incoming(listener)));
        connect(&address).await
    }
}

#[tonic::async_trait]
impl LoadReportingGrpc for Worker {
    async fn report_load(
        &self,
        _: Request<LoadReportRequest>,
    ) -> Result<Response<LoadReportResponse>, Status> {
        Ok(Response::new(LoadReportResponse {
            timestamp_ticks: 0,
            known_load_rate: -1.0,
            server_stats: Some(ServerStats {
                request_capacity: 4,
                ..Default::default()
            }),
        }))
    }
}

#[tonic::async_trait]
impl ServiceDiscoveryGrpc for Ancestor {
    async fn discover_services(
        &self,
        request: Request<DiscoverServicesRequest>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        self.discover_top_services(request).await
    }

    async fn discover_top_services(
        &self,
        _: Request<DiscoverServicesRequest>,
    ) -> Result<Response<DiscoverServicesResponse>, Status> {
        // Health first, then the load of the healthy, as it did; all workers at the same time.
        let asked = self.workers.iter().map(|(port, channel)| async move {
            let service = "Worker".to_owned();
            let mut health = HealthClient::new(channel.clone());
            health.check(HealthCheckRequest { service }).await.ok()?;
            let mut load = LoadReportingGrpcClient::new(channel.clone());
            let request = LoadReportRequest {
                scope: String::new(),
                service_name: "Worker".to_owned(),
            };
            let load = load
                .report_load(request)
                .await
                .ok()?
                .into_inner()
                .server_stats?;
            Some((load.current_requests, *port))
        });
        let answers: Vec<_> = asked.collect::<FuturesUnordered<_>>().collect().await;
        let least = answers.into_iter().flatten().min();
        Ok(Response::new(DiscoverServicesResponse {
            service_locations: least
                .map(|(_, port)| ServiceLocationMsg {
                    scope: String::new(),
                    service_name: "Worker".to_owned(),
                    host_name: "127.0.0.1".to_owned(),
                    port: i32::from(port),
                })
                .into_iter()
                .collect(),
        }))
    }
}
