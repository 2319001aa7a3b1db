//! A whole agent on a real etcd, with real processes. The tests write the assignments that the leader
//! would write.
//!
//! 1. Starting: `an_assigned_process_...`, `many_instances_...`, `few_starts_...`,
//!    `a_missing_program_...`, `a_port_in_use_...`
//! 2. Ending: `a_process_that_ends_...`, `a_killed_process_...`, `a_hung_process_...`
//! 3. Stopping: `absent_...`, `a_changed_revision_...`, `an_agent_that_ends_...`
//! 4. Leaving alone: `a_vanished_assignment_...`, `an_unreadable_assignment_...`, `a_lost_store_...`
//! 5. Who is who: `a_second_agent_...`, `the_same_agent_...`, `a_deleted_session_...`,
//!    `an_agent_whose_node_was_taken_...`
//! 6. Others' endpoints: `an_external_endpoint_...`
//! 7. Going on with the processes of the agent before: [`adoption`]
//! 8. Commands around the process: [`hooks`]
//! 9. As whom: [`identity`]; what only the host knows: [`secrets`]
//! 10. Cut off from the store: [`partition`]
//! 11. What they use, and how busy they are: [`resources`]; what they may have: [`confined`]
//! 12. Killed at every step: [`crashes`]
//! 13. Where nothing can be written: [`directories`]
//! 14. A wall clock that jumps: [`clock`]
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and agents as they like"
)]

#[path = "agent/adoption.rs"]
mod adoption;
#[path = "agent/clock.rs"]
mod clock;
#[path = "agent/confined.rs"]
mod confined;
#[path = "agent/crashes.rs"]
mod crashes;
#[path = "agent/directories.rs"]
mod directories;
#[path = "agent/disk.rs"]
mod disk;
#[path = "agent/hooks.rs"]
mod hooks;
#[path = "agent/identity.rs"]
mod identity;
#[path = "agent/notify.rs"]
mod notify;
#[path = "agent/partition.rs"]
mod partition;
#[path = "agent/resources.rs"]
mod resources;
#[path = "agent/secrets.rs"]
mod secrets;
#[path = "agent/strangers.rs"]
mod strangers;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use quaestor::{
    agent,
    host::Host,
    keys::{Key, Keys},
    model::{
        AssignedPort, Assignment, Desired, Instance, InstanceState, Name, NodeLoad, Phase, Run,
        Session,
        assignment::Template,
        quantity::Period,
        service::{HealthSpec, HttpCheck, LoadSpec, OnAgentStop, PortCheck, StopSpec},
        state::Endpoint,
    },
    process::ShimProcesses,
    proto::load_reporting::{
        LoadReportRequest, LoadReportResponse,
        load_reporting_grpc_server::{LoadReportingGrpc, LoadReportingGrpcServer},
    },
    store::{self, Entry, Store, Txn, Write},
};
use support::{etcd::Etcd, eventually_async};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// An etcd, and a directory for everything else.
struct World {
    /// Outlives agents; what they started ends with it.
    processes: Arc<ShimProcesses>,
    etcd: Arc<Etcd>,
    store: Store,
    keys: Keys,
    node: Name,
    directory: tempfile::TempDir,
}

/// A running agent; aborted, as by a kill, when dropped: its processes live on.
struct Agent {
    task: JoinHandle<Result<(), agent::Error>>,
    stop: CancellationToken,
}

