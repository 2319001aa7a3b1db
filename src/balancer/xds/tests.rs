use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::json;

use super::*;
use crate::{
    host::{Listener, Network, Stream as Connected},
    model::Moment,
    plan::xds::Request,
    view::{Fact, Index},
};

/// Names lead where the map says, at this time.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, IpAddr>>);

impl Network for Names {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Connected>> {
        async { Err(io::ErrorKind::Unsupported.into()) }.boxed()
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = lock(&self.0).get(host).copied();
        async move { Ok(vec![found.ok_or(io::ErrorKind::NotFound)?]) }.boxed()
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        async { Err(io::ErrorKind::Unsupported.into()) }.boxed()
    }
}

struct World {
    names: Arc<Names>,
    index: Index,
    xds: Xds,
    publishing: BoxFuture<'static, std::convert::Infallible>,
}

impl World {
    fn new() -> Self {
        let names = Arc::new(Names::default());
        let host = Host {
            network: names.clone(),
            ..Host::system()
        };
        let directory = Arc::new(Directory::default());
        let (xds, publisher) = Xds::new(Arc::clone(&directory), host);
        Self {
            names,
            index: Index::new(directory),
            xds,
            publishing: publisher.run().boxed(),
        }
    }

    /// One service with these instances at these hosts.
    fn with(mut self, balance: serde_json::Value, hosts: &[&str]) -> Self {
        let route = json!({
            "service": "worker", "names": ["Worker"], "published": true, "generation": 1,
            "balance": balance,
        });
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": "a", "version": "0",
            "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        let facts = [
            Fact::Route(name("worker"), Some(serde_json::from_value(route).unwrap())),
            Fact::Session(name("n"), Some(serde_json::from_value(session).unwrap())),
        ];
        let hosts = hosts.iter().enumerate();
        let states = hosts
            .map(|(slot, host)| state(slot, host, "Running", true))
            .collect::<Vec<_>>();
        self.index
            .apply(facts.into_iter().chain(states), Moment::default());
        self
    }

    fn set(&mut self, slot: usize, host: &str, ready: bool) {
        self.apply(state(slot, host, "Running", ready));
    }

    fn apply(&mut self, fact: Fact) {
        self.index.apply([fact], Moment::default());
    }

    /// A client that has subscribed to the endpoints of `Worker`.
    fn subscribe(&self) -> Connection {
        let mut connection = self.xds.connect();
        connection.hear(None, request("")).unwrap();
        connection
    }

    /// The addresses of the next update, which is taken.
    async fn told(&mut self, connection: &mut Connection) -> Vec<String> {
        let update = loop {
            if let Some(update) = connection.update() {
                break update;
            }
            tokio::select! {
                never = &mut self.publishing => match never {},
                () = connection.changed() => {}
            }
        };
        connection
            .hear(None, request(&update.nonce.to_string()))
            .unwrap();
        let [(_, assigned)] = &update.resources[..] else {
            panic!("{update:?}");
        };
        let text = |seat: &Seat| match seat.is_leaving {
            true => format!("{} goes", seat.address),
            false => seat.address.to_string(),
        };
        assigned.seats.iter().map(text).collect()
    }

    /// Nothing is told for a while.
    async fn is_silent(&mut self, connection: &mut Connection) -> bool {
        let told = self.told(connection);
        tokio::time::timeout(Duration::from_secs(4), told)
            .await
            .is_err()
    }
}

fn name(text: &str) -> crate::model::Name {
    text.parse().unwrap()
}

fn state(slot: usize, host: &str, phase: &str, ready: bool) -> Fact {
    let state = json!({
        "instance": format!("worker-{slot}"), "node": "n", "phase": phase, "ready": ready,
        "endpoint": {"host": host, "port": 1}, "observedGeneration": 1, "epoch": 1,
    });
    let instance = format!("worker-{slot}").parse().unwrap();
    Fact::State(
        name("n"),
        instance,
        Some(serde_json::from_value(state).unwrap()),
    )
}

