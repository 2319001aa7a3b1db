//! The real balancer with too much to do:
//!
//! - [`a_flood_from_one_address_is_turned_away_with_a_reason_and_others_are_answered`]
//! - [`connections_beyond_the_limit_are_closed_and_room_is_used_again`]
//! - [`a_huge_question_is_refused_and_harms_nobody`]
//! - [`a_flood_of_calls_that_are_given_up_leaves_nothing_behind`]
//! - [`slow_readers_cost_bounded_memory`]
//! - [`told_to_end_it_says_so_first_and_cuts_off_who_does_not_read`]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs and measures in real time"
)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use quaestor::proto::v1::{
    PickRequest, PickResponse, WatchRequest, balancer_client::BalancerClient,
};
use support::{PATIENCE, balancer::Balancer, eventually, eventually_async, signal};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// A balancer that answers for `worker`, at endpoints that nobody checks.
struct Loaded {
    balancer: Balancer,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Loaded {
    fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("services.yaml");
        write(&file, 0..3);
        let flags = [&["--static", file.to_str().unwrap()], flags].concat();
        let loaded = Self {
            balancer: Balancer::start(&flags),
            file,
            _directory: directory,
        };
        loaded.await_count(3);
        loaded
    }

    fn await_count(&self, count: usize) {
        eventually("all endpoints are found", || {
            self.balancer.places("worker").len() == count
        });
    }

    fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.balancer.grpc));
        endpoint.unwrap().connect_lazy()
    }

    fn client(&self) -> BalancerClient<Channel> {
        BalancerClient::new(self.channel())
    }
}

fn write(file: &PathBuf, endpoints: std::ops::Range<usize>) {
    let endpoints: Vec<_> = endpoints
        .map(|n| format!("host-{n}.example.com:80"))
        .collect();
    let manifest = format!(
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: worker}}\nspec: {{external: [{}]}}\n",
        endpoints.join(", ")
    );
    // Whole or not at all, as a deployment would.
    let draft = file.with_extension("draft");
    fs::write(&draft, manifest).unwrap();
    fs::rename(draft, file).unwrap();
}

fn worker() -> PickRequest {
    PickRequest {
        service: "worker".to_owned(),
        ..PickRequest::default()
    }
}

async fn pick(client: &BalancerClient<Channel>) -> Result<Response<PickResponse>, Status> {
    client.clone().pick(worker()).await
}

