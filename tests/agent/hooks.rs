//! Commands around the process: before its start, before its stop, and to check it.

use quaestor::model::service::{ExecCheck, Hook, RestartSpec};

use super::*;

fn hook(script: &str, timeout: u64) -> Hook {
    Hook {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        timeout: Period::from_millis(timeout),
    }
}

fn prepared_by(pre_start: Hook, wanted: Assignment) -> Assignment {
    let Run::Process(template) = wanted.run else {
        panic!("it is a process")
    };
    let pre_start = Some(pre_start);
    Assignment {
        run: Run::Process(Template {
            pre_start,
            ..template
        }),
        restart: RestartSpec {
            delay: Period::from_millis(50),
            max_delay: Period::from_millis(50),
            ..RestartSpec::default()
        },
        ..wanted
    }
}

fn checked_by(script: &str, wanted: Assignment) -> Assignment {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Assignment {
        health: HealthSpec {
            exec: Some(ExecCheck { command }),
            interval: Period::from_millis(100),
            // A busy machine makes no check fail.
            timeout: Period::from_secs(20),
            failure_threshold: 3,
            ..HealthSpec::default()
        },
        ..wanted
    }
}

async fn reads(path: &Path, text: &str) {
    eventually_async(&format!("`{text}` is written"), async || {
        std::fs::read_to_string(path).is_ok_and(|found| found == text)
    })
    .await;
}

/// Waits until the log of the instance has all these words: it is written behind what happens.
async fn logs(world: &World, words: &[&str]) {
    let file = world.path("a/logs/worker-0/current.log");
    eventually_async(&format!("{words:?} are in the log"), async || {
        let log = std::fs::read_to_string(&file).unwrap_or_default();
        words.iter().all(|word| log.contains(word))
    })
    .await;
}

