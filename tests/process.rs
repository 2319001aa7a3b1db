//! Processes behind shims, as an agent asks for them.
//!
//! 1. Starting: `only_the_given_environment_...`, `what_cannot_be_started_...`
//! 2. Ending: `the_exit_code_...`, `a_kill_reaches_...`
//! 3. Finding again: `a_process_outlives_...`, `an_end_is_known_...`, `a_place_is_never_...`,
//!    `a_stranger_...`, `what_is_forgotten_...`, `a_shim_that_is_just_dying_...`
//!    `a_shim_that_is_replaced_...`
//! 4. Tethers: `tethered_processes_...`
//! 5. Limits: `who_cannot_enter_...`
//! 6. Pids that were ours: [`pid_reuse`]
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "process/pid_reuse.rs"]
mod pid_reuse;
mod support;
#[path = "process/told.rs"]
mod told;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use quaestor::{
    host::Host,
    model::service::StopSignal,
    process::{End, Found, Place, Processes as _, Program, ShimProcesses, Started},
};
use support::{cluster::kill_shims, eventually, eventually_async};

/// A place, and the shims that serve it until the test is over.
struct World {
    processes: Option<ShimProcesses>,
    place: Place,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Place {
            directory: directory.path().join("worker-0"),
            // Tests run side by side, and whatever carries the uuid of a lost process is killed.
            uuid: Host::system().entropy.uuid(),
        };
        Self {
            processes: Some(another()),
            place,
            directory,
        }
    }

    fn processes(&self) -> &ShimProcesses {
        self.processes.as_ref().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn script(&self, script: &str) -> Program {
        let logs = self.path("logs");
        fs::create_dir_all(&logs).unwrap();
        Program {
            secrets: BTreeMap::new(),
            pre_start: None,
            notify: None,
            arguments: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            working_directory: self.directory.path().to_owned(),
            identity: None,
            logon: None,
            umask: Default::default(),
            limits: Default::default(),
            resources: Default::default(),
            nice: None,
            oom_score_adjust: None,
            stop_within: None,
            logs,
            log_limits: Default::default(),
            stop: Default::default(),
        }
    }

    async fn start(&self, incarnation: u64, script: &str) -> Started {
        let program = self.script(script);
        let started = self.processes().start(&self.place, incarnation, &program);
        started.await.unwrap()
    }

    async fn found(&self) -> (u64, Started) {
        match another().find(&self.place).await.unwrap() {
            Found::Running {
                incarnation,
                started,
            } => (incarnation, started),
            Found::Idle { last } => panic!("nothing lives; the last was {last:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        kill_shims(self.directory.path());
    }
}

/// As the next agent has them.
fn another() -> ShimProcesses {
    ShimProcesses::by(env!("CARGO_BIN_EXE_quaestor-shim").into(), &Host::system())
}

fn lives(pid: u32) -> bool {
    support::cluster::lives(pid)
}

fn how(end: End) -> (Option<i32>, Option<i32>) {
    (end.code, end.signal)
}

#[tokio::test]
async fn only_the_given_environment_is_seen_and_output_goes_to_the_logs() {
    let world = World::new();
    world.start(1, "env; pwd").await.ended.await;
    eventually("the output is written", || {
        let log = fs::read_to_string(world.path("logs").join("current.log"));
        let log = log.unwrap_or_default();
        let variables = log.lines().filter(|line| line.contains('='));
        let names: Vec<_> = variables
            .map(|line| {
                line.split(' ')
                    .next_back()
                    .unwrap()
                    .split('=')
                    .next()
                    .unwrap()
            })
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        log.contains(world.directory.path().to_str().unwrap())
            && names
                .iter()
                .all(|name| name.starts_with("QUAESTOR_") || *name == "PATH")
    });
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_at_once_with_its_path() {
    let world = World::new();
    let mut missing = world.script("");
    missing.arguments = vec!["/no/such/program".to_owned()];
    let mut nowhere = world.script("");
    nowhere.working_directory = "/no/such/place".into();
    for (program, path) in [(missing, "/no/such/program"), (nowhere, "/no/such/place")] {
        let refused = world.processes().start(&world.place, 1, &program).await;
        let why = refused.err().unwrap().to_string();
        assert!(why.contains(path) && why.contains("No such file"), "{why}");
    }
    let no_shim = ShimProcesses::by("/no/such/shim".into(), &Host::system());
    let elsewhere = Place {
        directory: world.path("worker-1"),
        ..world.place.clone()
    };
    let refused = no_shim.start(&elsewhere, 1, &world.script("")).await;
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("/no/such/shim"), "{why}");
}

#[tokio::test]
async fn the_exit_code_or_the_signal_is_told() {
    let world = World::new();
    let first = world.start(1, "exit 3").await;
    assert_eq!(how(first.ended.await), (Some(3), None));
    let second = world.start(2, "exec sleep 1000").await;
    second.process.signal(StopSignal::SigHup).unwrap();
    assert_eq!(how(second.ended.await), (None, Some(1)));
}

#[tokio::test]
async fn a_kill_reaches_what_hides_in_other_sessions() {
    let world = World::new();
    let child = world.path("child");
    let script = format!(
        "trap '' TERM; setsid sleep 1000 & echo $! > {}; wait",
        child.display()
    );
    let started = world.start(1, &script).await;
    let mut pid = 0;
    eventually("the child runs", || {
        let text = fs::read_to_string(&child).unwrap_or_default();
        text.trim().parse().map(|it| pid = it).is_ok()
    });
    started.process.signal(StopSignal::SigKill).unwrap();
    assert_eq!(how(started.ended.await), (None, Some(9)));
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_process_outlives_who_started_it_and_is_found_again() {
    let mut world = World::new();
    let before = world.start(7, "exec sleep 1000").await.process.pid();
    world.processes = None;
    let (incarnation, found) = world.found().await;
    assert_eq!((incarnation, found.process.pid()), (7, before));
    assert!(lives(before));
    found.process.signal(StopSignal::SigTerm).unwrap();
    assert_eq!(how(found.ended.await), (None, Some(15)));
}

#[tokio::test]
async fn an_end_is_known_to_who_comes_later() {
    let world = World::new();
    let pid = world.start(7, "exit 42").await.process.pid();
    eventually("it has ended", || !lives(pid));
    let mut last = None;
    // The shim may be about to look.
    while last.is_none() {
        match another().find(&world.place).await.unwrap() {
            Found::Idle { last: found } => last = found,
            Found::Running { started, .. } => drop(started.ended.await),
        }
    }
    let (incarnation, end) = last.unwrap();
    assert_eq!((incarnation, how(end)), (7, (Some(42), None)));
    assert!(end.at.is_some());
}

#[tokio::test]
async fn a_place_is_never_taken_by_two() {
    let world = World::new();
    let first = world.start(1, "exec sleep 1000").await;
    let second = world.start(2, "exec sleep 1000").await;
    assert!(!lives(first.process.pid()) && lives(second.process.pid()));
    assert_eq!(how(first.ended.await), (None, Some(9)));
}

#[tokio::test]
async fn a_stranger_in_the_place_is_not_taken_for_ours() {
    let world = World::new();
    world.start(1, "exec sleep 1000").await;
    let other = Place {
        uuid: "another".to_owned(),
        ..world.place.clone()
    };
    let refused = another().find(&other).await.err().unwrap().to_string();
    assert!(refused.contains(&world.place.uuid), "{refused}");
}

#[tokio::test]
async fn what_is_forgotten_leaves_nothing() {
    let world = World::new();
    let pid = world.start(1, "exec sleep 1000").await.process.pid();
    another().forget(&world.place).await.unwrap();
    assert!(!lives(pid) && !world.place.directory.exists());
    assert!(world.path("logs").exists(), "its output is kept");
    eventually("the shim has left", || {
        support::cluster::shims(world.directory.path()).is_empty()
    });
    assert!(matches!(
        another().find(&world.place).await.unwrap(),
        Found::Idle { last: None }
    ));
}

#[tokio::test]
async fn tethered_processes_end_with_who_started_them() {
    let mut world = World::new();
    world.processes = Some(another().tethered().unwrap());
    let pid = world
        .start(1, "setsid sleep 1000 & exec sleep 1000")
        .await
        .process
        .pid();
    assert!(lives(pid));
    world.processes = None;
    eventually("everything has ended", || {
        !lives(pid) && support::cluster::shims(world.directory.path()).is_empty()
    });
}

#[tokio::test]
async fn a_shim_that_is_just_dying_is_waited_for_and_its_end_is_no_doubt() {
    let world = World::new();
    let started = world.start(1, "exec sleep 1000").await;
    let shim = support::cluster::parent(started.process.pid());
    support::signal(shim, "KILL");
    started.ended.await;
    // A killed shim may hold its socket for a moment longer than its process lives: whoever asks by then is
    // told nothing, or is cut off.
    for is_heard in [true, false] {
        let socket = world.place.directory.join("socket");
        let _ = fs::remove_file(&socket);
        let dying = tokio::net::UnixListener::bind(socket).unwrap();
        let processes = another();
        let finding = processes.find(&world.place);
        let dies = async {
            if is_heard {
                dying.accept().await.unwrap();
            } else {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            drop(dying);
        };
        let (found, ()) = futures::join!(finding, dies);
        let Found::Idle { last } = found.unwrap() else {
            panic!("it lives");
        };
        assert_eq!(last, Some((1, End::UNKNOWN)));
    }
}

#[tokio::test]
async fn a_shim_that_is_replaced_by_rename_keeps_its_process_and_the_next_start_uses_the_new_one() {
    let world = World::new();
    let path = world.path("quaestor-shim");
    let install = || {
        let next = world.path("quaestor-shim.next");
        fs::copy(env!("CARGO_BIN_EXE_quaestor-shim"), &next).unwrap();
        fs::rename(next, &path).unwrap();
    };
    let serves = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    install();
    let processes = ShimProcesses::by(path.clone(), &Host::system());
    let program = world.script("exec sleep 1000");
    let started = processes.start(&world.place, 1, &program).await.unwrap();
    let pid = started.process.pid();
    let shim = support::cluster::parent(pid);
    install();
    assert!(serves(shim).to_str().unwrap().ends_with(" (deleted)"));

    // Whoever comes finds the process, and starts the next one by the same shim, which is there.
    let (incarnation, found) = world.found().await;
    assert_eq!((incarnation, found.process.pid()), (1, pid));
    found.process.signal(StopSignal::SigKill).unwrap();
    found.ended.await;
    let again = processes.start(&world.place, 2, &program).await.unwrap();
    assert_eq!(support::cluster::parent(again.process.pid()), shim);

    // Another instance gets the new one.
    let other = Place {
        directory: world.path("worker-1"),
        uuid: Host::system().entropy.uuid(),
    };
    let beside = processes.start(&other, 1, &program).await.unwrap();
    let new = support::cluster::parent(beside.process.pid());
    assert_eq!(serves(new), path);
    // And so does the first, once it was forgotten.
    processes.forget(&world.place).await.unwrap();
    assert!(!lives(again.process.pid()));
    // It closes its socket a moment before it is gone.
    eventually_async("the shim is gone", async || !lives(shim)).await;
    let anew = processes.start(&world.place, 3, &program).await.unwrap();
    assert_eq!(serves(support::cluster::parent(anew.process.pid())), path);
}

#[tokio::test]
async fn who_cannot_enter_its_cgroup_runs_all_the_same_and_that_is_said() {
    let world = World::new();
    // Directories in which no files appear by themselves, as they do in real cgroups.
    let root = world.path("cgroups");
    let mount = format!("1 0 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.display());
    for (file, text) in [
        ("self/cgroup", "0::/\n"),
        ("self/mountinfo", &mount),
        ("cgroups/cgroup.controllers", "memory\n"),
    ] {
        let file = world.path(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let host = Host {
        disk: Arc::new(told::Told(world.path("self"))),
        ..Host::system()
    };
    let processes = ShimProcesses::by(env!("CARGO_BIN_EXE_quaestor-shim").into(), &host);
    let mut program = world.script("exec sleep 1000");
    program.resources.memory = "64MiB".parse().ok();
    let started = processes.start(&world.place, 1, &program).await.unwrap();
    assert!(lives(started.process.pid()));
    let told = processes.confine(&world.place, &program.resources).unwrap();
    assert!(
        told.starts_with(
            "resources.memory is not enforced on this node: its process could not enter"
        ),
        "{told}"
    );
    processes.forget(&world.place).await.unwrap();
    let left = fs::read_dir(root.join("quaestor")).unwrap().count();
    assert_eq!(left, 0, "its cgroup is removed");
}
