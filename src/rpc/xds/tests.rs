use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, channel::mpsc};
use prost::Message as _;
use prost_types::Any;
use tonic::Code;

use super::{super::tests, *};
use crate::{
    model::Moment,
    proto::{
        standard::{
            envoy::{
                config::{
                    cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment,
                    listener::v3::Listener,
                },
                service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            },
            google::rpc,
        },
        v1::{ListXdsClientsRequest, xds_status_client::XdsStatusClient},
    },
    view::Index,
};

/// A served directory, and one client of it.
struct World {
    index: Index,
    balancer: tests::Balancer,
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: BoxStream<'static, Result<DiscoveryResponse, Status>>,
}

impl World {
    async fn new() -> Self {
        let mut balancer = tests::Balancer::start().await;
        let (requests, asked) = mpsc::unbounded();
        let mut client = AggregatedDiscoveryServiceClient::new(balancer.channel.clone());
        let connecting = client.stream_aggregated_resources(asked);
        let responses = balancer.during(connecting).await.unwrap();
        Self {
            index: Index::new(Arc::clone(&balancer.directory)),
            balancer,
            requests,
            responses: responses.into_inner().boxed(),
        }
    }

    /// One that has seen everything: a service without endpoints.
    async fn synced() -> Self {
        let mut world = Self::new().await;
        world.sync();
        world
    }

    fn sync(&mut self) {
        self.index
            .apply([tests::found_as("Worker")], Moment::default());
    }

    fn say(&self, type_url: &str, nonce: &str, names: &[&str]) {
        self.send(DiscoveryRequest {
            type_url: type_url.to_owned(),
            response_nonce: nonce.to_owned(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..DiscoveryRequest::default()
        });
    }

    fn send(&self, request: DiscoveryRequest) {
        self.requests.unbounded_send(request).unwrap();
    }

    async fn next(&mut self) -> Option<Result<DiscoveryResponse, Status>> {
        self.balancer.during(self.responses.next()).await
    }

    async fn told(&mut self) -> DiscoveryResponse {
        self.next().await.unwrap().unwrap()
    }

    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.next())
            .await
            .is_err()
    }
}

fn read<T: prost::Message + Default>(response: &DiscoveryResponse) -> Vec<T> {
    let resource = |bytes: &bytes::Bytes| {
        let any = Any::decode(bytes.clone()).unwrap();
        assert_eq!(any.type_url, response.type_url);
        T::decode(&any.value[..]).unwrap()
    };
    response.resources.iter().map(resource).collect()
}

#[tokio::test]
async fn a_name_is_a_listener_a_cluster_and_where_its_instances_are() {
    let mut world = World::synced().await;
    world.say(resources::type_url(Kind::Listener), "", &["Worker"]);
    let response = world.told().await;
    let listener: Listener = read(&response).remove(0);
    assert_eq!(listener.name, "Worker");
    assert!(listener.api_listener.is_some());

    world.say(resources::type_url(Kind::Cluster), "", &["Worker"]);
    let cluster: Cluster = read(&world.told().await).remove(0);
    assert_eq!(cluster.eds_cluster_config.unwrap().service_name, "Worker");

    world.say(
        resources::type_url(Kind::Endpoints),
        "",
        &["Worker", "Nobody"],
    );
    // Together, or one after the other.
    let mut names = BTreeSet::new();
    while names.len() < 2 {
        let response = world.told().await;
        for assignment in read::<ClusterLoadAssignment>(&response) {
            assert!(assignment.endpoints.is_empty());
            assert!(names.insert(assignment.cluster_name), "told twice");
        }
        world.say(&response.type_url, &response.nonce, &["Worker", "Nobody"]);
    }
    assert!(world.is_silent().await);
}

#[tokio::test]
async fn before_everything_was_seen_nothing_is_answered() {
    let mut world = World::new().await;
    for kind in [Kind::Listener, Kind::Cluster, Kind::Endpoints] {
        world.say(resources::type_url(kind), "", &["Worker"]);
    }
    assert!(world.is_silent().await);
    world.sync();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(resources::kind(&world.told().await.type_url).unwrap());
    }
    kinds.sort();
    assert_eq!(kinds, [Kind::Cluster, Kind::Endpoints, Kind::Listener]);
}

