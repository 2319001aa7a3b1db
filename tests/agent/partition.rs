//! An agent that cannot confirm its session: what is to stop then stops by itself, all else runs on.

use quaestor::model::{ExitCause, service::OnPartition};

use super::*;

/// One that stops by itself when it is cut off, as `single-0`.
fn single() -> Assignment {
    Assignment {
        instance: instance("single-0"),
        on_partition: OnPartition::Stop,
        on_agent_stop: OnAgentStop::Keep,
        ..script("exec sleep 1000")
    }
}

/// One that runs on.
fn steady() -> Assignment {
    Assignment {
        on_agent_stop: OnAgentStop::Keep,
        ..script("exec sleep 1000")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_only_what_is_to_stop_does_and_it_comes_back_with_the_store() {
    let mut world = World::new();
    let _agent = world.agent("a");
    let (single, steady) = (single(), steady());
    world.assign(&single).await;
    world.assign(&steady).await;
    let stops = world.ready(&single.instance).await.pid.unwrap();
    let stays = world.ready(&steady.instance).await;
    // Renewals move the end: it lives for longer than one of them lasts.
    tokio::time::sleep(Duration::from_secs(22)).await;
    assert!(lives(stops), "its session is confirmed");

    world.own_etcd().kill();
    let cut = Instant::now();
    gone(stops).await;
    let took = cut.elapsed();
    // The last renewal was sent up to a third of the time before.
    assert!((12..=21).contains(&took.as_secs()), "after {took:?}");
    assert!(lives(stays.pid.unwrap()));

    world.own_etcd().restart();
    let again = world
        .state_when(&single.instance, "it is started again", |state| {
            state.ready && state.pid != Some(stops)
        })
        .await;
    let exit = again.last_exit.unwrap();
    assert_eq!(exit.cause, Some(ExitCause::Partition));
    assert_eq!((exit.signal, again.restarts), (Some(15), 1));
    let after = world.ready(&steady.instance).await;
    assert_eq!((after.pid, after.restarts), (stays.pid, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_agent_it_stops_as_well_and_the_next_agent_starts_it_again() {
    let world = World::new();
    let agent = world.agent("a");
    let (single, steady) = (single(), steady());
    world.assign(&single).await;
    world.assign(&steady).await;
    let stops = world.ready(&single.instance).await.pid.unwrap();
    let stays = world.ready(&steady.instance).await.pid.unwrap();
    agent.crash().await;
    gone(stops).await;
    assert!(lives(stays));
    let _next = world.agent("a");
    let again = world
        .state_when(&single.instance, "it is started again", |state| {
            state.ready && state.pid != Some(stops)
        })
        .await;
    assert_eq!(again.last_exit.unwrap().cause, Some(ExitCause::Partition));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_keep_running_after_all_is_told_so() {
    let mut world = World::new();
    let _agent = world.agent("a");
    let single = single();
    world.assign(&single).await;
    let pid = world.ready(&single.instance).await.pid.unwrap();
    let keeps = Assignment {
        on_partition: OnPartition::Keep,
        generation: 2,
        ..single
    };
    world.assign(&keeps).await;
    world
        .state_when(&keeps.instance, "it is taken in", |state| {
            state.observed_generation == 2
        })
        .await;
    world.own_etcd().kill();
    tokio::time::sleep(Duration::from_secs(24)).await;
    assert!(lives(pid), "it keeps running");
}
