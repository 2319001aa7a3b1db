//! Problems staged for real, on a real etcd: `quaestor why` names the true cause of each.
//!
//! What `why` answers to states that are hard to stage is tested beside it, with all answers kept in `tests/why`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::net::TcpListener;

use etcd_client::{AlarmAction, AlarmType, Client};
use serde_json::Value;
use support::{
    cluster::{Cluster, Kind},
    eventually,
    ports::free_port,
};

/// The reasons at the ends of the chains.
fn roots(cause: &Value) -> Vec<String> {
    match cause["because"].as_array() {
        Some(because) if !because.is_empty() => because.iter().flat_map(roots).collect(),
        _ => vec![cause["reason"].as_str().unwrap_or_default().to_owned()],
    }
}

/// What `why` says of `name`, as its reasons and as JSON; nothing while it has no answer.
fn ask(cluster: &Cluster, name: &str) -> (Vec<String>, String) {
    let output = cluster.run(&["why", name, "-o", "json"]);
    let causes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (causes.iter().flat_map(roots).collect(), text)
}

/// Waits until the reason is among the true causes of `name`'s state, and the words in what is said.
#[track_caller]
fn tells(cluster: &Cluster, name: &str, reason: &str, words: &[&str]) {
    let mut last = (Vec::new(), String::new());
    let what = format!("{name} is so because of {reason}");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(&what, || {
            last = ask(cluster, name);
            last.0.iter().any(|root| root == reason)
                && words.iter().all(|word| last.1.contains(word))
        });
    }));
    assert!(
        result.is_ok(),
        "{what} {words:?}, but it is said:\n{}",
        last.1
    );
}

/// A service with these lines in its spec.
fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
    )
}

#[test]
fn the_true_cause_of_each_staged_problem_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let deaf = free_port();
    let sleep = "  command: [/bin/sleep, \"1000\"]";
    let never = "0".repeat(64);
    let manifests = [
        service("fine", sleep),
        service(
            "taken",
            &format!("{sleep}\n  ports: [{{name: main, port: {port}}}]"),
        ),
        service(
            "picky",
            &format!("{sleep}\n  placement: {{nodeSelector: {{gpu: \"yes\"}}}}"),
        ),
        service("absent", "  command: [/no/such/program]"),
        service(
            "homeless",
            &format!("{sleep}\n  workingDirectory: /no/such/directory"),
        ),
        service("stranger", &format!("{sleep}\n  user: nobody-of-that-name")),
        service("crasher", "  command: [/bin/sh, -c, \"exit 3\"]"),
        service(
            "deaf",
            &format!(
                "{sleep}\n  ports: [{{name: main, port: {deaf}}}]\n  health: {{tcp: {{}}, interval: 1s, timeout: 1s, \
                 startupGrace: 1s, failureThreshold: 1}}"
            ),
        ),
        service("follower", &format!("{sleep}\n  after: [deaf]")),
        service("huge", &format!("{sleep}\n  requests: {{memory: 900TiB}}")),
        service(
            "forged",
            &format!("{sleep}\n  artifact: {{file: /bin/sleep, sha256: \"{never}\"}}"),
        ),
    ];
    let mut cluster = Cluster::start(Kind::Etcd, &manifests.concat());
    tells(&cluster, "fine", "Ready", &[]);
    tells(&cluster, "taken", "PortInUse", &[&port.to_string()]);
    tells(
        &cluster,
        "picky",
        "LabelMissing",
        &["gpu=yes", "quaestor label"],
    );
    tells(&cluster, "absent", "NoProgram", &["/no/such/program"]);
    tells(
        &cluster,
        "homeless",
        "NoWorkingDirectory",
        &["/no/such/directory"],
    );
    tells(&cluster, "stranger", "NoSuchUser", &["nobody-of-that-name"]);
    tells(&cluster, "crasher", "Exited", &["code 3", "quaestor logs"]);
    tells(&cluster, "deaf", "Check", &["TCP check"]);
    tells(
        &cluster,
        "follower-0",
        "Check",
        &["waits until deaf", "TCP check"],
    );
    tells(&cluster, "huge", "NoCapacity", &["900TiB requested"]);
    tells(&cluster, "forged", "ArtifactFailed", &["sha256"]);

    // A rollout that is paused, and one of which nothing more is to be taken away.
    cluster.ok(&["rollout", "pause", "fine"]);
    cluster.apply(&service("fine", "  command: [/bin/sleep, \"1001\"]"), &[]);
    tells(&cluster, "fine", "Paused", &["rollout resume fine"]);

    let nodes: Vec<Value> =
        serde_json::from_str(&cluster.ok(&["get", "nodes", "-o", "json"])).unwrap();
    let node = nodes[0]["name"].as_str().unwrap();
    let not = cluster.ok(&["why-not", "picky", node]);
    assert!(not.contains("gpu=yes is selected"), "{not}");
    assert!(
        !not.contains('\u{1b}'),
        "colours without a terminal: {not:?}"
    );
    assert!(not.lines().all(|line| line.chars().count() <= 80), "{not}");

    cluster.ok(&["drain", node, "--timeout", "0s", "--as", "ada@night"]);
    tells(
        &cluster,
        &format!("node/{node}"),
        "Stuck",
        &["by ada@night"],
    );
    tells(&cluster, "picky", "Drained", &["uncordon"]);

    // Agent and controller go at once.
    cluster.crash();
    tells(
        &cluster,
        "cluster",
        "NoController",
        &["quaestor controller"],
    );
    tells(
        &cluster,
        &format!("node/{node}"),
        "NoController",
        &["its agent is not connected"],
    );
    alarm(&cluster);
    tells(&cluster, "cluster", "StoreFull", &["etcdctl alarm disarm"]);
    let doctor = cluster.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    for word in [
        "alarm:NOSPACE",
        "no controller leads",
        "etcdctl alarm disarm",
    ] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    support::cluster::kill_shims(&cluster.state_directory());
}

/// The store raises its alarm NOSPACE, as it does when its quota is used up.
fn alarm(cluster: &Cluster) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut client = Client::connect([cluster.store()], None).await.unwrap();
        let raised = client.alarm(AlarmAction::Activate, AlarmType::Nospace, None);
        raised.await.unwrap();
    });
}