#[tokio::test]
async fn kinds_that_are_not_served_and_strange_nonces_are_not_answered() {
    let mut world = World::synced().await;
    world.say(
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "",
        &["Worker"],
    );
    world.say("", "", &[]);
    assert!(world.is_silent().await);
    let url = resources::type_url(Kind::Endpoints);
    world.say(url, "", &["Worker"]);
    let nonce = world.told().await.nonce;
    for strange in ["0", "-1", "99999999999999999999", "x", ""] {
        world.say(url, strange, &["Other"]);
    }
    assert!(world.is_silent().await);
    world.say(url, &nonce, &["Other"]);
    assert_eq!(
        read::<ClusterLoadAssignment>(&world.told().await)[0].cluster_name,
        "Other"
    );
}

#[tokio::test]
async fn a_storm_of_refusals_is_counted_and_answered_with_nothing() {
    let mut world = World::synced().await;
    let url = resources::type_url(Kind::Endpoints);
    world.say(url, "", &["Worker"]);
    let response = world.told().await;
    for _ in 0..1000 {
        world.send(DiscoveryRequest {
            type_url: url.to_owned(),
            response_nonce: response.nonce.clone(),
            resource_names: vec!["Worker".to_owned()],
            error_detail: Some(rpc::Status {
                code: 3,
                message: "no".to_owned(),
            }),
            ..DiscoveryRequest::default()
        });
    }
    assert!(world.is_silent().await);
}

#[tokio::test]
async fn who_wants_too_much_is_sent_away() {
    let mut world = World::synced().await;
    let names: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.say(resources::type_url(Kind::Endpoints), "", &names);
    let refused = world.next().await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(world.next().await.is_none_or(|more| more.is_err()));
}

#[tokio::test]
async fn who_says_too_much_at_once_is_told_so() {
    let mut world = World::synced().await;
    let name = "x".repeat(LARGEST_REQUEST);
    world.say(resources::type_url(Kind::Endpoints), "", &[&name]);
    let refused = world.next().await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
}

#[tokio::test]
async fn of_what_a_client_says_of_itself_the_beginning_is_kept() {
    let mut world = World::synced().await;
    let long = "ß".repeat(10 * LONGEST_WORDS);
    world.send(DiscoveryRequest {
        type_url: resources::type_url(Kind::Endpoints).to_owned(),
        resource_names: vec!["Worker".to_owned()],
        node: Some(Node {
            id: long.clone(),
            ..Node::default()
        }),
        ..DiscoveryRequest::default()
    });
    let response = world.told().await;
    world.send(DiscoveryRequest {
        type_url: response.type_url,
        response_nonce: response.nonce,
        resource_names: vec!["Worker".to_owned()],
        error_detail: Some(rpc::Status {
            code: 3,
            message: long.clone(),
        }),
        ..DiscoveryRequest::default()
    });
    let mut status = XdsStatusClient::new(world.balancer.channel.clone());
    let clients = loop {
        let asked = status.list_clients(ListXdsClientsRequest::default());
        let clients = world.balancer.during(asked).await.unwrap().into_inner();
        if clients.clients[0].refusals > 0 {
            break clients.clients;
        }
        // The server does its part while the stream is asked.
        assert!(world.is_silent().await);
    };
    let beginning = "ß".repeat(LONGEST_WORDS);
    assert_eq!(clients[0].node_id, beginning);
    assert_eq!(clients[0].last_refusal, beginning);
}

#[tokio::test]
async fn the_end_of_the_balancer_ends_its_streams() {
    let mut world = World::synced().await;
    world.say(resources::type_url(Kind::Endpoints), "", &["Worker"]);
    world.told().await;
    world.balancer.stop.cancel();
    assert!((world.responses.next().await).is_none_or(|last| last.is_err()));
    world.balancer.served.await.unwrap();
}
