//! `quaestor logs`, by the real program on real clusters.
//!
//! - one instance: both streams, `--tail`, `--since`, `--previous`, control characters, a closed pipe
//! - `-f`: later lines, and none lost while files are renamed
//! - a service: interleaved with prefixes
//! - agents as processes of their own: on another node, and away
//! - followed for long: [`following`]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "logs/following.rs"]
mod following;
mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use quaestor::process::shim::wire::log::{CURRENT, Line};
use support::{
    cluster::{Cluster, Kind, QUAESTOR},
    etcd::Etcd,
    eventually,
    ports::free_port,
    signal,
};

/// A service of `replicas` shells that run `script`, with `more` lines in its spec.
fn shells(replicas: u16, script: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: worker}}
spec:
  replicas: {replicas}
  command: [/bin/sh, -c, {script:?}]
{more}"#
    )
}

fn start(manifest: &str) -> Cluster {
    Cluster::start(Kind::Embedded, manifest)
}

/// Standard output of `quaestor logs`, once it says `awaited`.
#[track_caller]
fn logs(cluster: &Cluster, arguments: &[&str], awaited: &str) -> String {
    let mut out = String::new();
    eventually(&format!("logs {arguments:?} say {awaited}"), || {
        let output = cluster.run(&[&["logs"], arguments].concat());
        out = String::from_utf8(output.stdout).unwrap();
        out.contains(awaited)
    });
    out
}