/// The status and body of an answer over HTTP to somebody at `127.0.0.2`.
async fn ask_from_elsewhere(address: &str, path: &str) -> (u16, serde_json::Value) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_flood_from_one_address_is_turned_away_with_a_reason_and_others_are_answered() {
    let loaded = Loaded::start(&["--max-peer-rate", "20"]);
    let client = loaded.client();
    let (mut answered, mut refused) = (0, Vec::new());
    let start = Instant::now();
    for _ in 0..1_000 {
        match pick(&client).await {
            Ok(_) => answered += 1,
            Err(status) => refused.push(status),
        }
    }
    let fair = 20.0 * (1.0 + start.elapsed().as_secs_f64()) + 1.0;
    assert!(
        f64::from(answered) <= fair && refused.len() > 100,
        "{answered}, {fair}"
    );
    let status = &refused[0];
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(
        status.metadata().get("quaestor-reason").unwrap(),
        "Overloaded"
    );
    let pause = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pause: u64 = pause.to_str().unwrap().parse().unwrap();
    assert!((1..=1_000).contains(&pause), "{pause}");
    assert!(status.message().contains("--max-peer-rate"), "{status}");

    // Over HTTP it is the same bucket; somebody else has his own, and sees what was turned away.
    let http = loaded.balancer.http.clone();
    let mut problem = None;
    eventually("HTTP refuses as well", || {
        let (status, json) = loaded.balancer.ask("/v1/services").unwrap();
        problem = (status == 429).then_some(json);
        problem.is_some()
    });
    assert_eq!(problem.unwrap()["reason"], "Overloaded");
    let (status, health) = ask_from_elsewhere(&http, "/healthz").await;
    assert_eq!(status, 200);
    let turned_away = health["turnedAway"]["requests"].as_u64().unwrap();
    assert!(turned_away >= refused.len() as u64, "{health}");
    assert!(
        loaded
            .balancer
            .log()
            .contains("turned away since the start")
    );

    // After the pause there is an answer again.
    eventually_async("the bucket fills again", async || {
        pick(&client).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_room_is_used_again() {
    let loaded = Loaded::start(&["--max-connections", "20"]);
    let connect = || TcpStream::connect(&loaded.balancer.grpc).unwrap();
    let held: Vec<_> = (0..20).map(|_| connect()).collect();
    for _ in 0..30 {
        let mut surplus = connect();
        surplus
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let end = surplus.read(&mut [0]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        assert_ne!(
            end.map_err(|error| error.kind()),
            Err(std::io::ErrorKind::WouldBlock)
        );
    }
    let (_, health) = loaded.balancer.ask("/healthz").unwrap();
    assert!(
        health["turnedAway"]["connections"].as_u64().unwrap() >= 30,
        "{health}"
    );
    drop(held);
    let client = loaded.client();
    eventually_async("there is room again", async || pick(&client).await.is_ok()).await;
}

#[tokio::test]
async fn a_huge_question_is_refused_and_harms_nobody() {
    let loaded = Loaded::start(&["--max-message", "64KiB", "--max-header", "8KiB"]);
    let client = loaded.client();
    let mut huge = worker();
    huge.affinity_key = "x".repeat(100_000);
    let status = client.clone().pick(huge).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(
        status.metadata().get("quaestor-reason").unwrap(),
        "TooLarge"
    );
    assert!(
        status.message().contains("more than 65536 bytes"),
        "{status}"
    );

    let mut request = Request::new(worker());
    let long = "x".repeat(20_000).parse().unwrap();
    request.metadata_mut().insert("x-long", long);
    assert!(client.clone().pick(request).await.is_err());
    pick(&client).await.unwrap();

    // A head without an end is not read for ever, and the rest is answered meanwhile.
    let mut endless = TcpStream::connect(&loaded.balancer.http).unwrap();
    endless
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let _ = endless.write_all(b"GET / HTTP/1.1\r\n");
    let line = format!("X-Line: {}\r\n", "y".repeat(1_000));
    while endless.write_all(line.as_bytes()).is_ok() {}
    pick(&client).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_calls_that_are_given_up_leaves_nothing_behind() {
    let loaded = Loaded::start(&["--max-watches", "50"]);
    let request = || WatchRequest {
        service: "worker".to_owned(),
    };
    let before = loaded.balancer.resident();
    for _ in 0..20 {
        let client = loaded.client();
        for _ in 0..100 {
            let mut giving_up = client.clone();
            // Some before they were sent, some while they are answered.
            let patience = Duration::from_micros(200);
            let _ = tokio::time::timeout(patience, giving_up.watch(request())).await;
        }
    }
    // None of those watches is open any more.
    let client = loaded.client();
    let start = Instant::now();
    let watches = loop {
        let mut watches = Vec::new();
        while let Ok(watch) = client.clone().watch(request()).await {
            watches.push(watch);
        }
        if watches.len() == 50 {
            break watches;
        }
        assert!(start.elapsed() < PATIENCE, "room for {}", watches.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let surplus = client.clone().watch(request()).await.err().unwrap();
    assert_eq!(surplus.code(), Code::ResourceExhausted);
    drop(watches);
    pick(&client).await.unwrap();
    let grown = loaded.balancer.resident().saturating_sub(before) >> 20;
    assert!(grown < 30, "{grown} MiB more than before the flood");
}

#[tokio::test]
async fn slow_readers_cost_bounded_memory() {
    let loaded = Loaded::start(&[]);
    write(&loaded.file, 0..1_000);
    loaded.await_count(1_000);
    let before = loaded.balancer.resident();
    // Readers that read nothing: what is told fits into no window.
    let endpoint = Channel::from_shared(format!("http://{}", loaded.balancer.grpc)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(1_000);
    let mut readers = Vec::new();
    for _ in 0..5 {
        let client = BalancerClient::new(endpoint.connect_lazy());
        for _ in 0..20 {
            let service = "worker".to_owned();
            readers.push(
                client
                    .clone()
                    .watch(WatchRequest { service })
                    .await
                    .unwrap(),
            );
        }
    }
    // Every change is most of 100 KiB for each reader.
    let client = loaded.client();
    for round in 1..=8 {
        let first = round * 1_000;
        write(&loaded.file, first..first + 1_000);
        let new = format!("host-{first}.example.com:80");
        eventually("the change is known", || {
            loaded.balancer.places("worker").contains(&new)
        });
        let asked = Instant::now();
        pick(&client).await.unwrap();
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
    }
    let grown = loaded.balancer.resident().saturating_sub(before) >> 20;
    println!("{grown} MiB for 100 readers that do not read 8 changes of 1000 endpoints");
    assert!(grown < 60, "{grown} MiB");
}

#[tokio::test]
async fn told_to_end_it_says_so_first_and_cuts_off_who_does_not_read() {
    let mut loaded = Loaded::start(&["--drain", "1s"]);
    write(&loaded.file, 0..1_000);
    loaded.await_count(1_000);
    let mut health = HealthClient::new(loaded.channel());
    let asked = health.watch(HealthCheckRequest::default());
    let mut health = asked.await.unwrap().into_inner();
    let status =
        |told: Option<tonic_health::pb::HealthCheckResponse>| told.map(|told| told.status());
    assert_eq!(
        status(health.message().await.unwrap()),
        Some(ServingStatus::Serving)
    );
    let request = || WatchRequest {
        service: "worker".to_owned(),
    };
    let mut reader = loaded.client().watch(request()).await.unwrap().into_inner();
    assert!(reader.message().await.unwrap().unwrap().complete);
    let endpoint = Channel::from_shared(format!("http://{}", loaded.balancer.grpc)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(1_000);
    let slow = BalancerClient::new(endpoint.connect_lazy())
        .watch(request())
        .await
        .unwrap();

    let told = Instant::now();
    signal(loaded.balancer.pid(), "TERM");
    assert_eq!(
        status(health.message().await.unwrap()),
        Some(ServingStatus::NotServing)
    );
    // Who reads is told the end of the stream, not an error.
    let end = tokio::time::timeout(Duration::from_secs(10), reader.message()).await;
    assert!(matches!(end.unwrap(), Ok(None)));
    let ended = tokio::task::spawn_blocking(move || loaded.balancer.wait());
    assert!(ended.await.unwrap(), "it ends well");
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );
    drop(slow);
}
