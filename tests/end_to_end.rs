//! The whole main job, by the real program, on both stores, as a user sees it.
//!
//! - from a manifest to a placement and back: `a_service_goes_from_yaml_to_placements_and_back`
//! - a changed template: `a_changed_template_replaces_one_instance_after_the_other`
//! - what goes wrong: hung workers, a killed store, a killed cluster, a missing program
//! - what is not ours: a web server nobody here wrote, an external endpoint
//! - status as an interface: `readiness_can_be_followed_in_etcd_alone`
//! - `dev`: files that change, an end that leaves nothing
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    cluster::{Cluster, Kind, demo_workers, demo_workers_at, lives},
    eventually,
    ports::free_range,
    python, signal,
};

fn endpoints(cluster: &Cluster) -> BTreeSet<u16> {
    python::top(cluster.balancer(), "Worker", 0)
        .into_iter()
        .map(|(_, port)| port)
        .collect()
}

fn from_yaml_to_placements_and_back(kind: Kind) {
    // It stays away for long enough to be missed.
    let manifest = demo_workers(4, "  restart: {delay: 5s}\n");
    let cluster = Cluster::start(kind, &manifest);
    let ready = cluster.await_ready("worker", 4);

    // All four are found by a stock client, and at the ports that the manifest gave them.
    let ports: BTreeSet<u16> = ready
        .iter()
        .map(|instance| instance.ports["grpc"])
        .collect();
    assert_eq!(ports.len(), 4);
    eventually("all four answered", || endpoints(&cluster) == ports);
    let random = python::discover(cluster.balancer(), "Worker", 0);
    assert_eq!(random.len(), 4);
    assert_eq!(
        python::discover(cluster.balancer(), "worker", 0),
        [],
        "another name is another service"
    );
    assert_eq!(
        python::health(cluster.balancer(), "ServiceDiscoveryGrpc"),
        "SERVING"
    );
    let picked = cluster.ok(&["pick", "Worker", "-n", "2"]);
    assert_eq!(picked.lines().count(), 2, "{picked}");

    // A killed worker leaves the answers and comes back on its port, under another pid.
    let victim = ready[0].clone();
    signal(victim.pid.unwrap(), "KILL");
    eventually("the killed one is answered no more", || {
        !endpoints(&cluster).contains(&victim.ports["grpc"])
    });
    eventually("the killed one is answered again", || {
        endpoints(&cluster) == ports
    });
    let back = cluster.instance(&victim.name);
    assert_ne!(back.pid, victim.pid);
    assert_eq!((back.ports, back.restarts), (victim.ports, 1));

    // Applying the same again changes nothing.
    assert!(
        cluster
            .apply(&manifest, &[])
            .contains("service/worker unchanged (generation 1)")
    );

    // Deleted: no process, no endpoint, and in the store only that it was deleted.
    let pids: Vec<u32> = cluster
        .instances()
        .iter()
        .filter_map(|instance| instance.pid)
        .collect();
    assert_eq!(pids.len(), 4);
    cluster.ok(&["delete", "worker", "--wait"]);
    assert!(pids.iter().all(|pid| !lives(*pid)));
    assert_eq!(cluster.instances(), []);
    assert_eq!(cluster.services(), Vec::<Value>::new());
    eventually("no more answers", || endpoints(&cluster).is_empty());
    let rest: Vec<String> = cluster
        .keys()
        .into_iter()
        .filter(|key| key.contains("worker"))
        .collect();
    assert_eq!(rest, ["/quaestor/default/spec/deleted/worker"]);
}

#[test]
fn a_service_goes_from_yaml_to_placements_and_back_on_the_embedded_store() {
    from_yaml_to_placements_and_back(Kind::Embedded);
}

#[test]
fn a_service_goes_from_yaml_to_placements_and_back_on_etcd() {
    from_yaml_to_placements_and_back(Kind::Etcd);
}

fn a_changed_template_is_rolled_out(kind: Kind) {
    let (first, last) = free_range(3);
    let range = format!("range: {first}-{last}");
    let cluster = Cluster::start(kind, &demo_workers_at(3, &range, ""));
    let before = cluster.await_ready("worker", 3);
    let changed = demo_workers_at(3, &range, "  env: {COLOUR: blue}\n");
    cluster.apply(&changed, &[]);

    // Whenever one looks, at most one is missing; in the end all are others.
    let old: BTreeSet<u32> = before.iter().filter_map(|instance| instance.pid).collect();
    eventually("all replaced and ready", || {
        let instances = cluster.instances();
        let ready = instances.iter().filter(|instance| instance.ready).count();
        assert!(
            ready >= 2,
            "more than one at a time is missing: {instances:?}"
        );
        ready == 3
            && instances
                .iter()
                .all(|instance| !old.contains(&instance.pid.unwrap()))
    });
    cluster.apply(&changed, &["--wait", "--timeout", "1m"]);
    let service = &cluster.services()[0];
    assert_eq!(
        (&service["generation"], &service["observedGeneration"]),
        (&2.into(), &2.into())
    );

    // What needs no new process restarts none.
    let pids = |cluster: &Cluster| -> Vec<Option<u32>> {
        cluster
            .instances()
            .into_iter()
            .map(|instance| instance.pid)
            .collect()
    };
    let running = pids(&cluster);
    let slower = changed.replace("interval: 1s, timeout", "interval: 2s, timeout");
    assert_ne!(slower, changed);
    cluster.apply(&slower, &["--wait", "--timeout", "1m"]);
    assert_eq!(pids(&cluster), running);
}

