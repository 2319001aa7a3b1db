//! Limits on memory and processors. What a host can enforce differs: a test shows what this one does, or that it
//! says why it does not.

use quaestor::model::{ExitCause, Resources};
use support::cluster::{kill_shims, shims};

use super::*;

fn confined(memory: &str, assignment: Assignment) -> Assignment {
    let resources = Resources {
        memory: memory.parse().ok(),
        cpu: Some(1.5),
    };
    Assignment {
        resources,
        ..assignment
    }
}

/// The directory of the cgroup that a process lives in, if that is one of an instance.
fn cgroup(pid: u32) -> Option<PathBuf> {
    let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = membership.lines().find_map(|line| line.strip_prefix("0::"));
    let path = path.filter(|path| path.contains("/quaestor/worker-0."))?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let root = mounts.lines().find_map(|mount| {
        let mut words = mount.split(' ').skip(1);
        let point = words.next()?;
        (words.next() == Some("cgroup2")).then(|| point.to_owned())
    });
    Some(Path::new(&root.unwrap()).join(path.trim_start_matches('/')))
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_in_force_or_it_is_said_why_not() {
    let world = World::new();
    let wanted = confined("512MiB", script("exec sleep 1000"));
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world.ready(&wanted.instance).await;
    let cgroup = cgroup(state.pid.unwrap());
    let limit = |file: &str| std::fs::read_to_string(cgroup.as_ref()?.join(file)).ok();
    for (field, file, text) in [
        ("resources.memory", "memory.max", "536870912\n"),
        ("resources.cpu", "cpu.max", "150000 100000\n"),
    ] {
        match limit(file) {
            Some(limit) => assert_eq!(limit, text),
            None => {
                assert_eq!(state.reason, "ResourcesNotEnforced");
                let told = &state.message;
                let said = told.contains(field) && told.contains("not enforced on this node: ");
                assert!(said, "{field}: {told}");
            }
        }
    }
    // Other limits need no other process, and the next agent says the same of them.
    let more = Assignment {
        generation: 2,
        ..confined("600MiB", wanted)
    };
    world.assign(&more).await;
    let changed = world
        .state_when(&more.instance, "the generation is observed", |state| {
            state.observed_generation == 2
        })
        .await;
    assert_eq!((changed.pid, &changed.message), (state.pid, &state.message));
    if let Some(limit) = limit("memory.max") {
        assert_eq!(limit, "629145600\n");
    }
    agent.crash().await;
    let agent = world.agent("a");
    let adopted = world
        .state_when(&more.instance, "it is adopted", |state| {
            state.epoch > changed.epoch
        })
        .await;
    assert_eq!((adopted.pid, &adopted.message), (state.pid, &state.message));
    agent.end().await;
    if let Some(cgroup) = cgroup {
        eventually_async("the cgroup is removed", async || !cgroup.exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_uses_up_the_memory_is_ended_and_that_is_said() {
    let world = World::new();
    let wanted = confined("20MiB", script("head -c 200m /dev/zero | tail -c 199m"));
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world
        .state_when(&wanted.instance, "it ended, or is not limited", |state| {
            state.last_exit.is_some() || !state.message.is_empty()
        })
        .await;
    if !state.message.contains("resources.memory") {
        let exit = state.last_exit.unwrap();
        assert_eq!(exit.cause, Some(ExitCause::OutOfMemory));
        assert!(
            state.message.contains("out of memory (limit 20MiB)"),
            "{}",
            state.message
        );
    }
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hides_from_the_cgroup_when_the_shim_is_killed() {
    let world = World::new();
    // Its environment says nothing, and it is in a session of its own.
    let file = world.path("hidden");
    let hidden = format!(
        "setsid env -i /bin/sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000' & exec sleep 1000",
        file.display()
    );
    let wanted = confined("512MiB", script(&hidden));
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world.ready(&wanted.instance).await;
    let hidden = number_in(&file).await;
    let cgroup = cgroup(state.pid.unwrap());
    assert_eq!(shims(world.directory.path()).len(), 1);
    kill_shims(world.directory.path());
    match cgroup {
        Some(_) => gone(hidden).await,
        None => {
            assert!(state.message.contains("not enforced"), "{}", state.message);
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(hidden.cast_signed()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
    }
    agent.end().await;
}
