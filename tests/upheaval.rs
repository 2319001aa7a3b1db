//! The bar for agents that are killed: 100 workloads, the agent killed twenty times at random moments while
//! they start, stop and crash. No restart that nobody asked for, none that runs twice, every exit code known,
//! and in the end no process that nobody owns.
//!
//! `cargo test --test upheaval -- --ignored --nocapture` prints the figures.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts and kills programs as it likes"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use quaestor::{
    host::{Entropy as _, Host, OsEntropy},
    keys::{Key, Keys},
    model::{Assignment, InstanceState, Name},
    store::{self, Store, Txn, Write},
};
use support::{
    cluster::{QUAESTOR, kill_shims, shims},
    etcd::Etcd,
    eventually_async,
    figures::{self, Bar},
};

/// Workloads that only run; that crash by themselves; that are replaced; that are stopped.
const STEADY: u32 = 40;
const CRASHING: u32 = 20;
const REPLACED: u32 = 20;
const STOPPED: u32 = 20;

const KILLS: u32 = 20;

struct World {
    etcd: Etcd,
    store: Store,
    keys: Keys,
    node: Name,
    directory: tempfile::TempDir,
    agent: Option<Child>,
}

impl World {
    fn new() -> Self {
        let etcd = Etcd::start();
        let config = store::Config::new([etcd.endpoint()]);
        Self {
            store: Store::new(config, Host::system()).unwrap(),
            etcd,
            keys: Keys::new(&"default".parse().unwrap()),
            node: "n1".parse().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            agent: None,
        }
    }

    /// A file to which a workload adds a line: of every start (`starts`), and of every end (`ends`).
    fn file(&self, instance: &str, name: &str) -> PathBuf {
        self.directory.path().join(format!("{instance}.{name}"))
    }

    fn start_agent(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("agent.log"));
        let child = Command::new(QUAESTOR)
            .args(["agent", "--node", "n1", "--state-dir"])
            .arg(self.directory.path().join("state"))
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.agent = Some(child.unwrap());
    }

    fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Runs `body` as an instance. It notes its start, and that another one lived at the time.
    async fn assign(&self, name: &str, revision: &str, desired: &str, body: &str) {
        let (starts, lock) = (self.file(name, "starts"), self.file(name, "lock"));
        let (starts, lock) = (starts.display(), lock.display());
        let text = format!(
            "exec 9>{lock}; flock -n 9 || echo DOUBLE >> {starts}; echo $$ >> {starts}; {body}"
        );
        let assignment = serde_json::json!({
            "instance": name, "desired": desired, "generation": 1, "revision": revision,
            "run": {"process": {"command": ["/bin/bash", "-c", text]}},
            "restart": {"delay": "50ms", "maxDelay": "400ms"},
            "stop": {"grace": "5s"},
        });
        let assignment: Assignment = serde_json::from_value(assignment).unwrap();
        let key = Key::Assignment(self.node.clone(), assignment.instance.clone());
        let value = serde_json::to_vec(&assignment).unwrap();
        let write = Write::put(self.keys.of(&key), value);
        self.store.commit(Txn::new().then(write)).await.unwrap();
    }

    async fn states(&self) -> BTreeMap<String, InstanceState> {
        let listing = self.store.list(&self.keys.states()).await.unwrap();
        let states = listing.entries.iter().map(|entry| {
            let state: InstanceState = serde_json::from_slice(&entry.value).unwrap();
            (state.instance.to_string(), state)
        });
        states.collect()
    }

    fn lines(&self, instance: &str, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(instance, name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything that runs out of the directory of this test.
    fn processes(&self) -> Vec<u32> {
        let mark = self.directory.path().to_str().unwrap().as_bytes().to_vec();
        let pids = fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let read = |file| fs::read(Path::new("/proc").join(pid.to_string()).join(file));
            let line = read("cmdline").unwrap_or_default();
            line.windows(mark.len()).any(|part| part == mark) && line.starts_with(b"/bin/bash")
        };
        pids.filter(is_ours).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        kill_shims(self.directory.path());
    }
}

/// Ends with a random code after up to a second; says which first.
fn crashing(world: &World, name: &str) -> String {
    let ends = world.file(name, "ends");
    format!(
        "code=$((RANDOM % 200 + 1)); sleep 0.$((RANDOM % 9 + 1)) 9>&-; \
         echo $code >> {}; exit $code",
        ends.display()
    )
}

/// The exit codes of an instance that agents have told, in order.
fn told(log: &str, instance: &str) -> Vec<String> {
    let mark = format!("instance={instance} ");
    let codes = log.lines().filter(|line| line.contains(&mark));
    let codes = codes.filter_map(|line| line.split_once("exited with code ")?.1.split('"').next());
    codes.map(str::to_owned).collect()
}

/// Whether every planned end was told, in order. An agent that is killed before it has written an end down leaves
/// it to the next one, so one may be told twice; and there are ends after the plan was read.
fn agree(planned: &[String], told: &[String]) -> bool {
    let mut told = told.iter().peekable();
    let mut before = None;
    for code in planned {
        while told.peek() != Some(&code) && told.peek() == before.as_ref() && before.is_some() {
            told.next();
        }
        if told.next() != Some(code) {
            return false;
        }
        before = Some(code);
    }
    true
}

