//! A cluster of real processes: three hosts with a member of the store and an agent each, controllers on hosts of their
//! own, and a balancer outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    time::Duration,
};

use serde_json::Value as Json;

use crate::{
    members::Members,
    network::{CONTROLLERS, HOSTS, Host, Network, OUTSIDE, Wire},
    recorder::{Process, Recorder, VARIABLE},
    support::{
        PATIENCE,
        cluster::{QUAESTOR, kill_shims},
        eventually, eventually_within,
        ports::{free_port, free_range},
        signal,
    },
};

/// How long a node has to be away here before it is lost; its session outlives it by 20 s.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// How long a session outlives the last word of its agent.
pub(crate) const SESSION: Duration = Duration::from_secs(20);

/// Everything ends when it is dropped.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) members: Members,
    pub(crate) recorder: Recorder,
    programs: BTreeMap<String, Program>,
    directory: tempfile::TempDir,
    /// The program that roles are.
    binary: PathBuf,
    /// The first and the last port of workers.
    ports: (u16, u16),
    /// `host:port` of the first balancer.
    pub(crate) grpc: String,
    pub(crate) http: String,
}

/// A role.
struct Program {
    host: Host,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl World {
    /// A world with one controller, `c1`.
    pub(crate) fn start(wire: Wire) -> Self {
        Self::with(wire, None, &[])
    }

    /// The same; the store may hold so many bytes, and the controller has these flags besides.
    pub(crate) fn with(wire: Wire, quota: Option<u32>, controller: &[&str]) -> Self {
        let mut world = Self::bare(wire, quota);
        for host in HOSTS {
            world.add_agent(host);
        }
        let places = (world.grpc.clone(), world.http.clone());
        world.add_balancer("b1", &places);
        world.add_controller(0, controller);
        world.until("three nodes are ready", |world| {
            HOSTS
                .iter()
                .all(|host| world.node_status(&node(*host)) == "Ready")
        });
        world
    }

    /// The store and the hosts, with nothing of ours on them yet but who looks.
    pub(crate) fn bare(wire: Wire, quota: Option<u32>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut network = Network::new(wire);
        let members = Members::start(directory.path(), &mut network, quota);
        let http = format!("{}:{}", network.address(OUTSIDE), free_port());
        let grpc = format!("{}:{}", network.address(OUTSIDE), free_port());
        let space = network.space(OUTSIDE);
        let recorder = Recorder::start(&mark(directory.path()), http.clone(), space);
        Self {
            network,
            members,
            recorder,
            programs: BTreeMap::new(),
            directory,
            binary: QUAESTOR.into(),
            ports: free_range(8),
            grpc,
            http,
        }
    }

    /// Starts the agent of a host.
    pub(crate) fn add_agent(&mut self, host: Host) {
        let (node, address) = (node(host), self.network.address(host));
        let state = self.state(&node).to_str().unwrap().to_owned();
        let listen = format!("{address}:0");
        self.add(
            &node,
            host,
            &[
                "agent",
                "--node",
                &node,
                "--address",
                &address,
                "--listen",
                &listen,
                "--state-dir",
                &state,
            ],
        );
    }

    /// Starts a balancer with these places for gRPC and HTTP; the recorder looks at the first.
    pub(crate) fn add_balancer(&mut self, name: &str, (grpc, http): &(String, String)) {
        let arguments = ["balancer", "--listen", grpc, "--http", http];
        self.add(name, OUTSIDE, &arguments);
    }

    /// Starts the controller `c1` (0) or `c2` (1), with these flags besides.
    pub(crate) fn add_controller(&mut self, number: usize, more: &[&str]) {
        let name = format!("c{}", number + 1);
        let arguments = [&["controller", "--node-grace", "3s"], more].concat();
        self.add(&name, CONTROLLERS[number], &arguments);
    }

    fn add(&mut self, name: &str, host: Host, arguments: &[&str]) {
        let program = Program {
            host,
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            child: None,
        };
        self.programs.insert(name.to_owned(), program);
        self.run(name);
    }

    /// Starts a role again.
    pub(crate) fn run(&mut self, name: &str) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join(format!("{name}.log")))
            .unwrap();
        let binary = self.binary.to_str().unwrap().to_owned();
        let program = self.programs.get_mut(name).unwrap();
        let mut command = self.network.command(program.host, &binary);
        command.args(&program.arguments);
        command.env("QUAESTOR_ETCD", self.network.endpoints(program.host));
        command.env("RUST_LOG", "info,quaestor=debug");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        program.child = Some(command.stderr(log).spawn().unwrap());
    }

    /// Ends a role as a crash does.
    pub(crate) fn kill(&mut self, name: &str) {
        let child = self.programs.get_mut(name).unwrap().child.take();
        let mut child = child.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends a role as its operator does.
    pub(crate) fn stop(&mut self, name: &str) {
        self.signal(name, "TERM");
        let child = self.programs.get_mut(name).unwrap().child.take();
        let mut child = child.unwrap();
        eventually(&format!("{name} ends"), || {
            child.try_wait().unwrap().is_some()
        });
    }

    /// Sends a signal to a role.
    pub(crate) fn signal(&self, name: &str, what: &str) {
        let child = self.programs[name].child.as_ref();
        signal(child.unwrap().id(), what);
    }

    /// What a role has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        let file = self.directory.path().join(format!("{name}.log"));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// The agent's directory.
    pub(crate) fn state(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    /// What the variable [`VARIABLE`] of every worker of this world begins with.
    pub(crate) fn mark(&self) -> String {
        mark(self.directory.path())
    }

    /// The directory of everything in this world.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets roles be this copy of the program from their next start on.
    pub(crate) fn use_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Runs `quaestor` outside.
    pub(crate) fn quaestor(&self, arguments: &[&str]) -> Output {
        let mut command = self.network.command(OUTSIDE, QUAESTOR);
        command.env("QUAESTOR_ETCD", self.members.endpoints());
        command.args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// The same, which must succeed; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.quaestor(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies a manifest; does not wait.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        let file = self.directory.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        self.ok(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// A service of demo workers, `worker`, that are found as `Worker`.
    pub(crate) fn workers(&self, replicas: u16, more: &str) -> String {
        self.service("worker", "Worker", self.ports, replicas, more)
    }

    /// A service of one demo worker that is never to run twice, and stops when its host is cut off.
    pub(crate) fn single(&self, more: &str) -> String {
        let more = format!("  singleton: true\n  onPartition: stop\n{more}");
        self.service("single", "Single", free_range(1), 1, &more)
    }

    fn service(
        &self,
        name: &str,
        found: &str,
        (first, last): (u16, u16),
        replicas: u16,
        more: &str,
    ) -> String {
        let mark = self.mark();
        format!(
            r#"
---
apiVersion: quaestor/v1
kind: Service
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  command: ["{{quaestor}}", demo-worker, --listen, "{{host}}:{{port}}", --service-name, {found}]
  ports: [{{name: grpc, range: {first}-{last}}}]
  env: {{{VARIABLE}: "{mark}:{{node}}:{{instance}}"}}
  serviceNames: [{found}]
  health: {{grpc: {{}}, interval: 1s, timeout: 30s}}
  stop: {{grace: 2s}}
{more}"#
        )
    }

    /// Applies `replicas` workers and waits for all; the processes of the cluster then.
    #[track_caller]
    pub(crate) fn settle(&self, replicas: u16) -> Vec<Process> {
        self.apply(&self.workers(replicas, ""));
        self.await_workers(replicas);
        self.recorder.living()
    }

    /// Waits until so many workers are ready, and the balancer says so.
    #[track_caller]
    pub(crate) fn await_workers(&self, replicas: u16) {
        let count = usize::from(replicas);
        self.until(&format!("{replicas} workers are ready"), |world| {
            world.ready("worker") == count
        });
        self.until(&format!("{replicas} workers are answered"), |world| {
            let places = world.recorder.answer();
            places.is_some_and(|places| places.len() == count)
        });
    }

    /// How many instances of a service are ready, as the cluster says.
    pub(crate) fn ready(&self, service: &str) -> usize {
        let instances = self.get("instances").into_iter();
        let ready = instances.filter(|one| one["service"] == service && one["ready"] == true);
        ready.count()
    }

    /// What there is of a kind; nothing while the store is away.
    pub(crate) fn get(&self, kind: &str) -> Vec<Json> {
        let output = self.quaestor(&["get", kind, "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// What the cluster says of a node.
    pub(crate) fn node_status(&self, node: &str) -> String {
        let nodes = self.get("nodes").into_iter();
        let mut own = nodes.filter(|one| one["name"] == node);
        own.next().map_or_else(String::new, |one| {
            one["status"].as_str().unwrap_or_default().to_owned()
        })
    }

    /// Runs etcdctl.
    #[track_caller]
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        self.members.ctl(&self.network, arguments)
    }

    /// Waits until something holds.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, || holds(self));
    }

    /// Waits until the session of a node is over. Renewals that are heard and not answered prolong it once more, and a new
    /// leader of the store gives every lease all of its time again.
    #[track_caller]
    pub(crate) fn until_unknown(&self, node: &str) {
        eventually_within(2 * PATIENCE, "the node is unknown", || {
            self.node_status(node) == "Unknown"
        });
    }

    /// Checks that all of `before` live on, and that nothing else does.
    #[track_caller]
    pub(crate) fn check_untouched(&self, before: &[Process]) {
        let now: BTreeSet<_> = self.recorder.living().into_iter().collect();
        let before: BTreeSet<_> = before.iter().cloned().collect();
        assert_eq!(now, before);
    }
}

/// The name of a host's node.
pub(crate) fn node(host: Host) -> String {
    format!("n{host}")
}

/// What tells the processes of this world from those of others.
fn mark(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default();
    name.to_str().unwrap_or_default().to_owned()
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.programs.keys() {
                let log = self.log(name);
                let lines: Vec<_> = log.lines().collect();
                let last = lines.len().saturating_sub(120);
                eprintln!("--- {name}\n{}", lines[last..].join("\n"));
            }
        }
        for child in self
            .programs
            .values_mut()
            .filter_map(|one| one.child.as_mut())
        {
            let _ = child.kill();
            let _ = child.wait();
        }
        kill_shims(self.directory.path());
    }
}
