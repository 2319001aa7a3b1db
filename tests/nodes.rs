//! Several hosts of the real program on a real etcd: one is lost and comes back, one is drained, one is
//! cordoned, and keys are deleted by hand.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run processes as they like"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use quaestor::{
    host::Host,
    keys::Keys,
    model::InstanceState,
    store::{self, Store},
};
use serde_json::Value as Json;
use support::{
    cluster::{QUAESTOR, kill_shims, lives},
    etcd::Etcd,
    eventually, signal,
};

/// How long a node has to be away here before it is lost; its session outlives it by 20 s.
const GRACE: Duration = Duration::from_secs(3);
const SESSION: Duration = Duration::from_secs(20);

/// A controller and three agents, each with a state directory of its own.
struct Hosts {
    etcd: Etcd,
    directory: tempfile::TempDir,
    roles: Vec<(String, Child)>,
}

impl Hosts {
    fn start() -> Self {
        let mut hosts = Self {
            etcd: Etcd::start(),
            directory: tempfile::tempdir().unwrap(),
            roles: Vec::new(),
        };
        hosts.role("controller", &["controller", "--node-grace", "3s"]);
        for node in ["a", "b", "c"] {
            hosts.agent(node);
        }
        hosts.until("three nodes", |hosts| {
            hosts
                .get("nodes")
                .iter()
                .filter(|node| node["status"] == "Ready")
                .count()
                == 3
        });
        hosts
    }

    fn role(&mut self, name: &str, arguments: &[&str]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let child = Command::new(QUAESTOR)
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.roles.push((name.to_owned(), child.unwrap()));
    }

    fn agent(&mut self, node: &str) {
        let state = self.state(node);
        let state = state.to_str().unwrap();
        self.role(node, &["agent", "--node", node, "--state-dir", state]);
    }

