use std::{collections::BTreeMap, future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use tonic::Code;

use super::*;
use crate::{
    balancer::limits::Limits,
    host::Host,
    model::{InstanceState, Moment, Phase, Route, Session, Timestamp, state},
    view::{Directory, Fact, Index},
};

const NOW: Moment = Moment::new(std::time::Duration::from_secs(9));

/// A service of which one instance after the other can become ready, and its surface.
struct World {
    index: Index,
    service: Service,
}

impl World {
    fn new() -> Self {
        let directory = Arc::new(Directory::default());
        let service = Service {
            answers: Answers::new(
                Arc::clone(&directory),
                Host::system(),
                Limits {
                    watches: 2,
                    ..Limits::default()
                },
            ),
            stop: CancellationToken::new(),
        };
        let index = Index::new(directory);
        Self { index, service }
    }

    fn synced() -> Self {
        let mut world = Self::new();
        let route = Route {
            service: "worker".parse().unwrap(),
            names: vec!["Worker".to_owned()],
            published: true,
            balance: Default::default(),
            generation: 1,
        };
        let session = Session {
            uuid: "u".to_owned(),
            node_uuid: "n".to_owned(),
            address: "a".to_owned(),
            agent_address: None,
            capacity: Default::default(),
            seen_revision: 0,
            fell_from: 0,
            labels: [("rack".to_owned(), "r1".to_owned())].into(),
            version: "0".to_owned(),
            started_at: Timestamp::from_millis(0),
            reconciled: true,
        };
        let facts = [
            Fact::Route("worker".parse().unwrap(), Some(route)),
            Fact::Session("qa".parse().unwrap(), Some(session)),
        ];
        world.index.apply(facts, NOW);
        world
    }

    /// The instance of this slot, at a port of the same number.
    fn set(&mut self, slot: u16, ready: bool) {
        let instance: crate::model::Instance = format!("worker-{slot}").parse().unwrap();
        let state = InstanceState {
            instance: instance.clone(),
            node: "qa".parse().unwrap(),
            phase: Phase::Running,
            ready,
            pid: Some(1),
            endpoint: Some(state::Endpoint {
                host: "Qa-1".to_owned(),
                port: slot,
            }),
            ports: BTreeMap::new(),
            settling: false,
            restarts: 0,
            reason: String::new(),
            message: String::new(),
            status_text: String::new(),
            last_exit: None,
            pre_stop_failure: None,
            recycle_due: false,
            started_at: None,
            next_start_at: None,
            observed_generation: 1,
            revision: String::new(),
            self_stop: None,
            epoch: 1,
        };
        let fact = Fact::State("qa".parse().unwrap(), instance, Some(Box::new(state)));
        self.index.apply([fact], NOW);
    }

    /// The code and the reason of the refusal to `request`.
    async fn refusal(&self, request: wire::PickRequest) -> (Code, String, Status) {
        let refused = self.pick(request).await.unwrap_err();
        let reason = refused.metadata().get("quaestor-reason").unwrap();
        let reason = reason.to_str().unwrap().to_owned();
        (refused.code(), reason, refused)
    }

    async fn pick(&self, request: wire::PickRequest) -> Result<Vec<wire::Endpoint>, Status> {
        let answer = self.service.pick(Request::new(request)).await?;
        Ok(answer.into_inner().endpoints)
    }
}

fn question() -> wire::PickRequest {
    wire::PickRequest {
        service: "Worker".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_refusal_says_why_in_a_code_and_in_words() {
    let world = World::new();
    let (code, reason, refused) = world.refusal(question()).await;
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "NotSynced"));
    assert!(refused.message().contains("has not read the store"));

    let mut world = World::synced();
    let (code, reason, refused) = world.refusal(question()).await;
    assert_eq!(
        (code, reason.as_str()),
        (Code::Unavailable, "NothingHealthy")
    );
    let text = "no healthy instance of `Worker`";
    assert!(refused.message().contains(text), "{refused}");

    let unknown = wire::PickRequest {
        service: "Wroker".to_owned(),
        ..Default::default()
    };
    let (code, reason, refused) = world.refusal(unknown).await;
    assert_eq!((code, reason.as_str()), (Code::NotFound, "NotFound"));
    assert!(refused.message().contains("`Wroker`"));

    world.set(1, true);
    let mut excluded = question();
    let (host, port) = ("qa-1".to_owned(), 1);
    excluded.exclude.push(wire::Address { host, port });
    let (code, reason, refused) = world.refusal(excluded).await;
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "AllExcluded"));
    assert!(refused.message().contains("were excluded"));

    let mut large = question();
    large.affinity_key = "k".repeat(1025);
    let (code, reason, _) = world.refusal(large).await;
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "TooLarge"));
}

