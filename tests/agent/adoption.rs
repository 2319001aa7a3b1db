//! Agents that end in every way, and the next one that goes on.
//!
//! An agent that crashes here ends between two of its steps, as a killed one does; real kills are in
//! `tests/upheaval.rs`.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{disk::Gated, *};
use support::cluster::parent;

/// Every assignment here leaves its process to the next agent.
fn kept(assignment: Assignment) -> Assignment {
    Assignment {
        on_agent_stop: OnAgentStop::Keep,
        ..assignment
    }
}

impl World {
    fn runtime(&self) -> PathBuf {
        self.path("a").join("runtime")
    }

    /// The state of an instance, once an agent with a session younger than `epoch` has confirmed it.
    async fn confirmed(&self, instance: &Instance, epoch: i64) -> InstanceState {
        self.state_when(instance, "it is confirmed", |state| state.epoch > epoch)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_agent_is_noticed_by_no_process_and_no_balancer() {
    let world = World::new();
    let first = world.agent("a");
    let wanted = kept(web_server());
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    eventually_async("it is reconciled", async || {
        world.session().await.unwrap().reconciled
    })
    .await;
    let prefixes = vec![world.keys.states(), world.keys.sessions()];
    let mut follow = world.store.follow(prefixes);
    follow.next().await;
    first.crash().await;
    let mut epoch = before.epoch;
    for round in 0..3 {
        let agent = world.agent("a");
        let after = world.confirmed(&wanted.instance, epoch).await;
        epoch = after.epoch;
        let same = InstanceState {
            epoch,
            ..before.clone()
        };
        assert_eq!(after, same, "round {round}");
        // Crashed, and told to end: both leave everything as it is.
        match round {
            1 => agent.end().await,
            _ => agent.crash().await,
        }
    }
    // Nothing that was written meanwhile said anything else.
    while let Some(update) = futures::FutureExt::now_or_never(follow.next()) {
        for change in update.changes {
            let store::Change::Put(entry) = change else {
                panic!("deleted: {change:?}");
            };
            let text = String::from_utf8_lossy(&entry.value).into_owned();
            let is_calm = text.contains("\"ready\":true") || text.contains("\"reconciled\":true");
            assert!(is_calm, "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_an_agent_is_known_afterwards_and_counted_once() {
    let world = World::new();
    let first = world.agent("a");
    let go = world.path("go");
    let wanted = kept(script(&format!(
        "test -e {go} && exec sleep 1000; while ! test -e {go}; do sleep 0.01; done; exit 42",
        go = go.display()
    )));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    first.crash().await;
    fs::write(&go, "").unwrap();
    gone(before.pid.unwrap()).await;
    let _second = world.agent("a");
    let after = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.pid != before.pid
        })
        .await;
    assert_eq!(after.last_exit.unwrap().code, Some(42));
    assert_eq!(after.restarts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_off_goes_on_where_it_was() {
    let world = World::new();
    let first = world.agent("a");
    let starts = world.path("starts");
    let mut wanted = kept(script(&format!("echo 1 >> {}; exit 3", starts.display())));
    // Long enough for the next agent to see that it waits.
    wanted.restart.delay = Period::from_secs(10);
    world.assign(&wanted).await;
    let before = world
        .state_when(&wanted.instance, "it waits", |state| {
            state.phase == Phase::BackOff
        })
        .await;
    first.crash().await;
    let _second = world.agent("a");
    let after = world.confirmed(&wanted.instance, before.epoch).await;
    let same = InstanceState {
        epoch: after.epoch,
        ..before.clone()
    };
    assert_eq!(after, same);
    let again = world
        .state_when(&wanted.instance, "it waits again", |state| {
            state.phase == Phase::BackOff && state.restarts == 1
        })
        .await;
    // The second pause is twice as long.
    let pause = |state: &InstanceState| {
        let ended = state.last_exit.as_ref().unwrap().at;
        state.next_start_at.unwrap().since(ended).as_millis()
    };
    assert!(pause(&again) > 15_000 && pause(&before) < 12_000);
    assert_eq!(fs::read_to_string(starts).unwrap().lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_record_is_put_aside_and_the_others_are_adopted() {
    let world = World::new();
    let first = world.agent("a");
    let names = ["worker-0", "worker-1", "worker-2"].map(instance);
    let mut before = Vec::new();
    for name in &names {
        let wanted = Assignment {
            instance: name.clone(),
            ..kept(script("exec sleep 1000"))
        };
        world.assign(&wanted).await;
        before.push(world.ready(name).await);
    }
    first.crash().await;
    let record = world.runtime().join("worker-1.json");
    fs::write(&record, "").unwrap();
    let _second = world.agent("a");
    let replaced = world
        .state_when(&names[1], "it runs anew", |state| {
            state.ready && state.pid != before[1].pid
        })
        .await;
    assert!(!lives(before[1].pid.unwrap()));
    assert!(lives(replaced.pid.unwrap()));
    for index in [0, 2] {
        let after = world.confirmed(&names[index], before[index].epoch).await;
        assert_eq!((after.pid, after.restarts), (before[index].pid, 0));
    }
    let aside = fs::read_dir(world.runtime()).unwrap();
    let aside = aside.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("worker-1.json.broken-")
    });
    assert_eq!(aside.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_another_boot_nothing_is_adopted() {
    let world = World::new();
    let first = world.agent("a");
    let wanted = kept(script("exec sleep 1000"));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    first.crash().await;
    // As if the machine had been started again: everything is gone but the files.
    let shim = parent(before.pid.unwrap());
    support::signal(shim, "KILL");
    gone(before.pid.unwrap()).await;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = world.runtime().join("worker-0.json");
    let text = fs::read_to_string(&record).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    let body = body.trim_end().replace(boot_id.trim(), "another");
    let sum: String = sha2::Digest::finalize({
        let mut sum = <sha2::Sha256 as sha2::Digest>::new();
        sha2::Digest::update(&mut sum, body.as_bytes());
        sum
    })
    .iter()
    .map(|byte| format!("{byte:02x}"))
    .collect();
    fs::write(&record, format!("quaestor-instance 1 {sum}\n{body}\n")).unwrap();
    let _second = world.agent("a");
    let after = world
        .state_when(&wanted.instance, "it is started", |state| {
            state.ready && state.pid != before.pid
        })
        .await;
    assert_eq!((after.restarts, after.last_exit), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_no_agent_was_there_is_carried_out() {
    let world = World::new();
    let first = world.agent("a");
    let names = ["gone-0", "new-0", "lost-0"].map(instance);
    let wanted = |name: &Instance| Assignment {
        instance: name.clone(),
        ..kept(script("exec sleep 1000"))
    };
    let mut pids = Vec::new();
    for name in &names {
        world.assign(&wanted(name)).await;
        pids.push(world.ready(name).await.pid.unwrap());
    }
    first.crash().await;
    let absent = Assignment {
        desired: Desired::Absent,
        ..wanted(&names[0])
    };
    let changed = Assignment {
        revision: "r2".to_owned(),
        ..wanted(&names[1])
    };
    world.assign(&absent).await;
    world.assign(&changed).await;
    world.write(Write::delete(world.key(&names[2]))).await;
    let _second = world.agent("a");
    world.forgotten(&names[0]).await;
    assert!(!lives(pids[0]));
    assert!(!world.runtime().join("gone-0").exists());
    assert!(!world.runtime().join("gone-0.json").exists());
    world
        .state_when(&names[1], "the new one runs", |state| {
            state.ready && state.revision == "r2"
        })
        .await;
    assert!(!lives(pids[1]));
    let orphan = world
        .state_when(&names[2], "it is an orphan", |state| {
            state.reason == "Orphaned"
        })
        .await;
    assert_eq!(orphan.pid, Some(pids[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_descends_from_a_process_ends_with_it() {
    let world = World::new();
    let agent = world.agent("a");
    let [child, orphan] = ["child", "orphan"].map(|name| world.path(name));
    let wanted = kept(script(&format!(
        "setsid sleep 1000 & echo $! > {}; (setsid sh -c 'echo $$ > {}; exec sleep 1000' &) ; wait",
        child.display(),
        orphan.display()
    )));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    let descendants = [number_in(&child).await, number_in(&orphan).await];
    // It does not matter which agent ends it.
    agent.crash().await;
    let _agent = world.agent("a");
    world.confirmed(&wanted.instance, before.epoch).await;
    let absent = Assignment {
        desired: Desired::Absent,
        ..wanted
    };
    world.assign(&absent).await;
    world.forgotten(&absent.instance).await;
    for pid in descendants {
        assert!(!lives(pid), "{pid}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_takes_its_process_with_it_and_both_are_replaced() {
    let world = World::new();
    let agent = world.agent("a");
    let child = world.path("child");
    let wanted = kept(script(&format!(
        "setsid sleep 1000 & echo $! > {}; wait",
        child.display()
    )));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    let first_child = number_in(&child).await;
    support::signal(parent(before.pid.unwrap()), "KILL");
    let after = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.restarts == 1
        })
        .await;
    let exit = after.last_exit.clone().unwrap();
    assert_eq!((exit.code, exit.signal), (None, None));
    assert!(!lives(before.pid.unwrap()) && !lives(first_child));
    // The same while no agent is there.
    agent.crash().await;
    let mut second_child = first_child;
    // The second process may not have said it yet.
    while second_child == first_child {
        second_child = number_in(&child).await;
    }
    support::signal(parent(after.pid.unwrap()), "KILL");
    gone(after.pid.unwrap()).await;
    let _agent = world.agent("a");
    world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.restarts == 2
        })
        .await;
    assert!(!lives(second_child));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_shim_is_waited_for_and_its_process_kept() {
    let world = World::new();
    let first = world.agent("a");
    let wanted = kept(web_server());
    let other = Assignment {
        instance: instance("worker-1"),
        ..wanted.clone()
    };
    world.assign(&wanted).await;
    world.assign(&other).await;
    let before = world.ready(&wanted.instance).await;
    let beside = world.ready(&other.instance).await;
    let shim = parent(before.pid.unwrap());
    first.crash().await;
    support::signal(shim, "STOP");
    let agent = world.agent("a");
    let state = world
        .state_when(&wanted.instance, "it is said that nobody knows", |state| {
            state.reason == "ShimSilent"
        })
        .await;
    // It serves, whatever becomes of its shim; and it is not lost from the answers.
    assert!(state.ready && lives(before.pid.unwrap()), "{state:?}");
    let adopted = world.confirmed(&other.instance, beside.epoch).await;
    assert_eq!(adopted.pid, beside.pid);
    // Nothing is done about it by then, not even what is asked for.
    let change = |generation, revision: &str| Assignment {
        generation,
        revision: revision.to_owned(),
        ..wanted.clone()
    };
    for (generation, revision) in [(2, "r2"), (3, "r1")] {
        world.assign(&change(generation, revision)).await;
        let seen = |state: &InstanceState| state.observed_generation == generation;
        world.state_when(&wanted.instance, "it is seen", seen).await;
    }
    support::signal(shim, "CONT");
    let after = world
        .state_when(&wanted.instance, "it is adopted", |state| {
            state.pid.is_some()
        })
        .await;
    let same = InstanceState {
        epoch: after.epoch,
        observed_generation: 3,
        ..before.clone()
    };
    assert_eq!(after, same);
    // What happens to it is heard of again.
    support::signal(after.pid.unwrap(), "KILL");
    world
        .state_when(&wanted.instance, "it is restarted", |state| {
            state.ready && state.restarts == 1
        })
        .await;
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_runtime_directory_is_refused() {
    let world = World::new();
    let _first = world.agent("a");
    eventually_async("the session is there", async || {
        world.session().await.is_some()
    })
    .await;
    let config = agent::Config {
        runtime_directory: world.runtime(),
        node: "n2".parse().unwrap(),
        ..world.config("b")
    };
    let refused = agent::run(
        config,
        connect(&world.etcd),
        Host::system(),
        Arc::<ShimProcesses>::clone(&world.processes),
        quaestor::agent::reservations::counter().1,
        CancellationToken::new(),
    );
    let refused = refused.await.unwrap_err();
    assert!(
        matches!(refused, agent::Error::DirectoryInUse(_)),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_that_a_killed_agent_leaves_for_a_moment_are_waited_for() {
    let world = World::new();
    let first = world.agent("a");
    let wanted = kept(script("exec sleep 1000"));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    first.crash().await;
    // As by a process that it had forked, and that is not yet another program.
    let lock = fs::File::open(world.runtime().join("lock")).unwrap();
    lock.try_lock().unwrap();
    let touched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&touched);
    let disk = Gated(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let host = Host {
        disk: Arc::new(disk),
        ..Host::system()
    };
    let _second = world.agent_on(host, world.config("a"));
    // Before and after each of its two directories in the first try.
    let tried_again = async || touched.load(Ordering::Relaxed) > 4;
    eventually_async("it tries a second time", tried_again).await;
    drop(lock);
    let after = world.confirmed(&wanted.instance, before.epoch).await;
    assert_eq!(after.pid, before.pid);
}