    fn state(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    /// Kills the role as a crash does.
    fn kill(&mut self, name: &str) {
        let at = self
            .roles
            .iter()
            .position(|(role, _)| role == name)
            .unwrap();
        let (_, mut child) = self.roles.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint());
        command.stdin(Stdio::null()).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn apply(&self, service: &str, replicas: u32) {
        let file = self.directory.path().join(format!("{service}.yaml"));
        let manifest = format!(
            "{{apiVersion: quaestor/v1, kind: Service, metadata: {{name: {service}}}, spec: {{\
             replicas: {replicas}, command: [sleep, '1000'], stop: {{grace: 1s}}}}}}"
        );
        std::fs::write(&file, manifest).unwrap();
        self.ok(&[
            "apply",
            "-f",
            file.to_str().unwrap(),
            "--wait",
            "--timeout",
            "60s",
        ]);
    }

    fn get(&self, kind: &str) -> Vec<Json> {
        let output = self.run(&["get", kind, "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The pids of the ready instances of a service, on one node or on all, in their order.
    fn pids(&self, service: &str, node: Option<&str>) -> Vec<u32> {
        let instances = self.get("instances").into_iter();
        let mut pids: Vec<u32> = instances
            .filter(|one| one["service"] == service && one["ready"] == true)
            .filter(|one| node.is_none_or(|node| one["node"] == node))
            .filter_map(|one| u32::try_from(one["pid"].as_u64()?).ok())
            .collect();
        pids.sort_unstable();
        pids
    }

    #[track_caller]
    fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, || holds(self));
    }

    fn etcdctl(&self, arguments: &[&str]) {
        let etcdctl = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let output = Command::new(etcdctl)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.etcd.endpoint()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            eprintln!("{}", log.unwrap_or_default());
        }
        for (_, child) in &mut self.roles {
            let _ = child.kill();
            let _ = child.wait();
        }
        for node in ["a", "b", "c"] {
            kill_shims(&self.state(node));
        }
    }
}

#[test]
fn what_a_lost_host_ran_is_replaced_and_its_return_disturbs_nobody() {
    let mut hosts = Hosts::start();
    hosts.apply("worker", 9);
    let staying = |hosts: &Hosts| {
        let mut pids = hosts.pids("worker", Some("a"));
        pids.extend(hosts.pids("worker", Some("b")));
        pids.sort_unstable();
        pids
    };
    let (before, lost) = (staying(&hosts), hosts.pids("worker", Some("c")));
    assert_eq!(lost.len(), 3);

    // Its processes live on: the host is cut off rather than dead.
    hosts.kill("c");
    let start = Instant::now();
    hosts.until("all replaced", |hosts| staying(hosts).len() == 9);
    let took = start.elapsed();
    assert!(took < SESSION + GRACE + Duration::from_secs(5), "{took:?}");
    assert!(took > GRACE, "{took:?}");
    assert!(before.iter().all(|pid| staying(&hosts).contains(pid)));
    let node = &hosts.get("nodes")[2];
    assert_eq!(node["status"], "Lost", "{node}");

    let settled = staying(&hosts);
    hosts.agent("c");
    hosts.until("the surplus is gone", |_| {
        lost.iter().all(|pid| !lives(*pid))
    });
    hosts.until("the node is ready", |hosts| {
        hosts.get("nodes")[2]["status"] == "Ready"
    });
    assert_eq!(staying(&hosts), settled, "nobody else was touched");
    hosts.until("nine are left", |hosts| hosts.get("instances").len() == 9);
    let restarts = hosts
        .get("instances")
        .into_iter()
        .map(|one| one["restarts"].clone());
    assert!(restarts.into_iter().all(|restarts| restarts == 0));

    // What is gone for good is forgotten on an operator's word, not before.
    let refused = hosts.run(&["delete", "node", "c"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is connected"));
    hosts.kill("c");
    kill_shims(&hosts.state("c"));
    hosts.until("away", |hosts| hosts.get("nodes")[2]["status"] != "Ready");
    hosts.ok(&["delete", "node", "c"]);
    hosts.until("forgotten", |hosts| hosts.get("nodes").len() == 2);
}

#[test]
fn a_drained_node_is_left_one_by_one_and_a_cordoned_one_gets_nothing_new() {
    let hosts = Hosts::start();
    hosts.apply("worker", 6);
    let on = |hosts: &Hosts, node: &str| hosts.pids("worker", Some(node)).len();
    assert_eq!(on(&hosts, "a"), 2);
    assert_eq!(hosts.ok(&["cordon", "b"]), "node/b cordoned\n");
    assert_eq!(hosts.ok(&["cordon", "b"]), "node/b unchanged\n");

    let mut draining = Command::new(QUAESTOR)
        .args(["drain", "a", "--timeout", "60s"])
        .env("QUAESTOR_ETCD", hosts.etcd.endpoint())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut fewest = usize::MAX;
    hosts.until("drained", |hosts| {
        fewest = fewest.min(hosts.pids("worker", None).len());
        draining.try_wait().unwrap().is_some()
    });
    assert!(draining.wait().unwrap().success());
    assert!(fewest >= 6, "{fewest} of 6 were ready");
    assert_eq!(
        (on(&hosts, "a"), on(&hosts, "b"), on(&hosts, "c")),
        (0, 2, 4)
    );
    let shown = hosts.ok(&["get", "nodes"]);
    assert!(
        shown.contains("Ready,Drained") && shown.contains("Ready,Cordoned"),
        "{shown}"
    );

    hosts.ok(&["uncordon", "a", "b"]);
    hosts.ok(&["label", "a", "disk=ssd"]);
    assert_eq!(hosts.get("nodes")[0]["labels"]["disk"], "ssd");
    assert_eq!(on(&hosts, "c"), 4, "what runs stays where it is");
    let unknown = hosts.run(&["drain", "nobody"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no node `nobody`"));
}

#[test]
fn manifests_and_assignments_deleted_by_hand_stop_nothing() {
    let hosts = Hosts::start();
    for service in ["one", "two", "three"] {
        hosts.apply(service, 1);
    }
    let pids = |hosts: &Hosts| -> Vec<u32> {
        let services = ["one", "two", "three"].into_iter();
        services
            .flat_map(|service| hosts.pids(service, None))
            .collect()
    };
    let before = pids(&hosts);
    hosts.etcdctl(&["del", "--prefix", "/quaestor/default/assign/"]);
    hosts.until("assigned again", |hosts| {
        let instances = hosts.get("instances");
        instances.len() == 3 && instances.iter().all(|one| one["desired"] == "present")
    });
    assert_eq!(pids(&hosts), before);
    hosts.etcdctl(&["del", "--prefix", "/quaestor/default/spec/"]);
    hosts.until("it is told", |hosts| {
        let status = hosts.ok(&["cluster", "status"]);
        status.contains("one, three, two") && status.contains("cluster confirm vanished")
    });
    assert_eq!(pids(&hosts), before);
    hosts.ok(&["cluster", "confirm", "vanished"]);
    hosts.until("they end", |_| before.iter().all(|pid| !lives(*pid)));
    let nothing = hosts.run(&["cluster", "confirm", "restore"]);
    assert!(!nothing.status.success());
    signal(hosts.roles[0].1.id(), "TERM");
}

#[test]
fn a_store_that_lost_everything_is_told_again_what_runs_and_goes_on_with_it() {
    let mut hosts = Hosts::start();
    hosts.apply("one", 4);
    let before = hosts.pids("one", None);
    hosts.etcd.forget();
    hosts.until("all are orphans", |hosts| {
        let instances = hosts.get("instances");
        instances.len() == 4 && instances.iter().all(|one| one["reason"] == "Orphaned")
    });
    hosts.until("it waits for a word", |hosts| {
        (hosts.ok(&["cluster", "status"])).contains("cluster confirm restore")
    });
    hosts.ok(&["cluster", "confirm", "restore"]);
    hosts.apply("one", 4);
    assert_eq!(hosts.pids("one", None), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_processes_on_several_nodes_are_recycled_one_after_the_other() {
    let hosts = Hosts::start();
    let manifest = "{apiVersion: quaestor/v1, kind: Service, metadata: {name: worker}, spec: {\
         replicas: 3, command: [sleep, '1000'], stop: {grace: 1s}, rollout: {maxUnavailable: 1}, \
         recycle: {every: 3s, jitter: 0%, when: always}}}";
    let file = hosts.directory.path().join("old.yaml");
    std::fs::write(&file, manifest).unwrap();
    hosts.ok(&["apply", "-f", file.to_str().unwrap(), "--wait"]);
    let config = store::Config::new([hosts.etcd.endpoint()]);
    let store = Store::new(config, Host::system()).unwrap();
    let keys = Keys::new(&"default".parse().unwrap());
    let mut follow = store.follow(vec![keys.states()]);
    let mut states: BTreeMap<String, InstanceState> = BTreeMap::new();
    let mut nodes = BTreeSet::new();
    let deadline = Instant::now() + support::PATIENCE;
    // All are old at the same moment, again and again.
    while states.len() < 3 || states.values().any(|state| state.restarts < 3) {
        let update = tokio::time::timeout_at(deadline.into(), follow.next());
        for change in update.await.expect("all are recycled").changes {
            let store::Change::Put(entry) = change else {
                panic!("{change:?}");
            };
            let state: InstanceState = serde_json::from_slice(&entry.value).unwrap();
            nodes.insert(state.node.clone());
            states.insert(entry.key, state);
            let away = states.values().filter(|state| !state.ready).count();
            assert!(away <= 1, "{states:#?}");
        }
    }
    assert_eq!(nodes.len(), 3);
}
