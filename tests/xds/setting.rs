//! A real etcd whose keys are written by hand, balancers of the real program, servers that count their calls,
//! and stock clients.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use quaestor::{
    host::Host,
    store::{self, Outcome, Store, Txn, Write},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    backend::Backend,
    client::{Client, await_only, together},
    support::{
        cluster::{QUAESTOR, kill_shims},
        etcd::Etcd,
        eventually,
        ports::free_port,
        signal,
    },
};

/// Everything that a test needs; ended when dropped.
pub struct Setting {
    etcd: Etcd,
    store: Store,
    /// The other parts of a cluster, by what they are.
    roles: Vec<(&'static str, Child)>,
    pub runtime: Runtime,
    balancers: Vec<Balancer>,
    backends: BTreeMap<u16, Backend>,
    directory: tempfile::TempDir,
}

struct Balancer {
    port: u16,
    process: Option<Child>,
}

impl Setting {
    /// As many balancers, not started yet, and a service `worker`, found as `Worker`, without endpoints.
    pub fn new(balancers: usize) -> Self {
        let setting = Self::bare(balancers);
        let session = json!({
            "uuid": "u", "nodeUuid": "n", "address": "127.0.0.1", "version": "0",
            "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
        });
        setting.put("session/n", &session);
        setting.route("worker", "Worker", json!({}));
        setting
    }

    /// A balancer, started, and as many slots of `worker`, ready.
    pub fn serving(count: u16) -> Self {
        let mut setting = Self::new(1);
        setting.start_backends(0..count);
        setting.say_all(0..count, true);
        setting.start_balancer(0);
        setting
    }

    /// As many balancers, started, and a controller and an agent that run `manifest`.
    pub fn cluster(balancers: usize, manifest: &str) -> Self {
        let mut setting = Self::bare(balancers);
        let state = setting.directory.path().join("state");
        let state = state.to_str().unwrap().to_owned();
        setting.start_role("controller", &[]);
        setting.start_role("agent", &["--node", "n1", "--state-dir", &state]);
        (0..balancers).for_each(|index| setting.start_balancer(index));
        let file = setting.directory.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        setting.ok(&["apply", "-f", file.to_str().unwrap(), "--wait"]);
        setting
    }