fn request(nonce: &str) -> Request {
    Request {
        kind: Kind::Endpoints,
        nonce: nonce.to_owned(),
        names: vec!["Worker".into()],
        refusal: None,
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_view_is_complete_nothing_is_told_and_then_that_there_is_no_such_service() {
    let mut world = World::new();
    let mut client = world.subscribe();
    assert!(world.is_silent(&mut client).await);
    world.index.apply([], Moment::default());
    assert!(world.told(&mut client).await.is_empty());
    assert!(world.is_silent(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_is_told_to_those_who_want_to_know() {
    let mut world = World::new().with(json!({}), &["10.0.0.1"]);
    let mut client = world.subscribe();
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1"]);
    world.set(1, "10.0.0.2", true);
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1", "10.0.0.2:1"]);
    world.set(0, "10.0.0.1", false);
    assert_eq!(world.told(&mut client).await, ["10.0.0.2:1"]);
    assert!(world.is_silent(&mut client).await);

    let connected = &world.xds.clients()[0];
    let (known, newest) = &connected.subscriptions[0];
    assert_eq!(
        known.acknowledged,
        newest.as_ref().map(|newest| newest.version)
    );
    drop(client);
    assert!(world.xds.clients().is_empty());
    assert_eq!(lock(&world.xds.0.demand).names().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_drains_is_told_as_going_and_whoever_takes_that_knows() {
    let mut world = World::new().with(json!({}), &["10.0.0.1", "10.0.0.2"]);
    let mut client = world.subscribe();
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1", "10.0.0.2:1"]);
    let (names, mut gone) = ([String::from("Worker")].into(), Gone::new());
    world.apply(state(1, "10.0.0.2", "Draining", false));
    assert_eq!(world.xds.behind(&names, "10.0.0.2:1", &mut gone), 1);
    let going = ["10.0.0.1:1", "10.0.0.2:1 goes"];
    assert_eq!(world.told(&mut client).await, going);
    assert_eq!(world.xds.behind(&names, "10.0.0.2:1", &mut gone), 0);

    // It may come back, or be gone.
    world.set(1, "10.0.0.2", true);
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1", "10.0.0.2:1"]);
    world.apply(state(1, "10.0.0.2", "Draining", false));
    assert_eq!(world.told(&mut client).await, going);
    let instance = "worker-1".parse().unwrap();
    world.apply(Fact::State(name("n"), instance, None));
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1"]);
    assert!(world.is_silent(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn host_names_are_looked_up_before_the_first_word_and_failures_keep_the_last_address() {
    let mut world = World::new().with(json!({}), &["10.0.0.1", "qa"]);
    lock(&world.names.0).insert("qa".to_owned(), [10, 0, 0, 9].into());
    let mut client = world.subscribe();
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1", "10.0.0.9:1"]);
    lock(&world.names.0).clear();
    let later = tokio::time::timeout(Duration::from_secs(90), world.told(&mut client));
    assert!(later.await.is_err(), "an address was given up");
    lock(&world.names.0).insert("qa".to_owned(), [10, 0, 0, 8].into());
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1", "10.0.0.8:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_looked_up_does_not_hold_up_the_others() {
    let mut world = World::new().with(json!({}), &["10.0.0.1", "nowhere"]);
    let mut client = world.subscribe();
    assert_eq!(world.told(&mut client).await, ["10.0.0.1:1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_out_by_tickets_has_no_endpoints_here() {
    let mut world = World::new().with(json!({"exclusive": true}), &["10.0.0.1"]);
    let mut client = world.subscribe();
    assert!(world.told(&mut client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn loads_are_told_as_weights_and_only_if_the_balancer_weighs() {
    for (balance, changes) in [(json!({}), true), (json!({"weights": "orca"}), false)] {
        let mut world = World::new().with(balance, &["10.0.0.1", "10.0.0.2"]);
        let mut client = world.subscribe();
        assert_eq!(world.told(&mut client).await.len(), 2);
        let load =
            json!({"at": "2026-01-01T00:00:00Z", "instances": {"worker-0": {"knownRate": 0.9}}});
        let load = serde_json::from_value(load).unwrap();
        world
            .index
            .apply([Fact::Load(name("n"), Some(load))], Moment::default());
        assert_eq!(!world.is_silent(&mut client).await, changes);
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignment_is_written_once_for_all() {
    let mut world = World::new().with(json!({}), &["10.0.0.1"]);
    let (mut one, mut other) = (world.subscribe(), world.subscribe());
    let mut written = 0;
    for connection in [&mut one, &mut other] {
        let update = loop {
            if let Some(update) = connection.update() {
                break update;
            }
            tokio::select! {
                never = &mut world.publishing => match never {},
                () = connection.changed() => {}
            }
        };
        update.resources[0].1.wire(|_| {
            written += 1;
            Bytes::new()
        });
    }
    assert_eq!(written, 1);
}
