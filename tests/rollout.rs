//! Rollouts on the real program and real processes.
//!
//! - templates that do not work are taken back: `all_templates_...`
//! - the leader dies in the middle: `a_leader_that_is_killed_...`
//! - from the command line: `a_rollout_is_...`
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    time::Duration,
};

use quaestor::{
    host::Host,
    keys::Keys,
    store::{self, Change, Store},
};
use serde_json::Value;
use support::{
    cluster::{Cluster, Kind, QUAESTOR, demo_workers, demo_workers_at},
    etcd::Etcd,
    eventually,
    figures::{self, Bar},
    number,
    ports::{free_port, free_range},
};

fn service(cluster: &Cluster) -> Value {
    let services = cluster.services();
    services
        .into_iter()
        .find(|it| it["name"] == "worker")
        .unwrap()
}

fn condition(service: &Value, r#type: &str) -> (String, String) {
    let text = |field: &str| told(service, r#type, field);
    (text("status"), text("reason"))
}

/// A field of a condition.
fn told(service: &Value, r#type: &str, field: &str) -> String {
    let conditions = service["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == r#type);
    let text = found.map_or("", |it| it[field].as_str().unwrap());
    text.to_owned()
}

#[test]
fn all_templates_that_do_not_work_are_taken_back_and_the_others_go_on() {
    // scripts/rollouts asks for more.
    let bad = number("QUAESTOR_TEST_BAD", 3);
    // Without `minReady`, one that is ready for a moment before it ends would count, as in Kubernetes.
    const ROLLOUT: &str =
        "  rollout: {minReady: 500ms, progressDeadline: 2s, autoRollback: true}\n";
    let good = demo_workers(3, ROLLOUT);
    let cluster = Cluster::start(Kind::Embedded, &good);
    let before = cluster.await_ready("worker", 3);
    eventually("it is complete", || {
        condition(&service(&cluster), "Progressing").1 == "Complete"
    });
    // Of the last one that was taken back: which it was.
    let mut last = String::new();
    for attempt in 0..bad {
        let bad = good.replace(
            "demo-worker,",
            &format!("demo-worker, --exit-after, {}ms,", 1 + attempt),
        );
        std::fs::write(cluster.manifests(), &bad).unwrap();
        eventually("it is rolled back", || {
            let now = cluster.instances();
            let serving = now.iter().filter(|it| it.ready).count();
            assert!(serving >= 2, "{now:?}");
            let service = service(&cluster);
            let message = told(&service, "Progressing", "message");
            let is_back = condition(&service, "Progressing").1 == "RolledBack" && message != last;
            if is_back {
                last = message;
            }
            is_back
        });
        let waited = cluster.run(&["rollout", "status", "worker"]);
        let words = String::from_utf8_lossy(&waited.stderr).into_owned();
        assert!(!waited.status.success(), "{words}");
        assert!(words.contains("no progress within 2s"), "{words}");
        let after = cluster.await_ready("worker", 3);
        let revisions = |all: &[support::cluster::Instance]| -> Vec<String> {
            all.iter().map(|it| it.revision.clone()).collect()
        };
        assert_eq!(revisions(&after), revisions(&before));
        // Two of three were never touched.
        assert_eq!((after[1].pid, after[2].pid), (before[1].pid, before[2].pid));
    }
    println!("{bad} of {bad} were taken back");
    let name = format!("updates that do not work and are taken back, of {bad}");
    figures::bar(&name, bad as f64, "", Bar::AtLeast(bad as f64));
}

#[test]
fn a_rollout_is_held_resumed_undone_and_scaled_from_the_command_line() {
    let first = demo_workers(2, "");
    let cluster = Cluster::start(Kind::Embedded, &first);
    let before = cluster.await_ready("worker", 2);
    cluster.ok(&["rollout", "status", "worker"]);
    cluster.ok(&["rollout", "pause", "worker"]);
    let second = first.replace("demo-worker,", "demo-worker, --capacity, \"7\",");
    std::fs::write(cluster.manifests(), &second).unwrap();
    eventually("it is paused", || {
        condition(&service(&cluster), "Progressing") == ("Unknown".into(), "Paused".into())
    });
    assert_eq!(cluster.await_ready("worker", 2), before);
    cluster.ok(&["rollout", "resume", "worker"]);
    cluster.ok(&["rollout", "status", "worker"]);
    let after = cluster.await_ready("worker", 2);
    assert_ne!(after[0].revision, before[0].revision);
    let history = cluster.ok(&["rollout", "history", "worker"]);
    assert_eq!(history.lines().count(), 3, "{history}");
    let history = cluster.ok(&["rollout", "history", "worker", "-o", "json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history[0]["revision"], *before[0].revision, "{history}");
    assert_eq!(
        (&history[0]["inForce"], &history[1]["inForce"]),
        (&false.into(), &true.into())
    );
    assert_eq!(history[1]["spec"]["replicas"], 2, "{history}");
    cluster.ok(&["rollout", "undo", "worker", "--wait"]);
    let undone = cluster.await_ready("worker", 2);
    assert_eq!(undone[0].revision, before[0].revision);
    cluster.ok(&["scale", "worker", "--replicas", "1", "--wait"]);
    eventually("one is left", || cluster.instances().len() == 1);
    cluster.ok(&["wait", "--for=condition=available", "worker"]);
    for (nonsense, words) in [
        (
            &["scale", "worker", "--replicas", "9"][..],
            "9 replicas need 9 ports",
        ),
        (
            &["rollout", "undo", "worker", "--to-revision", "99"],
            "no revision 99",
        ),
        (
            &["rollout", "undo", "nobody"],
            "there is no service `nobody`",
        ),
        (
            &["wait", "--for=condition=Nice", "worker"],
            "there is no condition `Nice`",
        ),
        (&["rollout", "pause"], "required"),
    ] {
        let refused = cluster.run(nonsense);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{said}");
    }
}

/// A role as a process of its own, killed when dropped.
struct Role(Child);

impl Role {
    fn start(etcd: &Etcd, arguments: &[&str]) -> Self {
        let mut command = Command::new(QUAESTOR);
        command.args(arguments).args(["--etcd", &etcd.endpoint()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_in_a_rollout_leaves_it_within_its_budget_and_nothing_is_written_twice()
 {
    const REPLICAS: u16 = 5;
    let etcd = Etcd::start();
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("agent");
    let balancer = format!("127.0.0.1:{}", free_port());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(QUAESTOR);
        command.args(arguments).args(["--etcd", &etcd.endpoint()]);
        command.output().unwrap()
    };
    let picked = || {
        let asked = ["pick", "Worker", "-n", "99", "--balancer", &balancer];
        let answer = Command::new(QUAESTOR).args(asked).output().unwrap();
        String::from_utf8(answer.stdout).unwrap().lines().count()
    };
    let leader = Role::start(&etcd, &["controller"]);
    let _agent = Role::start(
        &etcd,
        &[
            "agent",
            "--node",
            "a",
            "--state-dir",
            state.to_str().unwrap(),
        ],
    );
    let _balancer = Role::start(&etcd, &["balancer", "--listen", &balancer]);
    let (first, last) = free_range(REPLICAS);
    let range = format!("range: {first}-{last}");
    let rollout = "  onAgentStop: stop\n  rollout: {minReady: 1s}\n";
    let manifest = demo_workers_at(REPLICAS, &range, rollout);
    let file = directory.path().join("m.yaml");
    std::fs::write(&file, &manifest).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let applied = run(&["apply", "-f", &file, "--wait"]);
    assert!(applied.status.success(), "{applied:?}");
    eventually("all are answered", || picked() == usize::from(REPLICAS));
    let _heir = Role::start(&etcd, &["controller"]);

    let store = Store::new(store::Config::new([etcd.endpoint()]), Host::system()).unwrap();
    let keys = Keys::new(&"default".parse().unwrap());
    let mut follow = store.follow(vec![keys.assignments()]);
    follow.next().await;
    let changed = manifest.replace("demo-worker,", "demo-worker, --capacity, \"7\",");
    std::fs::write(&file, &changed).unwrap();
    assert!(run(&["apply", "-f", &file]).status.success());
    let mut writes: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    let mut leader = Some(leader);
    let mut fewest = usize::MAX;
    while writes.len() < usize::from(REPLICAS) {
        let update = tokio::time::timeout(Duration::from_millis(50), follow.next()).await;
        for change in update.map(|update| update.changes).unwrap_or_default() {
            let Change::Put(entry) = change else {
                panic!("{change:?}");
            };
            writes
                .entry(entry.key)
                .or_default()
                .insert(entry.mod_revision);
        }
        if writes.len() == 2 {
            // Dropped: killed with SIGKILL.
            leader.take();
        }
        fewest = fewest.min(picked());
    }
    assert!(leader.is_none());
    let done = run(&["rollout", "status", "worker"]);
    assert!(done.status.success(), "{done:?}");
    assert!(
        fewest >= usize::from(REPLICAS) - 1,
        "{fewest} were answered"
    );
    assert!(
        writes.values().all(|writes| writes.len() == 1),
        "{writes:?}"
    );
    run(&["delete", "worker", "--wait"]);
}