    /// As many balancers, not started yet.
    fn bare(balancers: usize) -> Self {
        let etcd = Etcd::start();
        let runtime = Runtime::new().unwrap();
        let config = store::Config::new([etcd.endpoint()]);
        let store = {
            let _guard = runtime.enter();
            Store::new(config, Host::system()).unwrap()
        };
        let balancer = |_| Balancer {
            port: free_port(),
            process: None,
        };
        Self {
            etcd,
            store,
            roles: Vec::new(),
            runtime,
            balancers: (0..balancers).map(balancer).collect(),
            backends: BTreeMap::new(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts another part of the cluster.
    fn start_role(&mut self, role: &'static str, arguments: &[&str]) {
        let log = self.directory.path().join(format!("{role}.log"));
        let child = Command::new(QUAESTOR)
            .args(["--log-format", "json", role])
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        self.roles.push((role, child));
    }

    /// What the agent has logged.
    pub fn agent_log(&self) -> Vec<Value> {
        let log = self.directory.path().join("agent.log");
        let log = std::fs::read_to_string(log).unwrap();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    }

    /// Sends a signal to a balancer.
    pub fn signal_balancer(&self, index: usize, name: &str) {
        let child = self.balancers[index].process.as_ref().unwrap();
        signal(child.id(), name);
    }

    /// Says how a service is found.
    pub fn route(&self, service: &str, name: &str, balance: Value) {
        let route = json!({
            "service": service, "names": [name], "published": true, "generation": 1, "balance": balance,
        });
        self.put(&format!("route/{service}"), &route);
    }

    /// Writes a key below the cluster's root. Returns when that is certain.
    pub fn put(&self, key: &str, value: &Value) -> Instant {
        self.commit(Write::put(
            format!("/quaestor/default/{key}"),
            value.to_string(),
        ));
        Instant::now()
    }

    fn commit(&self, write: Write) {
        let committing = self.store.commit(Txn::new().then(write));
        let done = self.runtime.block_on(committing);
        assert!(matches!(done, Ok(Outcome::Committed(_))), "{done:?}");
    }

    /// Starts a balancer, or starts it again on its port.
    pub fn start_balancer(&mut self, index: usize) {
        let port = self.balancers[index].port;
        let log = self.directory.path().join(format!("balancer-{index}.log"));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let child = Command::new(QUAESTOR)
            .args(["balancer", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--etcd", &self.etcd.endpoint()])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.balancers[index].process = Some(child);
    }

    /// Ends a balancer as a crash does.
    pub fn kill_balancer(&mut self, index: usize) {
        let mut child = self.balancers[index].process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts servers for these slots of `worker`, without saying so to anybody.
    pub fn start_backends(&mut self, slots: impl IntoIterator<Item = u16>) {
        for slot in slots {
            let backend = Backend::start(slot, None);
            self.backends.insert(slot, backend);
        }
    }

    /// Ends one, with its connections, and puts another one where it was.
    pub fn replace_backend(&mut self, slot: u16) {
        let former = self.backends.remove(&slot).unwrap();
        let address = former.address;
        drop(former);
        let other = Backend::start(slot, Some(address));
        self.backends.insert(slot, other);
    }

    /// Ends one.
    pub fn end_backend(&mut self, slot: u16) {
        self.backends.remove(&slot);
    }

    /// Says whether a slot is ready. Returns when that is certain.
    pub fn say(&self, slot: u16, ready: bool) -> Instant {
        self.say_phase(slot, "Running", ready)
    }

    /// Says that a slot is to stop, and finishes its work first. Returns when that is certain.
    pub fn drain(&self, slot: u16) -> Instant {
        self.say_phase(slot, "Draining", false)
    }

    /// Forgets a slot, as is done once it has stopped.
    pub fn forget(&self, slot: u16) {
        let key = format!("/quaestor/default/state/n/worker-{slot}");
        self.commit(Write::delete(key));
    }

    fn say_phase(&self, slot: u16, phase: &str, ready: bool) -> Instant {
        let state = json!({
            "instance": format!("worker-{slot}"), "node": "n", "phase": phase, "ready": ready,
            "endpoint": {"host": "127.0.0.1", "port": self.backends[&slot].address.port()},
            "observedGeneration": 1, "epoch": 1,
        });
        self.put(&format!("state/n/worker-{slot}"), &state)
    }

    /// Says it of several.
    pub fn say_all(&self, slots: impl IntoIterator<Item = u16>, ready: bool) {
        for slot in slots {
            self.say(slot, ready);
        }
    }

    /// When a slot was called last.
    pub fn last_call(&self, slot: u16) -> Option<Instant> {
        *self.backends[&slot].calls.last.lock().unwrap()
    }

    /// How many calls a slot had.
    pub fn calls(&self, slot: u16) -> u64 {
        self.backends[&slot].calls.count.load(Relaxed)
    }

    /// Says how busy slots are.
    pub fn loads(&self, rates: &[(u16, f64)]) {
        let report =
            |(slot, rate): &(u16, f64)| (format!("worker-{slot}"), json!({"knownRate": rate}));
        let instances: serde_json::Map<_, _> = rates.iter().map(report).collect();
        self.put(
            "load/n",
            &json!({"at": "2026-01-01T00:00:00Z", "instances": instances}),
        );
    }

    /// How long a balancer has had a processor.
    pub fn balancer_time(&self, index: usize) -> Duration {
        let stat = self.balancer_file(index, "stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// The memory that a balancer has, in bytes, but for what it has of files.
    pub fn balancer_memory(&self, index: usize) -> u64 {
        let status = self.balancer_file(index, "status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().unwrap() << 10
    }

    fn balancer_file(&self, index: usize, name: &str) -> String {
        let child = self.balancers[index].process.as_ref().unwrap();
        std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap()
    }

    /// `host:port` of a balancer.
    pub fn balancer(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.balancers[index].port)
    }

    /// Runs `quaestor` on this cluster.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The same; it must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The bootstrap file that `quaestor xds bootstrap` prints, once all balancers have said where they are.
    pub fn bootstrap(&self) -> PathBuf {
        let ports = self.balancers.iter();
        let ports: Vec<String> = ports
            .map(|balancer| format!(":{}", balancer.port))
            .collect();
        let mut text = String::new();
        eventually("all balancers are in the bootstrap file", || {
            let output = self.run(&["xds", "bootstrap", "--id", "stock"]);
            text = String::from_utf8(output.stdout).unwrap();
            ports.iter().all(|port| text.contains(port))
        });
        let path = self.directory.path().join("bootstrap.json");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// One client of each kind.
    pub fn clients(&self) -> Vec<Client> {
        Client::of_each_kind(&self.bootstrap())
    }

    /// The same, once all of them call `worker`, of which these slots are ready, without a pause.
    pub fn calling(&self, slots: &[u16]) -> Vec<Client> {
        let mut clients = self.clients();
        together(&mut clients, Client::begin);
        await_only(&mut clients, slots);
        clients
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let balancers = self.balancers.iter_mut();
        let balancers = balancers.filter_map(|balancer| balancer.process.take());
        let roles = self.roles.drain(..).map(|(_, child)| child);
        for mut child in balancers.chain(roles) {
            let _ = child.kill();
            let _ = child.wait();
        }
        kill_shims(self.directory.path());
        if std::thread::panicking() {
            let balancers = (0..self.balancers.len()).map(|index| format!("balancer-{index}"));
            for part in balancers.chain(["agent".to_owned(), "controller".to_owned()]) {
                let log = self.directory.path().join(format!("{part}.log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                eprintln!("--- {part} ---\n{log}");
            }
        }
    }
}
