//! The roles as processes of their own on one etcd, as they run on servers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use support::{
    cluster::{Instance, QUAESTOR, demo_workers, kill_shims, lives},
    etcd::Etcd,
    eventually,
    ports::free_port,
    python, signal,
};

/// An etcd, and roles that end with it.
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

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a role; its log goes to a file of that name.
    fn start(&mut self, name: &str, arguments: &[&str]) -> u32 {
        self.start_of(Path::new(QUAESTOR), name, arguments)
    }

    /// The same with another program.
    fn start_of(&mut self, program: &Path, name: &str, arguments: &[&str]) -> u32 {
        let log = std::fs::File::create(self.directory().join(format!("{name}.log"))).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push(child);
        self.running.last().unwrap().id()
    }

    fn start_agent(&mut self, node: &str, label: &str) -> u32 {
        self.start_agent_of(Path::new(QUAESTOR), node, label)
    }

    fn start_agent_of(&mut self, program: &Path, node: &str, label: &str) -> u32 {
        let state = self.directory().join(node);
        let state = state.to_str().unwrap().to_owned();
        let arguments = [
            "agent",
            "--node",
            node,
            "--label",
            label,
            "--state-dir",
            &state,
        ];
        self.start_of(program, node, &arguments)
    }

    fn quaestor(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .output()
            .unwrap()
    }

    fn apply(&self, manifest: &str) {
        let file = self.directory().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        let output = self.quaestor(&[
            "apply",
            "-f",
            file.to_str().unwrap(),
            "--wait",
            "--timeout",
            "1m",
        ]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn instances(&self) -> Vec<Instance> {
        let output = self.quaestor(&["get", "instances", "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Waits for the end of a role that was asked to end; whether it ended well.
    fn wait(&mut self, pid: u32) -> bool {
        let place = self
            .running
            .iter()
            .position(|child| child.id() == pid)
            .unwrap();
        self.running.remove(place).wait().unwrap().success()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What agents leave to the next ends too: there is none.
        kill_shims(self.directory());
    }
}

#[test]
fn a_service_runs_only_where_its_selector_says_and_a_second_controller_takes_over() {
    let mut roles = Roles::new();
    let first = roles.start("controller-1", &["controller"]);
    eventually("the first controller leads", || {
        roles.log("controller-1").contains("leading")
    });
    roles.start("controller-2", &["controller"]);
    roles.start_agent("red", "pool=red");
    roles.start_agent("blue", "pool=blue");
    let balancer = format!("127.0.0.1:{}", free_port());
    roles.start("balancer", &["balancer", "--listen", &balancer]);

    roles.apply(&demo_workers(
        2,
        "  placement: {nodeSelector: {pool: blue}}\n",
    ));
    let instances = roles.instances();
    assert_eq!(instances.len(), 2);
    assert!(
        instances
            .iter()
            .all(|instance| instance.node == "blue" && instance.ready)
    );
    eventually("both are answered", || {
        python::top(&balancer, "Worker", 0).len() == 2
    });

    // The leader ends; the next one carries out what comes then.
    signal(first, "TERM");
    assert!(roles.wait(first), "{}", roles.log("controller-1"));
    roles.apply(&demo_workers(3, ""));
    let instances = roles.instances();
    assert!(
        instances.iter().any(|instance| instance.node == "red"),
        "{instances:?}"
    );
}

#[test]
fn a_second_agent_of_a_node_is_refused_with_the_reason() {
    let mut roles = Roles::new();
    roles.start_agent("host", "a=b");
    eventually("the node is there", || {
        let output = roles.quaestor(&["get", "nodes", "-o", "json"]);
        String::from_utf8_lossy(&output.stdout).contains("\"host\"")
    });
    let other = roles.directory().join("other");
    let output = roles.quaestor(&[
        "agent",
        "--node",
        "host",
        "--state-dir",
        other.to_str().unwrap(),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        errors.contains("host") && errors.contains("already has an agent"),
        "{errors}"
    );
}

#[test]
fn workers_live_on_through_the_end_a_crash_and_an_upgrade_of_their_agent() {
    let mut roles = Roles::new();
    roles.start("controller", &["controller"]);
    let mut agent = roles.start_agent("host", "a=b");
    roles.apply(&demo_workers(2, ""));
    let balancer = format!("127.0.0.1:{}", free_port());
    roles.start("balancer", &["balancer", "--listen", &balancer]);
    let before = roles.instances();
    // The program is replaced: another file, at another place.
    let upgraded = roles.directory().join("bin");
    std::fs::create_dir(&upgraded).unwrap();
    for name in ["quaestor", "quaestor-shim"] {
        let old = Path::new(QUAESTOR).with_file_name(name);
        std::fs::hard_link(&old, upgraded.join(name))
            .or_else(|_| std::fs::copy(&old, upgraded.join(name)).map(drop))
            .unwrap();
    }
    for signal_name in ["TERM", "KILL", "TERM"] {
        signal(agent, signal_name);
        roles.wait(agent);
        assert!(before.iter().all(|it| lives(it.pid.unwrap())));
        agent = match signal_name {
            "KILL" => roles.start_agent_of(&upgraded.join("quaestor"), "host", "a=b"),
            _ => roles.start_agent("host", "a=b"),
        };
        eventually("the agent has begun its session", || {
            roles.log("host").contains("the session has begun")
        });
        assert_eq!(roles.instances(), before, "after {signal_name}");
    }
    eventually("both are answered", || {
        python::top(&balancer, "Worker", 0).len() == 2
    });
}

#[test]
fn an_agent_that_is_told_to_end_stops_its_workers_and_takes_its_leave() {
    let mut roles = Roles::new();
    roles.start("controller", &["controller"]);
    let agent = roles.start_agent("host", "a=b");
    roles.apply(&demo_workers(2, "  onAgentStop: stop\n"));
    let pids: Vec<u32> = roles
        .instances()
        .iter()
        .filter_map(|instance| instance.pid)
        .collect();
    assert_eq!(pids.len(), 2);
    signal(agent, "TERM");
    assert!(roles.wait(agent), "{}", roles.log("host"));
    assert!(pids.iter().all(|pid| !lives(*pid)));
    eventually("the node is not ready any more", || {
        let output = roles.quaestor(&["get", "nodes", "-o", "json"]);
        String::from_utf8_lossy(&output.stdout).contains("Unknown")
    });
}

#[test]
fn a_signal_that_arrives_twice_at_once_ends_a_role_as_one_does() {
    let mut roles = Roles::new();
    roles.start("controller", &["controller"]);
    let agent = roles.start_agent("host", "a=b");
    // It takes a while to end, so that a hasty end would be seen.
    roles.apply(
        &demo_workers(1, "  stop: {grace: 1s}\n")
            .replace("demo-worker,", "demo-worker, --ignore-stop,"),
    );
    signal(agent, "INT");
    signal(agent, "TERM");
    assert!(roles.wait(agent), "{}", roles.log("host"));
}
