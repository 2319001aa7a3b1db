use std::{net::SocketAddr, time::Duration};

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::*;
use crate::{
    host::Host,
    proto::{
        demo::{WorkRequest, demo_worker_client::DemoWorkerClient},
        load_reporting::{
            LoadReportRequest, LoadReportResponse,
            load_reporting_grpc_client::LoadReportingGrpcClient,
        },
        process_admin::{
            CancelRequest, process_administration_grpc_client::ProcessAdministrationGrpcClient,
        },
    },
};

/// A healthy demo worker on a free port.
fn config() -> demo::Config {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    demo::Config {
        listen: free.local_addr().unwrap(),
        service_names: vec!["A".to_owned(), "B".to_owned()],
        capacity: 1,
        instance: "a-0".to_owned(),
        start_after: Duration::ZERO,
        unhealthy_after: None,
        hang_after: None,
        exit_after: None,
        exit_code: 0,
        ignore_stop: false,
    }
}

struct Worker {
    address: SocketAddr,
    stop: CancellationToken,
    ended: futures::future::BoxFuture<'static, Result<u8, demo::Error>>,
}

impl Worker {
    fn start(config: demo::Config) -> Self {
        let address = config.listen;
        let stop = CancellationToken::new();
        let ended = demo::run(config, Host::system(), stop.clone()).boxed();
        Self {
            address,
            stop,
            ended,
        }
    }

    /// Runs the worker for as long as `client` takes.
    async fn during<T>(&mut self, client: impl Future<Output = T>) -> T {
        tokio::select! {
            code = &mut self.ended => panic!("the worker ended: {code:?}"),
            answer = client => answer,
        }
    }