const STEADILY: &str = "while :; do sleep 1000 9>&- & wait $!; done";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the bar, which takes a minute"]
async fn an_agent_that_is_killed_over_and_over_loses_and_doubles_nothing() {
    let mut world = World::new();
    let name = |kind: &str, slot: u32| format!("{kind}-{slot}");
    world.start_agent();
    for slot in 0..STEADY {
        world
            .assign(&name("steady", slot), "r0", "present", STEADILY)
            .await;
    }
    for slot in 0..CRASHING {
        let name = name("crashing", slot);
        world
            .assign(&name, "r0", "present", &crashing(&world, &name))
            .await;
    }
    for slot in 0..REPLACED {
        world
            .assign(&name("replaced", slot), "r0", "present", STEADILY)
            .await;
    }
    for slot in 0..STOPPED {
        world
            .assign(&name("stopped", slot), "r0", "present", STEADILY)
            .await;
    }
    let began = Instant::now();
    for kill in 0..KILLS {
        let pause = Duration::from_secs_f64(2.0 * OsEntropy.fraction());
        // One of each kind changes while the agent lives, is killed, or is away.
        world
            .assign(
                &name("replaced", kill % REPLACED),
                "r1",
                "present",
                STEADILY,
            )
            .await;
        tokio::time::sleep(pause / 2).await;
        world
            .assign(&name("stopped", kill % STOPPED), "r0", "absent", STEADILY)
            .await;
        tokio::time::sleep(pause / 2).await;
        world.kill_agent();
        tokio::time::sleep(Duration::from_secs_f64(OsEntropy.fraction())).await;
        world.start_agent();
    }
    let upheaval = began.elapsed();
    eventually_async("everything is as it is to be", async || {
        let states = world.states().await;
        let good = |kind: &str, count, revision: &str| {
            let good = (0..count).filter(|slot| {
                let state = states.get(&name(kind, *slot));
                state.is_some_and(|state| state.ready && state.revision == revision)
            });
            good.count() == count as usize
        };
        let stopped = states.keys().filter(|name| name.starts_with("stopped"));
        good("steady", STEADY, "r0") && good("replaced", REPLACED, "r1") && stopped.count() == 0
    })
    .await;

    let (mut doubled, mut unasked, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut check = |instance: String, most: usize| {
        let starts = world.lines(&instance, "starts");
        doubled.extend(
            starts
                .iter()
                .filter(|line| *line == "DOUBLE")
                .map(|_| instance.clone()),
        );
        if starts.len() > most {
            unasked.push(format!("{instance}: {} starts", starts.len()));
        }
    };
    (0..STEADY).for_each(|slot| check(name("steady", slot), 1));
    (0..REPLACED).for_each(|slot| check(name("replaced", slot), 2));
    (0..STOPPED).for_each(|slot| check(name("stopped", slot), 1));
    let mut planned = BTreeMap::new();
    for slot in 0..CRASHING {
        let instance = name("crashing", slot);
        check(instance.clone(), usize::MAX);
        planned.insert(instance.clone(), world.lines(&instance, "ends"));
        let body = crashing(&world, &instance);
        world.assign(&instance, "r0", "absent", &body).await;
    }
    for (kind, count) in [("steady", STEADY), ("replaced", REPLACED)] {
        for slot in 0..count {
            world
                .assign(&name(kind, slot), "r1", "absent", STEADILY)
                .await;
        }
    }
    eventually_async("everything has ended", async || {
        world.states().await.is_empty()
    })
    .await;
    let left = world.processes();
    let shims = shims(world.directory.path());
    let log = fs::read_to_string(world.directory.path().join("agent.log")).unwrap();
    for (instance, planned) in &planned {
        let told = told(&log, instance);
        if !agree(planned, &told) {
            lost.push(format!("{instance}: planned {planned:?}, told {told:?}"));
        }
    }
    let ends: usize = planned.values().map(Vec::len).sum();
    let unknown = log.matches("nobody knows how").count();
    println!(
        "{KILLS} kills in {upheaval:.1?}, {ends} crashes of workloads: {} doubled, {} restarts not asked \
         for, {} exits unknown, the codes of {} told wrong, {} processes and {} shims left",
        doubled.len(),
        unasked.len(),
        unknown,
        lost.len(),
        left.len(),
        shims.len()
    );
    let wrong = doubled.len() + unasked.len() + unknown + lost.len() + left.len() + shims.len();
    let name = format!(
        "doubled, unasked, unknown or left behind, of {ends} crashes and {KILLS} kills of the agent"
    );
    figures::bar(&name, wrong as f64, "", Bar::AtMost(0.0));
    assert!(doubled.is_empty(), "{doubled:?}");
    assert!(unasked.is_empty(), "{unasked:?}");
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(unknown, 0);
    assert!(left.is_empty() && shims.is_empty(), "{left:?} {shims:?}");
}