/// Waits until the process says that it would notice a signal.
async fn is_up(world: &World) {
    let up = world.path("a/run/worker-0/up");
    eventually_async("it would notice a signal", async || up.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prepares_a_start_ends_before_the_process_begins() {
    let world = World::new();
    let wanted = prepared_by(
        hook(
            "echo $QUAESTOR_INSTANCE > order; until test -e go; do sleep 0.02; done; echo prepared",
            60_000,
        ),
        script("echo started >> order; exec sleep 1000"),
    );
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world
        .state_when(&wanted.instance, "it is prepared", |state| {
            state.reason == "PreStart"
        })
        .await;
    assert_eq!((state.phase, state.ready), (Phase::Starting, false));
    let order = world.path("a/run/worker-0/order");
    reads(&order, "worker-0\n").await;
    std::fs::write(world.path("a/run/worker-0/go"), "").unwrap();
    let ready = world.ready(&wanted.instance).await;
    assert_ne!(ready.pid, state.pid);
    assert_eq!(ready.restarts, 0);
    reads(&order, "worker-0\nstarted\n").await;
    logs(&world, &["prepared"]).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_preparation_is_a_failed_start_that_is_tried_again() {
    let world = World::new();
    let wanted = prepared_by(
        hook("test -e go || exit 3", 60_000),
        script("touch started; exec sleep 1000"),
    );
    let late = prepared_by(
        hook("sleep 1000 & wait", 100),
        Assignment {
            instance: instance("worker-1"),
            ..script("touch started; exec sleep 1000")
        },
    );
    world.assign(&wanted).await;
    world.assign(&late).await;
    let agent = world.agent("a");
    for (instance, why) in [
        (&wanted.instance, "exited with code 3"),
        (&late.instance, "took too long"),
    ] {
        let state = world
            .state_when(instance, "its preparation failed", |state| {
                state.phase == Phase::StartFailed
            })
            .await;
        assert_eq!(state.reason, "PreStartFailed");
        assert!(state.message.contains(why), "{state:?}");
        assert!(state.next_start_at.is_some());
    }
    assert!(!world.path("a/run/worker-0/started").exists());
    std::fs::write(world.path("a/run/worker-0/go"), "").unwrap();
    world.ready(&wanted.instance).await;
    agent.end().await;
    assert!(!world.path("a/run/worker-1/started").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_while_a_start_is_prepared_leaves_one_process() {
    let world = World::new();
    let wanted = prepared_by(
        hook(
            "echo x >> hooks; until test -e go; do sleep 0.02; done",
            60_000,
        ),
        script("echo x >> starts; exec sleep 1000"),
    );
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let hooks = world.path("a/run/worker-0/hooks");
    reads(&hooks, "x\n").await;
    agent.crash().await;
    let agent = world.agent("a");
    world
        .state_when(&wanted.instance, "it is adopted", |state| {
            state.reason == "PreStart"
        })
        .await;
    std::fs::write(world.path("a/run/worker-0/go"), "").unwrap();
    world.ready(&wanted.instance).await;
    reads(&hooks, "x\n").await;
    reads(&world.path("a/run/worker-0/starts"), "x\n").await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_before_a_stop_runs_before_the_signal_and_a_failure_does_not_matter() {
    let world = World::new();
    let text = "trap 'echo signal >> order; exit 0' TERM; touch up; while :; do sleep 0.02; done";
    let mut wanted = Assignment {
        pre_stop: Some(hook(
            "sleep 0.1; echo first >> order; echo bye; exit 1",
            60_000,
        )),
        ..script(text)
    };
    world.assign(&wanted).await;
    let agent = world.agent("a");
    world.ready(&wanted.instance).await;
    is_up(&world).await;
    wanted.desired = Desired::Absent;
    world.assign(&wanted).await;
    reads(&world.path("a/run/worker-0/order"), "first\nsignal\n").await;
    world.forgotten(&wanted.instance).await;
    logs(&world, &["bye", "pre-stop: exit code 1"]).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_before_a_stop_that_does_not_end_is_killed_and_the_stop_goes_on() {
    let world = World::new();
    // It has time to say what it has started, and that is looked at.
    let mut wanted = Assignment {
        pre_stop: Some(hook("setsid sleep 1000 & echo $! > pid; wait", 5_000)),
        ..script("exec sleep 1000")
    };
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    wanted.desired = Desired::Absent;
    world.assign(&wanted).await;
    let child = number_in(&world.path("a/run/worker-0/pid")).await;
    assert!(lives(pid), "its command comes first");
    world.forgotten(&wanted.instance).await;
    gone(child).await;
    gone(pid).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_command_before_a_stop_failed_is_told_until_it_succeeds() {
    let world = World::new();
    let mut wanted = Assignment {
        pre_stop: Some(hook("touch failed; test -e well", 60_000)),
        ..script(
            "trap 'until test -e go; do sleep 0.02; done; exit' TERM; touch up; while :; do sleep 0.02; done",
        )
    };
    let mut late = Assignment {
        instance: instance("worker-1"),
        pre_stop: Some(hook("exec sleep 1000", 100)),
        ..script("exec sleep 1000")
    };
    world.assign(&wanted).await;
    world.assign(&late).await;
    let agent = world.agent("a");
    world.ready(&wanted.instance).await;
    is_up(&world).await;
    world.ready(&late.instance).await;
    wanted.revision = "r2".to_owned();
    world.assign(&wanted).await;
    let state = world
        .state_when(&wanted.instance, "its failure is told", |state| {
            state.pre_stop_failure.is_some()
        })
        .await;
    assert_eq!(state.phase, Phase::Stopping);
    let told = "; its preStop command failed: exit code 1";
    assert!(state.message.ends_with(told), "{state:?}");
    std::fs::write(world.path("a/run/worker-0/go"), "").unwrap();
    let state = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.revision == "r2"
        })
        .await;
    let failure = state.pre_stop_failure.unwrap();
    assert_eq!(failure.message, "exit code 1");
    assert!(state.message.is_empty(), "that is past: {}", state.message);

    late.revision = "r2".to_owned();
    world.assign(&late).await;
    let state = world
        .state_when(&late.instance, "it runs again", |state| {
            state.ready && state.revision == "r2"
        })
        .await;
    let failure = state.pre_stop_failure.unwrap();
    assert!(failure.message.contains("killed"), "{failure:?}");

    // The next agent knows of it, and forgets it when all went well.
    agent.crash().await;
    let agent = world.agent("a");
    std::fs::write(world.path("a/run/worker-0/well"), "").unwrap();
    wanted.revision = "r3".to_owned();
    world.assign(&wanted).await;
    let state = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.revision == "r3"
        })
        .await;
    assert_eq!(state.pre_stop_failure, None);
    let state = world.state(&late.instance).await.unwrap();
    assert!(state.pre_stop_failure.is_some());
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_agent_runs_the_command_before_a_stop_again() {
    let world = World::new();
    let mut wanted = Assignment {
        pre_stop: Some(hook(
            "echo $$ >> runs; until test -e go; do sleep 0.02; done",
            60_000,
        )),
        ..script("exec sleep 1000")
    };
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    wanted.desired = Desired::Absent;
    world.assign(&wanted).await;
    let runs = world.path("a/run/worker-0/runs");
    let first = number_in(&runs).await;
    agent.crash().await;
    gone(first).await;
    assert!(lives(pid));
    let agent = world.agent("a");
    eventually_async("it runs again", async || {
        std::fs::read_to_string(&runs).unwrap().lines().count() == 2
    })
    .await;
    std::fs::write(world.path("a/run/worker-0/go"), "").unwrap();
    world.forgotten(&wanted.instance).await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_makes_unready_and_then_restarts() {
    let world = World::new();
    let wanted = checked_by(
        "test $QUAESTOR_INSTANCE = worker-0 || exit 9; if test -e sick; then echo has a fever; exit 4; fi",
        script("exec sleep 1000"),
    );
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    let sick = world.path("a/run/worker-0/sick");
    std::fs::write(&sick, "").unwrap();
    let state = world
        .state_when(&wanted.instance, "it is not ready", |state| !state.ready)
        .await;
    assert!(
        state.message.contains("exit code 4: has a fever"),
        "{state:?}"
    );
    gone(pid).await;
    std::fs::remove_file(&sick).unwrap();
    let healed = world
        .state_when(&wanted.instance, "another one is ready", |state| {
            state.ready && state.pid != Some(pid)
        })
        .await;
    assert!(healed.restarts >= 1, "{healed:?}");
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_hangs_is_killed_with_its_tree_and_no_two_run_at_once() {
    let world = World::new();
    let mut wanted = checked_by(
        "for pid in $(cat children); do test -d /proc/$pid && touch twice; done; \
         setsid sleep 1000 & echo $! >> children; wait",
        script("exec sleep 1000"),
    );
    wanted.health.timeout = Period::from_millis(500);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let children = world.path("a/run/worker-0/children");
    let pids = || -> Vec<u32> {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    eventually_async("three checks were made", async || pids().len() >= 3).await;
    let state = world.state(&wanted.instance).await.unwrap();
    assert!(!state.ready && state.restarts == 0, "{state:?}");
    assert!(!world.path("a/run/worker-0/twice").exists());
    agent.end().await;
    for pid in pids() {
        gone(pid).await;
    }
}
