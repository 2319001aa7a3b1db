//! Programs of others that hold the port of an instance.

use super::*;

/// Somebody else's server, which accepts whoever comes; `None` once it is gone.
fn stranger() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port();
    (listener, number)
}

fn at(number: u16) -> Assignment {
    let mut wanted = web_server();
    wanted.ports[0].number = Some(number);
    wanted.health.http = None;
    wanted.health.tcp = Some(PortCheck::default());
    wanted
}

fn own_name() -> String {
    format!("(pid {})", std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_named_but_not_used_unless_that_is_wanted() {
    let world = World::new();
    let _agent = world.agent("a");
    let (_stranger, number) = stranger();
    let wanted = at(number);
    world.assign(&wanted).await;
    let refused = world
        .state_when(&wanted.instance, "the start fails", |state| {
            state.reason == "PortInUse"
        })
        .await;
    assert!(refused.message.contains(&own_name()), "{refused:?}");
    assert!(!refused.ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_used_as_it_is_until_it_goes_away() {
    let world = World::new();
    let agent = world.agent("a");
    let (stranger, number) = stranger();
    let wanted = Assignment {
        adopt: true,
        on_agent_stop: OnAgentStop::Keep,
        ..at(number)
    };
    world.assign(&wanted).await;
    let adopted = world.ready(&wanted.instance).await;
    assert_eq!(adopted.reason, "Adopted");
    assert_eq!((adopted.phase, adopted.pid), (Phase::Running, None));
    assert!(adopted.message.contains(&own_name()), "{adopted:?}");
    assert_eq!(adopted.endpoint.map(|it| it.port), Some(number));

    // A request for another process cannot mean it, and neither can the next agent.
    let again = Assignment {
        revision: "r2".to_owned(),
        ..wanted.clone()
    };
    world.assign(&again).await;
    let same = |state: &InstanceState| state.ready && state.reason == "Adopted";
    let state = world
        .state_when(&wanted.instance, "it is adopted once more", |state| {
            same(state) && state.revision == "r2"
        })
        .await;
    agent.crash().await;
    let _agent = world.agent("a");
    let after = world
        .state_when(&wanted.instance, "it is confirmed", |it| {
            same(it) && it.epoch > state.epoch
        })
        .await;
    assert_eq!((after.restarts, after.pid), (0, None));

    drop(stranger);
    let ours = world
        .state_when(&wanted.instance, "ours takes its place", |state| {
            state.ready && state.pid.is_some()
        })
        .await;
    assert_eq!((ours.reason.as_str(), ours.restarts), ("", 0));
    assert_eq!(ours.ports["http"], number);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_instance_leaves_its_stranger_alone() {
    let world = World::new();
    let _agent = world.agent("a");
    let (stranger, number) = stranger();
    let wanted = Assignment {
        adopt: true,
        ..at(number)
    };
    world.assign(&wanted).await;
    world.ready(&wanted.instance).await;
    let absent = Assignment {
        desired: Desired::Absent,
        ..wanted
    };
    world.assign(&absent).await;
    world.forgotten(&absent.instance).await;
    stranger.set_nonblocking(true).unwrap();
    // It is this very process, so it lives; and it listens as before.
    std::net::TcpStream::connect(("127.0.0.1", number)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_is_no_stranger() {
    let world = World::new();
    let _agent = world.agent("a");
    let first = at(support::ports::free_port());
    world.assign(&first).await;
    world.ready(&first.instance).await;
    let second = Assignment {
        instance: instance("second-0"),
        adopt: true,
        ..first.clone()
    };
    world.assign(&second).await;
    let refused = world
        .state_when(&second.instance, "the start fails", |state| {
            state.reason == "PortInUse"
        })
        .await;
    assert!(
        refused.message.contains("worker-0 of this node"),
        "{refused:?}"
    );
}
