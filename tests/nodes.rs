//! Several hosts of the real program on a real etcd: one is lost and comes back (`scripts/hosts`: with many instances),
//! one is drained, one is cordoned, and keys are deleted by hand; and who is `near` an asker.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run processes as they like"
)]

#[path = "nodes/near.rs"]
mod near;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use quaestor::{
    host::Host,
    keys::Keys,
    model::InstanceState,
    store::{self, Store},
};
use support::{
    balancer::Balancer,
    cluster::{QUAESTOR, kill_shims, lives},
    eventually,
    figures::{self, Bar},
    hosts::Hosts,
    number, signal,
};

/// How long a node has to be away here before it is lost; its session outlives it by 20 s.
const GRACE: Duration = Duration::from_secs(3);
const SESSION: Duration = Duration::from_secs(20);

/// Three hosts, and a controller that knows of that grace.
fn three() -> Hosts {
    Hosts::start(&["a", "b", "c"], &["--node-grace", "3s"])
}

fn follow(hosts: &Hosts, prefix: impl Fn(&Keys) -> String) -> store::Follow {
    let config = store::Config::new([hosts.etcd.endpoint()]);
    let store = Store::new(config, Host::system()).unwrap();
    store.follow(vec![prefix(&Keys::new(&"default".parse().unwrap()))])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_host_ran_is_replaced_and_its_return_disturbs_nobody() {
    // scripts/hosts asks for more.
    let each = number("QUAESTOR_TEST_LOST", 3);
    let mut hosts = three();
    hosts.apply("worker", 3 * each);
    let staying = |hosts: &Hosts| {
        let mut pids = hosts.pids("worker", Some("a"));
        pids.extend(hosts.pids("worker", Some("b")));
        pids.sort_unstable();
        pids
    };
    let (before, lost) = (staying(&hosts), hosts.pids("worker", Some("c")));
    assert_eq!(lost.len(), each);

    // Its processes live on: the host is cut off rather than dead.
    hosts.kill("c");
    let start = Instant::now();
    hosts.until("its session has ended", |hosts| {
        hosts.get("nodes")[2]["status"] != "Ready"
    });
    let ended = Instant::now();
    hosts.until("all replaced", |hosts| staying(hosts).len() == 3 * each);
    let (away, took) = (start.elapsed(), ended.elapsed());
    println!(
        "{each} instances replaced {took:.1?} after their node's session had ended, {away:.1?} after its agent"
    );
    let beyond = took.saturating_sub(GRACE).as_secs_f64();
    let name =
        format!("{each} instances of a lost host until they run elsewhere, beyond the grace");
    figures::bar(&name, beyond, "s", Bar::AtMost(5.0));
    if std::env::var_os("QUAESTOR_TEST_LOST").is_some() {
        // The bar. Other tests at the same time may make it longer.
        assert!(took < GRACE + Duration::from_secs(5), "{took:?}");
        assert!(away < SESSION + GRACE + Duration::from_secs(5), "{away:?}");
    }
    assert!(away > GRACE, "{away:?}");
    assert!(before.iter().all(|pid| staying(&hosts).contains(pid)));
    hosts.until("it is told to be lost", |hosts| {
        hosts.get("nodes")[2]["status"] == "Lost"
    });

    let settled = staying(&hosts);
    let mut assignments = follow(&hosts, Keys::assignments);
    assignments.next().await;
    hosts.agent("c");
    let back = Instant::now();
    hosts.until("the surplus is gone", |_| {
        lost.iter().all(|pid| !lives(*pid))
    });
    println!(
        "the surplus is gone {:.1?} after its return",
        back.elapsed()
    );
    hosts.until("the node is ready", |hosts| {
        hosts.get("nodes")[2]["status"] == "Ready"
    });
    assert_eq!(staying(&hosts), settled, "nobody else was touched");
    hosts.until("the rest is left", |hosts| {
        hosts.get("instances").len() == 3 * each
    });
    let restarts = hosts
        .get("instances")
        .into_iter()
        .map(|one| one["restarts"].clone());
    assert!(restarts.into_iter().all(|restarts| restarts == 0));
    // Each of the surplus was ended by one word and forgotten by another, and nobody else was told anything.
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    while told.values().filter(|count| **count == 2).count() < each {
        let update = tokio::time::timeout(support::PATIENCE, assignments.next());
        for change in update.await.expect("the surplus is forgotten").changes {
            *told.entry(change.key().to_owned()).or_default() += 1;
        }
    }
    assert!(
        told.len() == each && told.values().all(|count| *count == 2),
        "{told:#?}"
    );
    assert!(
        told.keys().all(|key| key.contains("/assign/c/")),
        "{told:#?}"
    );

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
    let hosts = three();
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
    let hosts = three();
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
    signal(hosts.pid("controller"), "TERM");
}

#[test]
fn a_store_that_lost_everything_is_told_again_what_runs_and_nobody_notices() {
    let mut hosts = three();
    hosts.apply("one", 4);
    let before = hosts.pids("one", None);
    let balancer = Balancer::start(&["--etcd", &hosts.etcd.endpoint()]);
    eventually("it answers", || balancer.places("one").len() == 4);
    let places = balancer.places("one");
    hosts.etcd.forget();
    hosts.until("all are orphans", |hosts| {
        assert_eq!(balancer.places("one"), places);
        let instances = hosts.get("instances");
        instances.len() == 4 && instances.iter().all(|one| one["reason"] == "Orphaned")
    });
    hosts.until("it waits for a word", |hosts| {
        (hosts.ok(&["cluster", "status"])).contains("cluster confirm restore")
    });
    hosts.ok(&["cluster", "confirm", "restore"]);
    hosts.apply("one", 4);
    assert_eq!(hosts.pids("one", None), before);
    assert_eq!(balancer.places("one"), places);
    hosts.ok(&["delete", "one", "--wait"]);
    eventually("they are gone", || balancer.places("one").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_processes_on_several_nodes_are_recycled_one_after_the_other() {
    let hosts = three();
    let manifest = "{apiVersion: quaestor/v1, kind: Service, metadata: {name: worker}, spec: {\
         replicas: 3, command: [sleep, '1000'], stop: {grace: 1s}, rollout: {maxUnavailable: 1}, \
         recycle: {every: 3s, jitter: 0%, when: always}}}";
    let file = hosts.manifest("old", manifest);
    hosts.ok(&["apply", "-f", &file, "--wait"]);
    let mut follow = follow(&hosts, Keys::states);
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