#[test]
fn a_changed_template_replaces_one_instance_after_the_other_on_the_embedded_store() {
    a_changed_template_is_rolled_out(Kind::Embedded);
}

#[test]
fn a_changed_template_replaces_one_instance_after_the_other_on_etcd() {
    a_changed_template_is_rolled_out(Kind::Etcd);
}

#[test]
fn a_hung_worker_leaves_the_answers_at_its_first_failed_check_and_is_restarted_at_the_threshold() {
    let impatient = demo_workers(2, "").replace("timeout: 20s", "timeout: 1s");
    let cluster = Cluster::start(Kind::Etcd, &impatient);
    let hung = cluster.await_ready("worker", 2)[0].clone();
    eventually("both are answered", || endpoints(&cluster).len() == 2);
    signal(hung.pid.unwrap(), "STOP");
    eventually("the hung one is answered no more", || {
        !endpoints(&cluster).contains(&hung.ports["grpc"])
    });
    let now = cluster.instance(&hung.name);
    assert_eq!(
        (now.pid, now.ready),
        (hung.pid, false),
        "unready first, restarted later: {now:?}"
    );
    eventually("it was restarted", || endpoints(&cluster).len() == 2);
    let back = cluster.instance(&hung.name);
    assert_ne!(back.pid, hung.pid);
    assert!(!lives(hung.pid.unwrap()));
}

#[test]
fn a_killed_store_stops_no_worker_and_no_answer() {
    let mut cluster = Cluster::start(Kind::Etcd, &demo_workers(2, ""));
    let before = cluster.await_ready("worker", 2);
    eventually("both are answered", || endpoints(&cluster).len() == 2);
    cluster.etcd.as_mut().unwrap().kill();

    // Long enough for every session to have missed a keep-alive.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        assert_eq!(
            endpoints(&cluster).len(),
            2,
            "the balancer answers throughout"
        );
    }
    // What happens meanwhile is put right at once: agents need no store for that.
    let victim = before[0].pid.unwrap();
    signal(victim, "KILL");
    eventually("the killed one has ended", || !lives(victim));

    cluster.etcd.as_mut().unwrap().restart();
    eventually("both are ready, one of them another", || {
        let now = cluster.instances();
        now.len() == 2
            && now.iter().all(|instance| instance.ready)
            && now[0].pid != before[0].pid
            && now[1].pid == before[1].pid
    });
    cluster.ok(&[
        "apply",
        "-f",
        cluster.manifests().to_str().unwrap(),
        "--wait",
        "--timeout",
        "1m",
    ]);
}

#[test]
fn readiness_can_be_followed_in_etcd_alone() {
    for kind in [Kind::Embedded, Kind::Etcd] {
        let cluster = Cluster::start(kind, &demo_workers(2, ""));
        cluster.await_ready("worker", 2);
        let etcdctl = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let mut watch = Command::new(etcdctl)
            .env("ETCDCTL_API", "3")
            .args([
                "--endpoints",
                cluster.store(),
                "watch",
                "--prefix",
                "/quaestor/default/status/",
            ])
            .args(["--rev", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let is_ready = |line: &String| {
            let Ok(status) = serde_json::from_str::<Value>(line) else {
                return false;
            };
            let ready = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            status["name"] == "worker"
                && status["observedGeneration"] == 1
                && status["ready"] == 2
                && ready
        };
        assert!(lines.map_while(Result::ok).any(|line| is_ready(&line)));
        watch.kill().unwrap();
        watch.wait().unwrap();
    }
}

#[test]
fn software_nobody_here_wrote_runs_with_an_http_check() {
    let manifest = r#"
apiVersion: quaestor/v1
kind: Service
metadata: {name: files}
spec:
  command: [python3, -m, http.server, --bind, "{host}", "{port}"]
  ports: [{name: http}]
  health: {http: {path: /}, interval: 1s}
"#;
    let cluster = Cluster::start(Kind::Embedded, manifest);
    let ready = cluster.await_ready("files", 1);
    // What is in the store reaches the balancer a moment later.
    let mut picked = String::new();
    eventually("it is answered", || {
        picked = String::from_utf8(cluster.run(&["pick", "files"]).stdout).unwrap();
        !picked.is_empty()
    });
    assert_eq!(
        picked.trim(),
        format!("127.0.0.1:{}", ready[0].ports["http"])
    );
    let answer = std::net::TcpStream::connect(picked.trim());
    assert!(answer.is_ok(), "the web server listens at {picked}");
}

#[test]
fn a_balancer_that_runs_as_a_service_finds_its_cluster() {
    let (port, _) = free_range(1);
    let balancer = format!(
        r#"---
apiVersion: quaestor/v1
kind: Service
metadata: {{name: balancer}}
spec:
  onePerNode: true
  command: ["{{quaestor}}", balancer, --listen, "{{host}}:{{port}}"]
  ports: [{{name: grpc, port: {port}}}]
  health: {{grpc: {{}}, interval: 1s}}
  published: false
"#
    );
    let cluster = Cluster::start(Kind::Embedded, &(demo_workers(2, "") + &balancer));
    cluster.await_ready("balancer", 1);
    let address = format!("127.0.0.1:{port}");
    eventually("it answers with the workers", || {
        python::top(&address, "Worker", 0).len() == 2
    });
    assert_eq!(
        python::top(&address, "balancer", 0),
        [],
        "it is not published"
    );
}

#[test]
fn an_external_endpoint_is_served_while_it_is_healthy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let manifest = format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: licences}}
spec:
  external: ["127.0.0.1:{port}"]
  health: {{tcp: {{}}, interval: 100ms, timeout: 1s}}