/// What `quaestor logs` says when it fails.
#[track_caller]
fn refusal(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.run(&[&["logs"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A running `quaestor logs -f`; ended when dropped.
struct Follower {
    child: Child,
    /// None once nobody reads on.
    lines: Option<std::io::Lines<BufReader<std::process::ChildStdout>>>,
}

impl Follower {
    fn start(cluster: &Cluster, arguments: &[&str]) -> Self {
        Self::of(cluster.store(), arguments, Stdio::null())
    }

    /// Of the cluster in `store`; what it says beside goes to `aside`.
    fn of(store: &str, arguments: &[&str], aside: Stdio) -> Self {
        let mut child = Command::new(QUAESTOR)
            .args(["logs", "-f"])
            .args(arguments)
            .env("QUAESTOR_ETCD", store)
            .stdout(Stdio::piped())
            .stderr(aside)
            .spawn()
            .unwrap();
        let lines = Some(BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.as_mut().unwrap().next().unwrap().unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn both_streams_of_an_instance_come_out_in_order_and_apart() {
    let script =
        r"printf '\033[31mred\033[0m\n'; echo two; echo oops >&2; echo three; exec sleep 1000";
    let cluster = start(&shells(1, script, ""));
    assert_eq!(logs(&cluster, &["worker-0"], "three"), "red\ntwo\nthree\n");
    assert_eq!(logs(&cluster, &["worker"], "three"), "red\ntwo\nthree\n");
    // The two streams come by pipes of their own.
    let mut errors = String::new();
    eventually("the other stream is there", || {
        let output = cluster.run(&["logs", "worker-0"]);
        assert!(output.status.success());
        errors = String::from_utf8(output.stderr).unwrap();
        errors.contains("oops")
    });
    let errors: Vec<&str> = errors.lines().collect();
    assert!(errors[0].starts_with("[quaestor] started: "), "{errors:?}");
    assert_eq!(errors[1..], ["oops"]);

    // `oops` is one of the last two.
    assert_eq!(cluster.ok(&["logs", "worker-0", "--tail", "2"]), "three\n");
    assert_eq!(
        cluster.ok(&["logs", "worker-0", "--since", "1h"]),
        "red\ntwo\nthree\n"
    );
    assert_eq!(cluster.ok(&["logs", "worker-0", "--since", "0s"]), "");
}

#[test]
fn what_is_not_there_is_named_with_a_remedy() {
    let cluster = start(&shells(1, "echo hello; exec sleep 1000", ""));
    logs(&cluster, &["worker-0"], "hello");
    let said = refusal(&cluster, &["worker-1"]);
    assert!(
        said.contains("there is no service or instance worker-1; did you mean worker-0?"),
        "{said}"
    );
    let said = refusal(&cluster, &["worker-0", "--previous"]);
    assert!(said.contains("no process before the present one"), "{said}");
}

#[test]
fn the_previous_process_is_read_apart() {
    let script = "echo I am $$; exec sleep 1000";
    let cluster = start(&shells(1, script, "  restart: {delay: 10ms}\n"));
    let first = logs(&cluster, &["worker-0"], "I am");
    signal(cluster.await_ready("worker", 1)[0].pid.unwrap(), "KILL");
    let both = || cluster.ok(&["logs", "worker-0"]).lines().count() == 2;
    eventually("the second process speaks", both);
    assert_eq!(cluster.ok(&["logs", "worker-0", "--previous"]), first);
}

#[test]
fn a_follower_sees_later_lines_and_a_closed_pipe_is_no_failure() {
    let script = "n=0; while :; do echo line $n; n=$((n+1)); sleep 0.05; done";
    let cluster = start(&shells(1, script, ""));
    logs(&cluster, &["worker-0"], "line 1\n");
    let mut follower = Follower::start(&cluster, &["worker-0"]);
    for n in 0..30 {
        assert_eq!(follower.next(), format!("line {n}"));
    }
    drop(follower);

    let mut follower = Follower::start(&cluster, &["worker-0", "--tail", "0"]);
    let first = follower.next();
    assert!(first.starts_with("line "), "{first}");
    follower.lines = None;
    assert!(follower.child.wait().unwrap().success());
}

#[test]
fn a_follower_loses_no_line_while_files_are_renamed() {
    // A file holds some thousand of these lines.
    let script = "pad=$(printf %01000d 0); n=0; while [ $n -lt 3500 ]; do echo line $n $pad; \
                  n=$((n+1)); [ $((n % 50)) = 0 ] && sleep 0.02; done; exec sleep 1000";
    let kept = "  logs: {maxSize: 1MiB, maxFiles: 100}\n";
    let cluster = start(&shells(1, script, kept));
    logs(&cluster, &["worker-0"], "line 0 ");
    let mut follower = Follower::start(&cluster, &["worker-0"]);
    for n in 0..3500 {
        let line = follower.next();
        let expected = format!("line {n} ");
        assert!(line.starts_with(&expected), "{expected}: {line}");
    }
    let logs = cluster.state_directory().join("logs/worker-0");
    let renamed = logs.join("0000000003.log");
    assert!(renamed.exists(), "files were renamed meanwhile");
}

#[test]
fn the_instances_of_a_service_are_interleaved_by_time_with_their_names() {
    let script = "echo $QUAESTOR_INSTANCE begins; n=0; while [ $n -lt 5 ]; do \
                  echo at $(date +%s%N); n=$((n+1)); sleep 0.1; done; echo done; exec sleep 1000";
    let cluster = start(&shells(2, script, ""));
    for instance in ["worker-0", "worker-1"] {
        logs(&cluster, &[instance], "done");
    }
    let out = cluster.ok(&["logs", "worker"]);
    assert!(out.contains("worker-0 | worker-0 begins\n"), "{out}");
    assert!(out.contains("worker-1 | worker-1 begins\n"), "{out}");
    // When each line was read, which is what they are put in order by.
    let mut read = BTreeMap::new();
    for instance in ["worker-0", "worker-1"] {
        let log = cluster.state_directory().join("logs").join(instance);
        let log = std::fs::read(log.join(CURRENT)).unwrap();
        for line in log.split(|byte| *byte == b'\n').filter_map(Line::read) {
            let text = String::from_utf8_lossy(line.text).into_owned();
            read.insert(format!("{instance} | {text}"), line.at);
        }
    }
    let shown = out.lines().filter(|line| line.contains(" | at "));
    let times: Vec<u64> = shown.map(|line| read[line]).collect();
    assert_eq!(times.len(), 10, "{out}");
    assert!(times.is_sorted(), "{out}");
}

/// Roles as processes of their own; ended when dropped.
struct Roles {
    etcd: Etcd,
    directory: tempfile::TempDir,
    running: Vec<Child>,
}

impl Roles {
    fn new() -> Self {
        Self {
            etcd: Etcd::start(),
            directory: tempfile::tempdir().unwrap(),
            running: Vec::new(),
        }
    }

    /// Applies a manifest, and waits until it is so.
    fn apply(&self, manifest: &str) {
        let file = self.directory.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        let applied = self.run(&["apply", "-f", file.to_str().unwrap(), "--wait"]);
        assert!(applied.status.success(), "{applied:?}");
    }

    fn start(&mut self, arguments: &[&str]) -> u32 {
        let child = Command::new(QUAESTOR)
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running.push(child);
        self.running.last().unwrap().id()
    }

    fn agent(&mut self, node: &str, listen: &str) -> u32 {
        let state = self.directory.path().join(node);
        let state = state.to_str().unwrap().to_owned();
        let arguments = ["agent", "--node", node, "--listen", listen];
        self.start(&[&arguments[..], &["--state-dir", &state]].concat())
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .output()
            .unwrap()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        support::cluster::kill_shims(self.directory.path());
    }
}

#[test]
fn logs_come_from_every_node_and_one_whose_agent_is_away_is_named() {
    let mut roles = Roles::new();
    roles.start(&["controller"]);
    let address = format!("127.0.0.1:{}", free_port());
    let red = roles.agent("red", &address);
    roles.agent("blue", "127.0.0.1:0");
    let script = "echo here is $QUAESTOR_INSTANCE; exec sleep 1000";
    roles.apply(&shells(2, script, "").replace("replicas: 2", "onePerNode: true"));
    let both = || {
        let output = roles.run(&["logs", "worker"]);
        let out = String::from_utf8(output.stdout).unwrap();
        output.status.success() && out.matches("here is worker-").count() == 2
    };
    eventually("both nodes answer", both);
    let nodes = String::from_utf8(roles.run(&["get", "nodes", "-o", "json"]).stdout).unwrap();
    assert!(nodes.contains(&address), "{nodes}");

    signal(red, "KILL");
    let mut said = String::new();
    eventually("the agent that is away is named", || {
        let output = roles.run(&["logs", "worker"]);
        said = String::from_utf8(output.stderr).unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        // The other one answers all the same.
        output.status.code() == Some(1) && out.matches("here is worker-").count() == 1
    });
    assert!(said.contains("on node red: nobody answers at"), "{said}");
}
