use std::{collections::BTreeSet, pin::pin, task::Poll};

use futures::{FutureExt as _, StreamExt as _};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus as Answer, health_client::HealthClient,
};

use super::*;
use crate::{
    balancer::limits::Limits,
    model::{Moment, Name, Route},
    proto::service_discovery::{
        DiscoverServicesRequest, service_discovery_grpc_client::ServiceDiscoveryGrpcClient,
    },
    view::{Directory, Fact, Index},
};

/// A served directory.
pub(super) struct Balancer {
    pub(super) directory: Arc<Directory>,
    pub(super) channel: Channel,
    pub(super) stop: CancellationToken,
    pub(super) served: futures::future::BoxFuture<'static, Result<(), Error>>,
}

impl Balancer {
    /// One that knows nothing yet.
    pub(super) async fn start() -> Self {
        let host = Host::system();
        let directory = Arc::new(Directory::default());
        let stop = CancellationToken::new();
        let listener = host
            .network
            .listen(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let address = format!("http://{}", listener.local_address().unwrap());
        let answers = Answers::new(
            Arc::clone(&directory),
            host.clone(),
            Limits {
                watches: 9,
                ..Limits::default()
            },
        );
        let served = serve(listener, answers, None, host, stop.clone()).boxed();
        let channel = Channel::from_shared(address).unwrap().connect_lazy();
        Self {
            directory,
            channel,
            stop,
            served,
        }
    }

    /// Runs the server for as long as `client` takes.
    pub(super) async fn during<T>(&mut self, client: impl Future<Output = T>) -> T {
        tokio::select! {
            outcome = &mut self.served => panic!("the server ended: {outcome:?}"),
            answer = client => answer,
        }
    }

    async fn health(&mut self, name: &str) -> Result<Answer, Code> {
        let mut client = HealthClient::new(self.channel.clone());
        let request = HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = self.during(client.check(request)).await;
        answer
            .map(|answer| answer.into_inner().status())
            .map_err(|status| status.code())
    }
}

/// That there is a service of this name.
pub(super) fn found_as(name: &str) -> Fact {
    let service: Name = "w".parse().unwrap();
    let route = Route {
        service: service.clone(),
        names: vec![name.to_owned()],
        published: true,
        balance: Default::default(),
        generation: 1,
    };
    Fact::Route(service, Some(route))
}

fn question() -> DiscoverServicesRequest {
    DiscoverServicesRequest {
        service_name: "Worker".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn before_the_first_sync_every_question_is_unavailable_and_health_is_not_serving() {
    let mut balancer = Balancer::start().await;
    let mut client = ServiceDiscoveryGrpcClient::new(balancer.channel.clone());
    let refused = balancer
        .during(client.discover_services(question()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains("has not read the store"),
        "{}",
        refused.message()
    );
    let refused = balancer
        .during(client.discover_top_services(question()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    for name in HEALTH_NAMES {
        assert_eq!(
            balancer.health(name).await,
            Ok(Answer::NotServing),
            "`{name}`"
        );
    }
}

#[tokio::test]
async fn from_the_first_sync_on_an_unknown_name_is_an_empty_answer_and_health_is_serving() {
    let mut balancer = Balancer::start().await;
    Index::new(Arc::clone(&balancer.directory)).apply([found_as("WorkerX")], Moment::default());
    let mut client = ServiceDiscoveryGrpcClient::new(balancer.channel.clone());
    for name in HEALTH_NAMES {
        assert_eq!(balancer.health(name).await, Ok(Answer::Serving), "`{name}`");
    }
    assert_eq!(balancer.health("Worker").await, Err(Code::NotFound));
    let answer = balancer
        .during(client.discover_services(question()))
        .await
        .unwrap();
    assert!(answer.into_inner().service_locations.is_empty());
}

#[tokio::test]
async fn at_the_end_health_is_not_serving_first_and_an_open_watch_does_not_hold_it_up() {
    let mut balancer = Balancer::start().await;
    Index::new(Arc::clone(&balancer.directory)).apply([], Moment::default());
    assert_eq!(balancer.health("").await, Ok(Answer::Serving));
    let mut client = HealthClient::new(balancer.channel.clone());
    let watch = balancer
        .during(client.watch(HealthCheckRequest::default()))
        .await;
    let mut watch = watch.unwrap().into_inner();
    let first = balancer.during(watch.next()).await.unwrap().unwrap();
    assert_eq!(first.status(), Answer::Serving);

    balancer.stop.cancel();
    let last = balancer.during(watch.next()).await.unwrap().unwrap();
    assert_eq!(last.status(), Answer::NotServing);
    assert!(balancer.during(watch.next()).await.is_none());
    balancer.served.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_with_it() {
    let mut balancer = Balancer::start().await;
    let mut client = HealthClient::new(balancer.channel.clone());
    let watch = balancer
        .during(client.watch(HealthCheckRequest::default()))
        .await;
    let mut watch = watch.unwrap().into_inner();
    balancer.during(watch.next()).await.unwrap().unwrap();
    drop(balancer);
    assert!(watch.next().await.is_none_or(|answer| answer.is_err()));
}

#[tokio::test]
async fn reflection_names_what_is_served_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};

    let mut balancer = Balancer::start().await;
    let expected = [
        "Quaestor.ServiceDiscovery.ServiceDiscoveryGrpc",
        "quaestor.v1.Reservations",
        "grpc.health.v1.Health",
        "quaestor.v1.Balancer",
        "quaestor.v1.Tally",
        "quaestor.v1.XdsStatus",
        "quaestor.v1.DrainProof",
    ];

    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(balancer.channel.clone());
    let asked = client.server_reflection_info(futures::stream::iter([ask]));
    let mut answers = balancer.during(asked).await.unwrap().into_inner();
    let answer = balancer.during(answers.next()).await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("{answer:?}");
    };
    let names = list.service.iter().map(|service| service.name.as_str());
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.into());

    // Old grpcurls know this version only; they ask for the file of a symbol, too.
    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                expected[0].to_owned(),
            ),
        ),
    };
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(balancer.channel.clone());
    let asked = client.server_reflection_info(futures::stream::iter([ask]));
    let mut answers = balancer.during(asked).await.unwrap().into_inner();
    let answer = balancer.during(answers.next()).await.unwrap().unwrap();
    let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(file)) =
        answer.message_response
    else {
        panic!("{answer:?}");
    };
    let file = String::from_utf8_lossy(&file.file_descriptor_proto[0]);
    assert!(file.contains("service_discovery.proto"), "{file}");
}

#[tokio::test]
async fn the_directory_is_waited_for_without_being_asked_again() {
    let directory = Arc::new(Directory::default());
    let mut synced = pin!(directory.synced());
    assert!(futures::poll!(&mut synced).is_pending());
    Index::new(Arc::clone(&directory)).apply([], Moment::default());
    assert_eq!(futures::poll!(&mut synced), Poll::Ready(()));
}