#[tokio::test]
async fn more_watches_than_are_kept_are_refused_and_an_ended_one_makes_room() {
    let world = World::synced();
    let first = watch(&world).await;
    let _second = watch(&world).await;
    let request = || {
        Request::new(wire::WatchRequest {
            service: "Worker".to_owned(),
        })
    };
    let refused = world.service.watch(request()).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.metadata().get("quaestor-reason").unwrap(),
        "Overloaded"
    );
    drop(first);
    assert!(world.service.watch(request()).await.is_ok());
}

#[tokio::test]
async fn an_answer_tells_where_the_instance_is_and_how_busy_it_is_seen() {
    let mut world = World::synced();
    world.set(7, true);
    let picked = world.pick(question()).await.unwrap();
    let expected = wire::Endpoint {
        address: Some(wire::Address {
            host: "Qa-1".to_owned(),
            port: 7,
        }),
        instance: "worker-7".to_owned(),
        node: "qa".to_owned(),
        labels: [("rack".to_owned(), "r1".to_owned())].into(),
        load: Some(wire::Load {
            rate: None,
            capacity: None,
            current_requests: None,
            // Not known, and picked once.
            effective: 1.5,
        }),
        tls: false,
        suspect: false,
        ejected: false,
    };
    assert_eq!(picked, [expected]);
}

#[tokio::test]
async fn an_instance_to_which_calls_fail_as_clients_report_comes_last_and_that_is_told() {
    let mut world = World::synced();
    (1..=3).for_each(|slot| world.set(slot, true));
    for client in ["a", "b"] {
        let (host, port) = ("qa-1".to_owned(), 2);
        let outcome = wire::Outcome {
            address: Some(wire::Address { host, port }),
            successes: 1,
            failures: 4,
        };
        let request = wire::ReportOutcomeRequest {
            service: "Worker".to_owned(),
            client: client.to_owned(),
            outcomes: vec![outcome],
        };
        let reported = world.service.report_outcome(Request::new(request)).await;
        assert_eq!(
            reported.unwrap().into_inner(),
            wire::ReportOutcomeResponse {}
        );
    }
    world.index.settle(NOW);
    let picked = world.pick(wire::PickRequest {
        count: 3,
        ..question()
    });
    let picked = picked.await.unwrap();
    let ejected: Vec<bool> = picked.iter().map(|endpoint| endpoint.ejected).collect();
    assert_eq!(ejected, [false, false, true]);
    assert_eq!(picked[2].instance, "worker-2");
}

type Changes = <Service as Balancer>::WatchStream;

async fn watch(world: &World) -> Changes {
    let request = wire::WatchRequest {
        service: "Worker".to_owned(),
    };
    let watch = world.service.watch(Request::new(request)).await;
    watch.unwrap().into_inner()
}

/// What a message says: whether it is complete, the ports that are new, those that are gone.
fn told(message: &wire::WatchResponse) -> (bool, Vec<u32>, Vec<u32>) {
    let port = |address: &wire::Address| address.port;
    let changed = message
        .changed
        .iter()
        .filter_map(|now| now.address.as_ref());
    (
        message.complete,
        changed.map(port).collect(),
        message.removed.iter().map(port).collect(),
    )
}

async fn is_quiet(watch: &mut Changes) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *watch).poll_next_unpin(cx).is_pending())).await
}

#[tokio::test]
async fn a_watch_tells_everything_and_then_what_changes() {
    let mut world = World::synced();
    world.set(1, true);
    let mut watch = watch(&world).await;
    assert_eq!(
        told(&watch.next().await.unwrap().unwrap()),
        (true, vec![1], vec![])
    );
    assert!(is_quiet(&mut watch).await);
    world.set(2, true);
    assert_eq!(
        told(&watch.next().await.unwrap().unwrap()),
        (false, vec![2], vec![])
    );
    world.set(1, false);
    assert_eq!(
        told(&watch.next().await.unwrap().unwrap()),
        (false, vec![], vec![1])
    );
    assert!(is_quiet(&mut watch).await);

    world
        .index
        .apply([Fact::Route("worker".parse().unwrap(), None)], NOW);
    let ended = watch.next().await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::NotFound);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_state_in_one_message() {
    let mut world = World::synced();
    world.set(1, true);
    let mut watch = watch(&world).await;
    watch.next().await.unwrap().unwrap();
    for slot in 2..50 {
        world.set(slot, true);
    }
    for slot in 1..48 {
        world.set(slot, false);
    }
    assert_eq!(
        told(&watch.next().await.unwrap().unwrap()),
        (false, vec![48, 49], vec![1])
    );
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test]
async fn the_end_of_the_server_ends_a_watch() {
    let world = World::synced();
    let mut watch = watch(&world).await;
    watch.next().await.unwrap().unwrap();
    world.service.stop.cancel();
    assert!(watch.next().await.is_none());
}
