//! Tickets on whole clusters: real roles on a real etcd, demo workers that refuse a second request.
//!
//! - `world`: a cluster with an exclusive service, and its clients
//! - `scenario`: many callers, while balancers, agents and clients are killed
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "tickets/scenario.rs"]
mod scenario;
mod support;
#[path = "tickets/world.rs"]
mod world;

use std::time::Duration;

use quaestor::{
    balancer::reservations::Refusal, host::Host, model::ticket::Age, rpc::connections::Connections,
};
use scenario::Scenario;
use world::{Caller, World};

/// Waits for a ticket for at most this long.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_given_to_one_caller_at_a_time() {
    // Nobody renews them, and none is to end meanwhile.
    let lasts = 4 * PATIENCE;
    let world = World::of_tickets(lasts, 2, 1, 2, "");
    let first = world.caller().acquire(PATIENCE).await.unwrap();
    let second = world.caller().acquire(PATIENCE).await.unwrap();
    assert_ne!(first.endpoint, second.endpoint);
    // Time enough to be told a place.
    let none = world.caller().acquire(Duration::from_secs(3)).await;
    let Err(Refusal::TooLate(why)) = none else {
        panic!("{none:?}");
    };
    assert!(
        why.contains("place 1 of 1 in the queue for 2 units"),
        "{why}"
    );

    let caller = world.caller();
    let waiting = tokio::spawn(async move { caller.acquire(PATIENCE).await });
    world.caller().release(&first).await;
    assert_eq!(waiting.await.unwrap().unwrap().endpoint, first.endpoint);
    assert_eq!(world.caller().renew(&first).await, Ok(None), "it is over");
    let left = world.caller().renew(&second).await.unwrap();
    assert!(left.unwrap() > lasts / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_has_an_instance_to_itself_and_gives_it_back() {
    let world = World::start(1, 1, 1, "");
    for _ in 0..2 {
        let script = "echo $QUAESTOR_ENDPOINT; exit 3";
        let output = world.quaestor(&[
            "acquire",
            "Worker",
            "--timeout",
            "20s",
            "--",
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let endpoint = String::from_utf8(output.stdout).unwrap();
        assert!(endpoint.starts_with("127.0.0.1:"), "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_outlives_its_agent_and_an_overdue_one_waits_for_its_worker() {
    let mut world = World::start(1, 1, 1, "");
    let ticket = world.caller().acquire(PATIENCE).await.unwrap();
    // The work goes on for longer than the ticket.
    let start = std::time::Instant::now();
    let work = tokio::spawn(Caller::work(ticket.endpoint.clone(), 6_000));
    world.kill_agent(0);
    world.start_agent(0);
    let caller = world.caller();
    let next = tokio::spawn(async move { caller.acquire(PATIENCE).await });
    assert!(work.await.unwrap(), "the work was not refused");
    let next = next.await.unwrap().unwrap();
    assert_ne!(next.id, ticket.id);
    // It was not given away before the work was done.
    assert!(
        start.elapsed() > Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    assert!(
        Caller::work(next.endpoint.clone(), 1).await,
        "its worker is idle"
    );
    world.caller().release(&next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_shared_services_are_refused_with_a_reason() {
    let world = World::start(1, 1, 1, "");
    let connections = Connections::new(Host::system().network);
    let refused = async |name: &str| {
        use futures::StreamExt as _;
        let mut steps = connections.wait(&world.balancers()[0], name, Age::default(), None);
        steps.next().await.unwrap().unwrap_err().to_string()
    };
    assert!(
        refused("nobody")
            .await
            .contains("no service is found as `nobody`")
    );
    assert!(refused("Shared").await.contains("not exclusive"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_no_worker_is_given_twice_and_no_ticket_leaks() {
    let outcome = Scenario {
        agents: 2,
        workers: 12,
        callers: 100,
        spread: Duration::from_secs(1),
        work: Duration::from_millis(300),
    }
    .run()
    .await;
    println!("{outcome}");
    outcome.check();
}

/// The bar. What is later than what is told by what callers have been told, so that it holds on a slow machine too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_share_a_hundred_workers() {
    let outcome = Scenario {
        agents: 4,
        workers: 100,
        callers: 1_000,
        spread: Duration::from_secs(2),
        work: Duration::from_secs(2),
    }
    .run()
    .await;
    println!("{outcome}");
    outcome.check();
}