    /// A connection, once it listens.
    async fn channel(&mut self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        self.during(async {
            loop {
                match endpoint.connect().await {
                    Ok(channel) => return channel,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await
    }

    async fn health(&mut self, channel: &Channel, name: &str) -> Result<ServingStatus, Code> {
        let mut client = HealthClient::new(channel.clone());
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = self.during(client.check(request)).await;
        answer
            .map(|answer| answer.into_inner().status())
            .map_err(|status| status.code())
    }

    async fn load(&mut self, channel: &Channel, name: &str) -> Result<LoadReportResponse, Code> {
        let mut client = LoadReportingGrpcClient::new(channel.clone());
        let request = LoadReportRequest {
            scope: String::new(),
            service_name: name.to_owned(),
        };
        let answer = self.during(client.report_load(request)).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| status.code())
    }

    /// Waits until the worker reports `current` requests.
    async fn load_becomes(&mut self, channel: &Channel, current: i32) {
        loop {
            let stats = self.load(channel, "A").await.unwrap().server_stats.unwrap();
            assert_eq!(stats.request_capacity, 1);
            if stats.current_requests == current {
                return;
            }
        }
    }
}

fn work(millis: u32) -> WorkRequest {
    WorkRequest {
        millis,
        user_name: "ann".to_owned(),
        environment: "test".to_owned(),
    }
}

/// Longer than any test.
const FOR_EVER: u32 = 3_600_000;

#[tokio::test]
async fn every_name_and_the_empty_one_are_healthy_and_others_are_unknown() {
    let mut worker = Worker::start(config());
    let channel = worker.channel().await;
    for name in ["A", "B", ""] {
        assert_eq!(
            worker.health(&channel, name).await,
            Ok(ServingStatus::Serving),
            "`{name}`"
        );
        assert_eq!(
            worker.load(&channel, name).await.unwrap().known_load_rate,
            -1.0
        );
    }
    assert_eq!(worker.health(&channel, "C").await, Err(Code::NotFound));
    assert_eq!(worker.load(&channel, "C").await, Err(Code::OutOfRange));
}

#[tokio::test]
async fn work_occupies_the_worker_until_its_user_cancels_it() {
    let mut worker = Worker::start(config());
    let channel = worker.channel().await;
    let mut client = DemoWorkerClient::new(channel.clone());
    let mut second = client.clone();
    worker.load_becomes(&channel, 0).await;

    let mut busy = Box::pin(client.work(work(FOR_EVER)));
    assert!(futures::poll!(&mut busy).is_pending());
    worker.load_becomes(&channel, 1).await;
    let refused = worker.during(second.work(work(0))).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);

    let mut admin = ProcessAdministrationGrpcClient::new(channel.clone());
    let mut cancel = async |user: &str| {
        let request = CancelRequest {
            environment: "test".to_owned(),
            user_name: user.to_owned(),
            ..Default::default()
        };
        worker
            .during(admin.cancel(request))
            .await
            .unwrap()
            .into_inner()
            .success
    };
    assert!(!cancel("bob").await);
    assert!(cancel("ann").await);
    assert_eq!(
        worker.during(busy).await.unwrap_err().code(),
        Code::Cancelled
    );
    worker.load_becomes(&channel, 0).await;
    let done = worker
        .during(second.work(work(1)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (done.instance.as_str(), done.pid),
        ("a-0", std::process::id())
    );
}

#[tokio::test]
async fn work_whose_client_went_away_occupies_nothing() {
    let mut worker = Worker::start(config());
    let channel = worker.channel().await;
    let mut client = DemoWorkerClient::new(worker.channel().await);
    let mut busy = Box::pin(client.work(work(FOR_EVER)));
    assert!(futures::poll!(&mut busy).is_pending());
    worker.load_becomes(&channel, 1).await;
    drop(busy);
    worker.load_becomes(&channel, 0).await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_is_not_serving_and_ends_its_work_first() {
    let mut worker = Worker::start(config());
    let channel = worker.channel().await;
    let mut client = DemoWorkerClient::new(channel.clone());
    let mut busy = Box::pin(client.work(work(200)));
    assert!(futures::poll!(&mut busy).is_pending());
    worker.load_becomes(&channel, 1).await;
    worker.stop.cancel();
    let (answer, code) = futures::join!(busy, worker.ended);
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(code.unwrap(), 0);
}

#[tokio::test]
async fn an_unhealthy_worker_says_so_under_every_name_and_works_on() {
    let mut worker = Worker::start(demo::Config {
        unhealthy_after: Some(Duration::ZERO),
        ..config()
    });
    let channel = worker.channel().await;
    while worker.health(&channel, "A").await != Ok(ServingStatus::NotServing) {}
    for name in ["A", "B", ""] {
        assert_eq!(
            worker.health(&channel, name).await,
            Ok(ServingStatus::NotServing),
            "`{name}`"
        );
    }
    let mut client = DemoWorkerClient::new(channel);
    worker.during(client.work(work(0))).await.unwrap();
}

#[tokio::test]
async fn a_hung_worker_keeps_its_port_open_and_answers_nothing() {
    let mut worker = Worker::start(demo::Config {
        hang_after: Some(Duration::from_millis(500)),
        ..config()
    });
    let channel = worker.channel().await;
    assert_eq!(
        worker.health(&channel, "A").await,
        Ok(ServingStatus::Serving)
    );
    let silent = async |worker: &mut Worker, channel: &Channel| {
        let asked = worker.health(channel, "A");
        tokio::time::timeout(Duration::from_millis(500), asked)
            .await
            .is_err()
    };
    while !silent(&mut worker, &channel).await {}
    // New connections are taken, and as silent.
    let address = worker.address;
    worker
        .during(tokio::net::TcpStream::connect(address))
        .await
        .unwrap();
    assert!(silent(&mut worker, &channel).await);
}

#[tokio::test]
async fn a_worker_that_is_to_exit_ends_in_the_middle_of_its_work_with_its_code() {
    let worker = Worker::start(demo::Config {
        exit_after: Some(Duration::from_millis(20)),
        exit_code: 7,
        ..config()
    });
    assert_eq!(worker.ended.await.unwrap(), 7);
}

#[tokio::test]
async fn a_worker_that_ignores_the_stop_works_on() {
    let mut worker = Worker::start(demo::Config {
        ignore_stop: true,
        ..config()
    });
    let channel = worker.channel().await;
    worker.stop.cancel();
    assert_eq!(
        worker.health(&channel, "A").await,
        Ok(ServingStatus::Serving)
    );
    let mut client = DemoWorkerClient::new(channel);
    worker.during(client.work(work(50))).await.unwrap();
}

#[tokio::test]
async fn a_worker_whose_address_is_taken_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let worker = Worker::start(demo::Config { listen, ..config() });
    let error = worker.ended.await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("cannot listen on {listen}")),
        "{error}"
    );
}
