//! As whom processes run, and within which limits. Only root can start processes as others, so that what
//! is tested depends on who tests.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use quaestor::model::{
    RunAs,
    run_as::{Ceiling, Limits, Umask},
};

use super::*;

fn running_as(wanted: Assignment, run_as: RunAs) -> Assignment {
    let Run::Process(template) = wanted.run else {
        panic!("it is a process")
    };
    Assignment {
        run: Run::Process(Template { run_as, ..template }),
        ..wanted
    }
}

fn is_root(world: &World) -> bool {
    std::fs::metadata(world.directory.path()).unwrap().uid() == 0
}

/// The value of a line of `/proc/<pid>/status`.
fn status(pid: u32, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_runs_as_its_user_or_is_refused_by_an_agent_that_is_not_root() {
    let world = World::new();
    let all = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(world.directory.path(), all).unwrap();
    let wanted = running_as(
        script("touch mine; echo $HOME $USER > who; exec sleep 1000"),
        RunAs {
            user: Some("nobody".to_owned()),
            ..RunAs::default()
        },
    );
    world.assign(&wanted).await;
    let agent = world.agent("a");
    if is_root(&world) {
        let state = world.ready(&wanted.instance).await;
        let pid = state.pid.unwrap();
        assert_eq!(status(pid, "Uid:"), ["65534"; 4]);
        assert_eq!(status(pid, "Gid:"), ["65534"; 4]);
        assert_eq!(status(pid, "Groups:"), [""; 0]);
        let directory = world.path("a/run/worker-0");
        eventually_async("it wrote into its directory", async || {
            std::fs::read_to_string(directory.join("who"))
                .is_ok_and(|text| text == "/nonexistent nobody\n")
        })
        .await;
        assert_eq!(std::fs::metadata(&directory).unwrap().uid(), 65534);
        let mine = std::fs::metadata(directory.join("mine")).unwrap();
        assert_eq!((mine.uid(), mine.mode() & 0o777), (65534, 0o644));
    } else {
        let state = world
            .state_when(&wanted.instance, "it is refused", |state| {
                state.phase == Phase::StartFailed
            })
            .await;
        assert!(state.message.contains("runs as root"), "{state:?}");
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_umask_and_niceness_are_as_written_and_no_privileges_can_be_gained() {
    let world = World::new();
    let wanted = running_as(
        script("umask > umask; ulimit -n > nofile; ulimit -c > core; nice > nice; exec sleep 1000"),
        RunAs {
            umask: Umask(0o027),
            limits: Limits {
                nofile: Some(Ceiling(Some(100))),
                core: Some(Ceiling(Some(0))),
                ..Limits::default()
            },
            nice: Some(7),
            oom_score_adjust: Some(900),
            ..RunAs::default()
        },
    );
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    assert_eq!(status(pid, "NoNewPrivs:"), ["1"]);
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score, "900\n");
    for (file, content) in [
        ("umask", "0027\n"),
        ("nofile", "100\n"),
        ("core", "0\n"),
        ("nice", "7\n"),
    ] {
        let path = world.path("a/run/worker-0").join(file);
        eventually_async(file, async || {
            std::fs::read_to_string(&path).is_ok_and(|text| text == content)
        })
        .await;
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_named_with_the_host() {
    let world = World::new();
    let run_as = RunAs {
        user: Some("nadia".to_owned()),
        ..RunAs::default()
    };
    let wanted = running_as(script("exec sleep 1000"), run_as);
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world
        .state_when(&wanted.instance, "it is refused", |state| {
            state.phase == Phase::StartFailed
        })
        .await;
    assert_eq!(state.reason, "StartFailed");
    assert!(
        state.message.contains("on n1, there is no user `nadia`"),
        "{state:?}"
    );
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_of_the_host_does_not_allow_is_not_started() {
    let world = World::new();
    let wanted = script("touch started; exec sleep 1000");
    world.assign(&wanted).await;
    let allowed = agent::Allowed {
        programs: vec!["/opt".into()],
        ..Default::default()
    };
    let agent = world.agent_by(agent::Config {
        allowed,
        ..world.config("a")
    });
    let state = world
        .state_when(&wanted.instance, "it is refused", |state| {
            state.phase == Phase::StartFailed
        })
        .await;
    assert_eq!(state.reason, "NotAllowed");
    assert!(
        state.message.contains("`/bin/sh` may not be started"),
        "{state:?}"
    );
    assert!(!world.path("a/run/worker-0").exists());
    agent.end().await;
}