"#
    );
    let cluster = Cluster::start(Kind::Embedded, &manifest);
    let answer = || python::top(cluster.balancer(), "licences", 0);
    eventually("it is answered", || {
        answer() == [("127.0.0.1".to_owned(), port)]
    });
    drop(listener);
    eventually("it is answered no more", || answer().is_empty());
}

#[test]
fn a_missing_program_is_a_failed_start_with_its_path() {
    let manifest = r#"
apiVersion: quaestor/v1
kind: Service
metadata: {name: ghost}
spec: {command: [/no/such/program]}
"#;
    let cluster = Cluster::start(Kind::Embedded, manifest);
    eventually("the failed start is shown", || {
        cluster.instances().iter().any(|instance| {
            instance.phase.as_deref() == Some("StartFailed")
                && instance.message.contains("/no/such/program")
        })
    });
    let output = cluster.run(&[
        "apply",
        "-f",
        cluster.manifests().to_str().unwrap(),
        "--wait",
        "--timeout",
        "1s",
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        errors.contains("not ready within 1s") && errors.contains("/no/such/program"),
        "{errors}"
    );
}

#[test]
fn a_port_that_others_hold_is_waited_for_and_counts_as_no_restart() {
    let (port, _) = free_range(1);
    let held = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let attempts = "  restart: {maxAttempts: 1}\n";
    let manifest = demo_workers_at(1, &format!("port: {port}"), attempts);
    let cluster = Cluster::start(Kind::Embedded, &manifest);
    eventually("the taken port is named", || {
        let instances = cluster.instances();
        let reason = instances.first().map(|instance| instance.reason.as_str());
        reason == Some("PortInUse")
    });
    drop(held);
    let ready = &cluster.await_ready("worker", 1)[0];
    assert_eq!(ready.restarts, 0);
}

#[test]
fn dev_applies_its_files_again_when_they_change() {
    let (first, last) = free_range(3);
    let range = format!("range: {first}-{last}");
    let cluster = Cluster::start(Kind::Embedded, &demo_workers_at(1, &range, ""));
    cluster.await_ready("worker", 1);
    std::fs::write(cluster.manifests(), demo_workers_at(3, &range, "")).unwrap();
    cluster.await_ready("worker", 3);

    // A file with mistakes changes nothing.
    std::fs::write(
        cluster.manifests(),
        "apiVersion: quaestor/v1\nkind: Nonsense\n",
    )
    .unwrap();
    eventually("the mistake is named", || {
        cluster.log().contains("Nonsense")
    });
    assert_eq!(
        cluster
            .instances()
            .iter()
            .filter(|instance| instance.ready)
            .count(),
        3
    );
}

#[test]
fn an_ended_dev_leaves_no_process() {
    let mut cluster = Cluster::start(Kind::Embedded, &demo_workers(2, ""));
    let pids: Vec<u32> = cluster
        .await_ready("worker", 2)
        .iter()
        .filter_map(|found| found.pid)
        .collect();
    assert!(cluster.stop(), "Ctrl-C is a good end: {}", cluster.log());
    assert!(pids.iter().all(|pid| !lives(*pid)));
}

#[test]
fn workers_end_with_a_killed_agent() {
    let mut cluster = Cluster::start(Kind::Embedded, &demo_workers(2, ""));
    let pids: Vec<u32> = cluster
        .await_ready("worker", 2)
        .iter()
        .filter_map(|found| found.pid)
        .collect();
    cluster.crash();
    eventually("all workers have ended", || {
        pids.iter().all(|pid| !lives(*pid))
    });
}