impl Agent {
    /// Ends it as SIGTERM does.
    async fn end(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Agent {
    /// Ends it as SIGKILL does, between two of its steps. Returns once it is gone.
    async fn crash(mut self) {
        self.task.abort();
        let ended = (&mut self.task).await;
        assert!(ended.unwrap_err().is_cancelled());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(Etcd::start()), "n1")
    }

    /// Another node of the same cluster.
    fn on(etcd: Arc<Etcd>, node: &str) -> Self {
        let cluster: Name = "default".parse().unwrap();
        let shim = env!("CARGO_BIN_EXE_quaestor-shim").into();
        let processes = ShimProcesses::by(shim, &Host::system()).tethered().unwrap();
        Self {
            processes: Arc::new(processes),
            store: connect(&etcd),
            etcd,
            keys: Keys::new(&cluster),
            node: node.parse().unwrap(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// The etcd, where no other node uses it.
    fn own_etcd(&mut self) -> &mut Etcd {
        Arc::get_mut(&mut self.etcd).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, state_directory: &str) -> agent::Config {
        agent::Config {
            cluster: "default".parse().unwrap(),
            node: self.node.clone(),
            address: "127.0.0.1".to_owned(),
            agent_address: None,
            labels: BTreeMap::new(),
            capacity: Default::default(),
            state_directory: self.path(state_directory),
            runtime_directory: self.path(state_directory).join("runtime"),
            ends_all: false,
            allowed: Default::default(),
            manifests: None,
            artifact_ca: None,
            quaestor: "/opt/quaestor".into(),
            endpoints: Vec::new(),
        }
    }

    /// Starts an agent on `state_directory`.
    fn agent(&self, state_directory: &str) -> Agent {
        self.agent_by(self.config(state_directory))
    }

    fn agent_by(&self, config: agent::Config) -> Agent {
        self.agent_on(Host::system(), config)
    }

    /// Starts an agent on a host of the test's own.
    fn agent_on(&self, host: Host, config: agent::Config) -> Agent {
        let stop = CancellationToken::new();
        let running = agent::run(
            config,
            connect(&self.etcd),
            host,
            Arc::<ShimProcesses>::clone(&self.processes),
            quaestor::agent::reservations::counter().1,
            stop.clone(),
        );
        Agent {
            task: tokio::spawn(async {
                running
                    .await
                    .inspect_err(|error| eprintln!("the agent ended: {error}"))
            }),
            stop,
        }
    }

    fn key(&self, instance: &Instance) -> String {
        let key = Key::Assignment(self.node.clone(), instance.clone());
        self.keys.of(&key)
    }

    async fn write(&self, write: Write) {
        self.store.commit(Txn::new().then(write)).await.unwrap();
    }

    async fn assign(&self, assignment: &Assignment) {
        let value = serde_json::to_vec(assignment).unwrap();
        self.write(Write::put(self.key(&assignment.instance), value))
            .await;
    }

    async fn get(&self, key: Key) -> Option<Entry> {
        self.store.get(&self.keys.of(&key)).await.unwrap()
    }

    async fn session(&self) -> Option<Session> {
        let entry = self.get(Key::Session(self.node.clone())).await?;
        Some(serde_json::from_slice(&entry.value).unwrap())
    }

    async fn state(&self, instance: &Instance) -> Option<InstanceState> {
        let key = Key::State(self.node.clone(), instance.clone());
        let entry = self.get(key).await?;
        Some(serde_json::from_slice(&entry.value).unwrap())
    }

    /// The state of an instance, once `condition` holds for it.
    async fn state_when(
        &self,
        instance: &Instance,
        what: &str,
        condition: impl Fn(&InstanceState) -> bool,
    ) -> InstanceState {
        let found = std::cell::RefCell::new(None);
        eventually_async(what, async || {
            let state = self.state(instance).await;
            let holds = state.as_ref().is_some_and(&condition);
            *found.borrow_mut() = state;
            holds
        })
        .await;
        found.into_inner().unwrap()
    }

    async fn ready(&self, instance: &Instance) -> InstanceState {
        self.state_when(instance, "it is ready", |state| state.ready)
            .await
    }

    async fn forgotten(&self, instance: &Instance) {
        eventually_async("its state is deleted", async || {
            self.state(instance).await.is_none()
        })
        .await;
    }
}

fn connect(etcd: &Etcd) -> Store {
    Store::new(store::Config::new([etcd.endpoint()]), Host::system()).unwrap()
}

fn instance(text: &str) -> Instance {
    text.parse().unwrap()
}

/// `/bin/sh -c script`, as `worker-0`.
fn script(script: &str) -> Assignment {
    command(&["/bin/sh", "-c", script])
}

fn command(command: &[&str]) -> Assignment {
    Assignment {
        instance: instance("worker-0"),
        desired: Desired::Present,
        generation: 1,
        revision: "r1".to_owned(),
        run: Run::Process(Template {
            command: command.iter().map(|text| (*text).to_owned()).collect(),
            ..Template::default()
        }),
        replaced: false,
        requests: Default::default(),
        ports: Vec::new(),
        service_names: Vec::new(),
        published: true,
        health: HealthSpec::default(),
        load: LoadSpec::default(),
        restart: Default::default(),
        recycle: None,
        recycle_turn: None,
        min_ready: Period::from_secs(0),
        pre_stop: None,
        resources: Default::default(),
        stop: StopSpec {
            grace: Period::from_secs(20),
            ..StopSpec::default()
        },
        tickets: None,
        on_agent_stop: OnAgentStop::Stop,
        adopt: false,
        on_partition: Default::default(),
        singleton: false,
        logs: Default::default(),
    }
}

/// Python's own web server, with an HTTP check. One that is late on a busy machine is no hung one.
fn web_server() -> Assignment {
    Assignment {
        ports: vec![AssignedPort {
            name: "http".parse().unwrap(),
            number: None,
            advertise: None,
        }],
        health: HealthSpec {
            http: Some(HttpCheck {
                port: None,
                path: "/".to_owned(),
            }),
            interval: Period::from_millis(200),
            timeout: Period::from_secs(20),
            failure_threshold: 2,
            ..HealthSpec::default()
        },
        ..command(&[
            "python3",
            "-m",
            "http.server",
            "--bind",
            "{host}",
            "{port.http}",
        ])
    }
}

/// Whether a process lives: it exists and is not merely waiting to be reaped.
fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

async fn gone(pid: u32) {
    eventually_async("the process is gone", async || !lives(pid)).await;
}

/// The number in a file, once it is written.
async fn number_in(path: &Path) -> u32 {
    let mut number = None;
    support::eventually("a number is written", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        number = text.trim().parse().ok();
        number.is_some()
    });
    number.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assigned_process_is_started_and_reported() {
    let world = World::new();
    let wanted = web_server();
    world.assign(&wanted).await;
    let agent = world.agent("a");
    let state = world.ready(&wanted.instance).await;
    assert!(lives(state.pid.unwrap()));
    assert_eq!(state.phase, Phase::Running);
    assert_eq!((state.restarts, state.reason.as_str()), (0, ""));
    assert_eq!(state.revision, "r1");
    assert_eq!(state.observed_generation, 1);
    let endpoint = Endpoint {
        host: "127.0.0.1".to_owned(),
        port: state.ports["http"],
    };
    assert_eq!(state.endpoint, Some(endpoint));
    eventually_async("the session says reconciled", async || {
        world.session().await.unwrap().reconciled
    })
    .await;
    // What is no part of the template changes without a new process.
    let changed = Assignment {
        generation: 2,
        ..wanted
    };
    world.assign(&changed).await;
    let after = world
        .state_when(&changed.instance, "the generation is observed", |state| {
            state.observed_generation == 2
        })
        .await;
    assert_eq!(after.pid, state.pid);
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_are_reported_in_few_transactions() {
    let world = World::new();
    let names: Vec<_> = (0..100)
        .map(|slot| instance(&format!("worker-{slot}")))
        .collect();
    for name in &names {
        let wanted = Assignment {
            instance: name.clone(),
            ..script("exec sleep 1000")
        };
        world.assign(&wanted).await;
    }
    let agent = world.agent("a");
    eventually_async("all are reconciled", async || {
        world.session().await.is_some_and(|it| it.reconciled)
    })
    .await;
    let states = world.store.list(&world.keys.states()).await.unwrap();
    assert_eq!(states.entries.len(), names.len());
    let transactions: BTreeSet<i64> = states.entries.iter().map(|it| it.mod_revision).collect();
    assert!(transactions.len() <= 25, "{} writes", transactions.len());
    agent.end().await;
    let left = world.store.list(&world.keys.states()).await.unwrap();
    assert_eq!(left.entries, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_starts_are_under_way_at_once_and_slow_ones_hold_up_nobody_for_long() {
    let world = World::new();
    let mut slow = script("exec sleep 1000");
    slow.ports = web_server().ports;
    slow.health.tcp = Some(PortCheck::default());
    for slot in 0..12 {
        slow.instance = instance(&format!("worker-{slot}"));
        world.assign(&slow).await;
    }
    let _agent = world.agent("a");
    let phases = async || {
        let states = world.store.list(&world.keys.states()).await.unwrap();
        let states = states.entries.into_iter().map(|entry| {
            let state: InstanceState = serde_json::from_slice(&entry.value).unwrap();
            (state.phase, state.reason)
        });
        states.collect::<Vec<_>>()
    };
    eventually_async("some start while the others wait", async || {
        let phases = phases().await;
        let count = |phase| phases.iter().filter(|(it, _)| *it == phase).count();
        (1..=8).contains(&count(Phase::Starting)) && count(Phase::Pending) >= 4
    })
    .await;
    eventually_async("all have been started", async || {
        let phases = phases().await;
        phases.iter().all(|(phase, _)| *phase == Phase::Starting)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_reported_within_a_second_with_its_path() {
    let world = World::new();
    let _agent = world.agent("a");
    // The soonest of several: a busy machine makes all of them later, and none of them sooner.
    let mut soonest = Duration::MAX;
    for slot in 0..20 {
        let wanted = Assignment {
            instance: instance(&format!("worker-{slot}")),
            ..command(&["/no/such/program"])
        };
        let assigned = Instant::now();
        world.assign(&wanted).await;
        let state = world
            .state_when(&wanted.instance, "the start fails", |state| {
                state.phase == Phase::StartFailed
            })
            .await;
        soonest = soonest.min(assigned.elapsed());
        assert_eq!(state.reason, "StartFailed");
        assert!(
            state.message.contains("`/no/such/program`: No such file"),
            "{}",
            state.message
        );
        assert!(!state.ready && state.pid.is_none() && state.next_start_at.is_some());
        if soonest < Duration::from_secs(1) {
            return;
        }
    }
    panic!("{soonest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let world = World::new();
    let _agent = world.agent("a");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = holder.local_addr().unwrap().port();
    let mut wanted = web_server();
    wanted.ports[0].number = Some(number);
    world.assign(&wanted).await;
    let state = world
        .state_when(&wanted.instance, "the start fails", |state| {
            state.phase == Phase::StartFailed
        })
        .await;
    assert_eq!(state.reason, "PortInUse");
    drop(holder);
    assert_eq!(world.ready(&wanted.instance).await.ports["http"], number);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_is_started_again_with_growing_pauses() {
    let world = World::new();
    let _agent = world.agent("a");
    let starts = world.path("starts");
    let wanted = script(&format!("date +%s%N >> {}; exit 3", starts.display()));
    world.assign(&wanted).await;
    let state = world
        .state_when(&wanted.instance, "it is a crash loop", |state| {
            state.phase == Phase::CrashLoop && state.restarts >= 3
        })
        .await;
    assert_eq!(state.reason, "CrashLoop");
    assert_eq!(state.last_exit.unwrap().code, Some(3));
    assert!(state.next_start_at.is_some() && !state.ready);
    let times: Vec<u64> = std::fs::read_to_string(starts)
        .unwrap()
        .lines()
        .map(|line| line.parse::<u64>().unwrap() / 1_000_000)
        .collect();
    // 100 ms, 200 ms, 400 ms, each up to a tenth shorter; a slow machine only makes them longer.
    for (pair, shortest) in times.windows(2).zip([90, 180, 360]) {
        assert!(pair[1] - pair[0] >= shortest, "{times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_last_attempt_an_instance_stays_down_until_a_new_revision() {
    let world = World::new();
    let _agent = world.agent("a");
    let starts = world.path("starts");
    let mut wanted = script(&format!("echo 1 >> {}; exit 3", starts.display()));
    wanted.restart.delay = Period::from_millis(1);
    wanted.restart.max_attempts = Some(4);
    world.assign(&wanted).await;
    let failed = async |revision: &str| {
        world
            .state_when(&wanted.instance, "it has failed", |state| {
                state.phase == Phase::Failed && state.revision == revision
            })
            .await
    };
    let state = failed("r1").await;
    assert_eq!(state.reason, "TooManyAttempts");
    assert!(state.message.contains("after 4 starts"), "{state:?}");
    assert_eq!((state.next_start_at, state.restarts), (None, 3));
    let again = Assignment {
        revision: "r2".to_owned(),
        ..wanted.clone()
    };
    world.assign(&again).await;
    failed("r2").await;
    assert_eq!(std::fs::read_to_string(starts).unwrap().lines().count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_reported_and_replaced_and_its_children_die_with_it() {
    let world = World::new();
    let _agent = world.agent("a");
    let child = world.path("child");
    let wanted = script(&format!("sleep 1000 & echo $! > {}; wait", child.display()));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    let grandchild = number_in(&child).await;
    let mut follow = world.store.follow(vec![world.keys.states()]);
    follow.next().await;
    support::signal(before.pid.unwrap(), "KILL");
    let killed = Instant::now();
    let update = follow.next().await;
    println!("reported {:?} after the kill", killed.elapsed());
    let store::Change::Put(entry) = &update.changes[0] else {
        panic!("{update:?}");
    };
    let state: InstanceState = serde_json::from_slice(&entry.value).unwrap();
    assert!(!state.ready, "{state:?}");
    gone(grandchild).await;
    let after = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.restarts == 1
        })
        .await;
    assert_ne!(after.pid, before.pid);
    assert_eq!(after.last_exit.unwrap().signal, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_process_is_unready_at_the_first_failure_and_restarted_at_the_threshold() {
    let world = World::new();
    let _agent = world.agent("a");
    let mut wanted = web_server();
    wanted.health.timeout = Period::from_secs(2);
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    support::signal(before.pid.unwrap(), "STOP");
    let unready = world
        .state_when(&wanted.instance, "it is not ready", |state| !state.ready)
        .await;
    assert_eq!(unready.reason, "Unhealthy");
    assert!(
        unready.message.contains("no answer within 2s"),
        "{unready:?}"
    );
    let after = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.restarts == 1
        })
        .await;
    assert_ne!(after.pid, before.pid);
    // It keeps its port while nobody else takes it.
    assert_eq!(after.ports, before.ports);
    assert!(!lives(before.pid.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_stops_even_what_ignores_the_signal_and_deletes_the_state() {
    let world = World::new();
    let _agent = world.agent("a");
    let up = world.path("up");
    let mut wanted = script(&format!(
        "trap '' TERM; echo 1 > {}; while :; do sleep 0.01; done",
        up.display()
    ));
    wanted.stop.grace = Period::from_millis(300);
    world.assign(&wanted).await;
    number_in(&up).await;
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    wanted.desired = Desired::Absent;
    let asked = Instant::now();
    world.assign(&wanted).await;
    world.forgotten(&wanted.instance).await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert!(!lives(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_revision_replaces_the_process_and_the_two_never_overlap() {
    let world = World::new();
    let _agent = world.agent("a");
    let lock = world.path("lock");
    let overlap = world.path("overlap");
    // Who has taken the lock is ready to be told to give it back.
    let text = format!(
        "trap 'sleep 0.2; rmdir {lock}; exit 0' TERM; mkdir {lock} || echo 1 > {overlap}; \
         while :; do sleep 0.01; done",
        lock = lock.display(),
        overlap = overlap.display()
    );
    let mut wanted = script(&text);
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    support::eventually("the lock is taken", || lock.exists());
    wanted.revision = "r2".to_owned();
    wanted.generation = 2;
    world.assign(&wanted).await;
    let after = world
        .state_when(&wanted.instance, "the new one is ready", |state| {
            state.ready && state.revision == "r2"
        })
        .await;
    assert_ne!(after.pid, before.pid);
    assert!(!lives(before.pid.unwrap()));
    support::eventually("the lock is taken", || lock.exists());
    assert!(!overlap.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_takes_everything_back() {
    let world = World::new();
    let agent = world.agent("a");
    let wanted = script("exec sleep 1000");
    world.assign(&wanted).await;
    let pid = world.ready(&wanted.instance).await.pid.unwrap();
    agent.end().await;
    assert!(!lives(pid));
    assert_eq!(world.state(&wanted.instance).await, None);
    assert_eq!(world.session().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_assignment_leaves_its_process_running_and_says_so() {
    let world = World::new();
    let _agent = world.agent("a");
    let wanted = script("exec sleep 1000");
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    world
        .write(Write::delete(world.key(&wanted.instance)))
        .await;
    let after = world
        .state_when(&wanted.instance, "it is an orphan", |state| {
            state.reason == "Orphaned"
        })
        .await;
    assert!(after.ready);
    assert_eq!(after.pid, before.pid);
    // It is adopted by an assignment that comes back.
    world.assign(&wanted).await;
    let again = world
        .state_when(&wanted.instance, "it is no orphan", |state| {
            state.reason.is_empty()
        })
        .await;
    assert_eq!(again.pid, before.pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_assignment_leaves_everything_as_it_is() {
    let world = World::new();
    let _agent = world.agent("a");
    let wanted = script("exec sleep 1000");
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    world
        .write(Write::put(world.key(&wanted.instance), "{ nonsense"))
        .await;
    // Another assignment is carried out after it, so the first has been seen.
    let other = Assignment {
        instance: instance("worker-1"),
        ..wanted.clone()
    };
    world.assign(&other).await;
    world.ready(&other.instance).await;
    assert_eq!(world.state(&wanted.instance).await, Some(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_stops_nothing_and_is_told_everything_when_it_is_back() {
    let mut world = World::new();
    let _agent = world.agent("a");
    let steady = script("exec sleep 1000");
    let starts = world.path("starts");
    let shaky = Assignment {
        instance: instance("shaky-0"),
        ..script(&format!("echo 1 >> {}; exec sleep 1000", starts.display()))
    };
    world.assign(&steady).await;
    world.assign(&shaky).await;
    let before = world.ready(&steady.instance).await;
    let victim = world.ready(&shaky.instance).await;
    let starts = || {
        let lines = std::fs::read_to_string(&starts).unwrap_or_default();
        lines.lines().count()
    };
    support::eventually("it has noted its first start", || starts() == 1);
    world.own_etcd().kill();
    // Restarts need no store.
    support::signal(victim.pid.unwrap(), "KILL");
    support::eventually("it is started again", || starts() == 2);
    world.own_etcd().restart();
    let after = world
        .state_when(&shaky.instance, "the restart is reported", |state| {
            state.ready && state.restarts == 1
        })
        .await;
    assert_ne!(after.pid, victim.pid);
    let steady = world.ready(&steady.instance).await;
    assert_eq!((steady.pid, steady.restarts), (before.pid, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_is_refused_by_name_and_by_directory() {
    let world = World::new();
    let first = world.agent("a");
    eventually_async("the session is there", async || {
        world.session().await.is_some()
    })
    .await;
    let mut same_directory = world.agent("a");
    let refused = (&mut same_directory.task).await.unwrap().unwrap_err();
    assert!(
        matches!(refused, agent::Error::DirectoryInUse(_)),
        "{refused}"
    );
    let mut same_name = world.agent("b");
    let refused = (&mut same_name.task).await.unwrap().unwrap_err();
    let uuid = world.session().await.unwrap().node_uuid;
    assert!(refused.to_string().contains(&uuid), "{refused}");
    first.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_agent_takes_its_live_session_over_at_once_and_adopts_its_processes() {
    let world = World::new();
    let first = world.agent("a");
    let wanted = script("exec sleep 1000");
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    let old = world.session().await.unwrap();
    // A state of something that is not assigned, as a crash would leave it.
    let ghost = instance("ghost-0");
    let key = Key::State(world.node.clone(), ghost.clone());
    let value = serde_json::to_vec(&InstanceState {
        instance: ghost.clone(),
        ..before.clone()
    });
    // As a crash: no farewell, the lease lives on.
    first.crash().await;
    world
        .write(Write::put(world.keys.of(&key), value.unwrap()))
        .await;
    let began = Instant::now();
    let _second = world.agent("a");
    let after = world
        .state_when(&wanted.instance, "it is confirmed", |state| {
            state.epoch > before.epoch
        })
        .await;
    let expected = InstanceState {
        epoch: after.epoch,
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "waited for the lease"
    );
    let new = world.session().await.unwrap();
    assert_ne!(new.uuid, old.uuid);
    assert_eq!(new.node_uuid, old.node_uuid);
    world.forgotten(&ghost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_is_begun_again_and_fences_what_is_written() {
    let world = World::new();
    let _agent = world.agent("a");
    let wanted = script("exec sleep 1000");
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    eventually_async("it is reconciled", async || {
        world.session().await.unwrap().reconciled
    })
    .await;
    let old = world.session().await.unwrap();
    let key = world.keys.of(&Key::Session(world.node.clone()));
    world.write(Write::delete(key)).await;
    // The next report is refused, which makes the agent look.
    support::signal(before.pid.unwrap(), "KILL");
    let after = world
        .state_when(&wanted.instance, "it runs again", |state| {
            state.ready && state.restarts == 1
        })
        .await;
    let new = world.session().await.unwrap();
    assert_ne!(new.uuid, old.uuid);
    assert!(new.reconciled);
    assert!(after.epoch > before.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_node_was_taken_goes_on_but_writes_nothing() {
    let world = World::new();
    let _agent = world.agent("a");
    let starts = world.path("starts");
    let wanted = script(&format!("echo 1 >> {}; exec sleep 1000", starts.display()));
    world.assign(&wanted).await;
    let before = world.ready(&wanted.instance).await;
    let stranger = Session {
        node_uuid: "f".repeat(32),
        ..world.session().await.unwrap()
    };
    let key = world.keys.of(&Key::Session(world.node.clone()));
    let value = serde_json::to_vec(&stranger).unwrap();
    world.write(Write::put(key.clone(), value)).await;
    support::signal(before.pid.unwrap(), "KILL");
    support::eventually("it is started again", || {
        std::fs::read_to_string(&starts).unwrap_or_default().len() >= 4
    });
    assert_eq!(world.state(&wanted.instance).await, Some(before));
    assert_eq!(world.session().await, Some(stranger));
    world.write(Write::delete(key)).await;
    world
        .state_when(&wanted.instance, "the restart is reported", |state| {
            state.ready && state.restarts == 1
        })
        .await;
}

/// Answers with a fixed load.
struct Loaded;

#[tonic::async_trait]
impl LoadReportingGrpc for Loaded {
    async fn report_load(
        &self,
        _: tonic::Request<LoadReportRequest>,
    ) -> Result<tonic::Response<LoadReportResponse>, tonic::Status> {
        Ok(tonic::Response::new(LoadReportResponse {
            timestamp_ticks: 0,
            known_load_rate: 0.25,
            server_stats: None,
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_endpoint_is_checked_and_its_load_reported_but_nothing_is_started() {
    let world = World::new();
    let _agent = world.agent("a");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reporter, health) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder()
        .add_service(health)
        .add_service(LoadReportingGrpcServer::new(Loaded))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    let _server = tokio::spawn(server);
    let wanted = Assignment {
        run: Run::External {
            host: "127.0.0.1".to_owned(),
            port,
        },
        health: HealthSpec {
            grpc: Some(PortCheck::default()),
            interval: Period::from_millis(200),
            ..HealthSpec::default()
        },
        load: LoadSpec {
            report_load: Some(PortCheck::default()),
            ..LoadSpec::default()
        },
        ..command(&[])
    };
    world.assign(&wanted).await;
    let state = world.ready(&wanted.instance).await;
    assert_eq!(state.pid, None);
    assert_eq!(state.endpoint.unwrap().port, port);
    eventually_async("its load is reported", async || {
        let Some(entry) = world.get(Key::Load(world.node.clone())).await else {
            return false;
        };
        let load: NodeLoad = serde_json::from_slice(&entry.value).unwrap();
        load.instances
            .get(&wanted.instance)
            .is_some_and(|report| report.known_rate == Some(0.25))
    })
    .await;
    reporter
        .set_service_status("", tonic_health::ServingStatus::NotServing)
        .await;
    let state = world
        .state_when(&wanted.instance, "it is unhealthy", |state| !state.ready)
        .await;
    assert_eq!((state.reason.as_str(), state.restarts), ("Unhealthy", 0));
    assert!(state.message.ends_with("NOT_SERVING"), "{}", state.message);
}
