//! Several hosts of the real program on a real etcd: each role is a process of its own.

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value as Json;

use super::{
    cluster::{QUAESTOR, kill_shims},
    etcd::Etcd,
    eventually, signal,
};

/// A controller, agents and whatever else is started, by name; all of it ends when dropped.
pub struct Hosts {
    pub etcd: Etcd,
    pub directory: tempfile::TempDir,
    nodes: Vec<String>,
    roles: Vec<(String, Child)>,
}

impl Hosts {
    /// Starts a controller with those flags, and an agent per node; waits until all are there.
    pub fn start(nodes: &[&str], flags: &[&str]) -> Self {
        let mut hosts = Self::empty();
        hosts.role("controller", &[&["controller"], flags].concat());
        nodes.iter().for_each(|node| hosts.agent(node));
        hosts.until_ready(nodes.len());
        hosts
    }

    /// An etcd, and nothing on it.
    pub fn empty() -> Self {
        Self {
            etcd: Etcd::start(),
            directory: tempfile::tempdir().unwrap(),
            nodes: Vec::new(),
            roles: Vec::new(),
        }
    }

    /// Waits until so many nodes are ready.
    #[track_caller]
    pub fn until_ready(&self, count: usize) {
        self.until("all nodes are ready", |hosts| {
            let nodes = hosts.get("nodes").into_iter();
            nodes.filter(|node| node["status"] == "Ready").count() == count
        });
    }

    /// Starts a role, to be known as `name`.
    pub fn role(&mut self, name: &str, arguments: &[&str]) {
        self.role_of(QUAESTOR, name, arguments);
    }

    /// The same with another build of the program.
    pub fn role_of(&mut self, program: &str, name: &str, arguments: &[&str]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let child = Command::new(program)
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.roles.push((name.to_owned(), child.unwrap()));
    }

    /// Starts the agent of a node.
    pub fn agent(&mut self, node: &str) {
        self.agent_of(QUAESTOR, node, &[]);
    }

    /// The same with another build of the program, or with more flags.
    pub fn agent_of(&mut self, program: &str, node: &str, more: &[&str]) {
        let state = self.state(node);
        let state = state.to_str().unwrap();
        if !self.nodes.iter().any(|known| known == node) {
            self.nodes.push(node.to_owned());
        }
        let flags = ["agent", "--node", node, "--state-dir", state];
        self.role_of(program, node, &[&flags, more].concat());
    }

    /// The state directory of a node's agent.
    pub fn state(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    /// The process id of a role.
    pub fn pid(&self, name: &str) -> u32 {
        let role = self.roles.iter().find(|(role, _)| role == name);
        role.unwrap().1.id()
    }

    /// Kills a role as a crash does.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.take(name);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends a role as its operator does; whether it ended well.
    pub fn stop(&mut self, name: &str) -> bool {
        let mut child = self.take(name);
        signal(child.id(), "TERM");
        child.wait().unwrap().success()
    }

    fn take(&mut self, name: &str) -> Child {
        let mut roles = self.roles.iter();
        let at = roles.position(|(role, _)| role == name).unwrap();
        self.roles.remove(at).1
    }

    /// Runs a command.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_of(QUAESTOR, arguments)
    }

    /// The same with another build of the program.
    pub fn run_of(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command, which must succeed; what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.ok_of(QUAESTOR, arguments)
    }

    /// The same with another build of the program.
    #[track_caller]
    pub fn ok_of(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run_of(program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a manifest to a file, whose name is returned.
    pub fn manifest(&self, name: &str, text: &str) -> String {
        let file = self.directory.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Applies a service of processes that only sleep, and waits for it.
    #[track_caller]
    pub fn apply(&self, service: &str, replicas: usize) {
        let manifest = format!(
            "{{apiVersion: quaestor/v1, kind: Service, metadata: {{name: {service}}}, spec: {{\
             replicas: {replicas}, command: [sleep, '1000'], ports: [{{name: any}}], \
             stop: {{grace: 1s}}}}}}"
        );
        let file = self.manifest(service, &manifest);
        self.ok(&["apply", "-f", &file, "--wait", "--timeout", "120s"]);
    }

    /// What `get -o json` prints; nothing while the store does not answer.
    pub fn get(&self, kind: &str) -> Vec<Json> {
        let output = self.run(&["get", kind, "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The pids of the ready instances of a service, on one node or on all, in their order.
    pub fn pids(&self, service: &str, node: Option<&str>) -> Vec<u32> {
        let instances = self.get("instances").into_iter();
        let mut pids: Vec<u32> = instances
            .filter(|one| one["service"] == service && one["ready"] == true)
            .filter(|one| node.is_none_or(|node| one["node"] == node))
            .filter_map(|one| u32::try_from(one["pid"].as_u64()?).ok())
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Waits until `holds`.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, || holds(self));
    }

    /// Runs etcdctl on the store.
    pub fn etcdctl(&self, arguments: &[&str]) {
        let etcdctl = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let output = Command::new(etcdctl)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.etcd.endpoint()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// What all roles logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        for (_, child) in &mut self.roles {
            let _ = child.kill();
            let _ = child.wait();
        }
        for node in &self.nodes {
            kill_shims(&self.state(node));
        }
    }
}
