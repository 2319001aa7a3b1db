//! A one-machine cluster of the real program: `quaestor dev`, on the embedded store or a real etcd.

use std::{
    io::Read as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{
    etcd::Etcd,
    eventually,
    ports::{free_port, free_range},
    signal,
};

/// The program under test.
pub const QUAESTOR: &str = env!("CARGO_BIN_EXE_quaestor");

/// Which store a cluster runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one in `quaestor dev`.
    Embedded,
    /// A real etcd.
    Etcd,
}

/// A running `quaestor dev`; ended, with everything it started, when dropped.
pub struct Cluster {
    /// The real etcd, where there is one.
    pub etcd: Option<Etcd>,
    child: Child,
    directory: tempfile::TempDir,
    store: String,
    balancer: String,
}

/// An instance as `quaestor get instances -o json` prints it.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub name: String,
    pub service: String,
    pub node: String,
    pub phase: Option<String>,
    pub ready: bool,
    pub pid: Option<u32>,
    pub ports: std::collections::BTreeMap<String, u16>,
    pub restarts: u32,
    pub reason: String,
    pub message: String,
    pub revision: String,
}

impl Cluster {
    /// Starts a cluster that applies `manifests`, and waits until its store can be asked.
    #[track_caller]
    pub fn start(kind: Kind, manifests: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("manifests.yaml");
        std::fs::write(&file, manifests).unwrap();
        let etcd = (kind == Kind::Etcd).then(Etcd::start);
        let balancer = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(QUAESTOR);
        command.arg("dev").arg("-f").arg(&file);
        command
            .args(["--balancer-listen", &balancer, "--state-dir"])
            .arg(directory.path().join("state"));
        let store = match &etcd {
            Some(etcd) => {
                command.args(["--etcd", &etcd.endpoint()]);
                etcd.endpoint()
            }
            None => {
                let address = format!("127.0.0.1:{}", free_port());
                command.args(["--store-listen", &address]);
                format!("http://{address}")
            }
        };
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut cluster = Self {
            child: command.spawn().unwrap(),
            etcd,
            directory,
            store,
            balancer,
        };
        let address = cluster.store.replace("http://", "");
        eventually("the store listens", || {
            assert_eq!(cluster.child.try_wait().unwrap(), None, "it has ended");
            TcpStream::connect(&address).is_ok()
        });
        cluster
    }

    /// `host:port` of the balancer.
    pub fn balancer(&self) -> &str {
        &self.balancer
    }

    /// The store's URL.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The file that it applies.
    pub fn manifests(&self) -> PathBuf {
        self.directory.path().join("manifests.yaml")
    }

    /// The agent's directory.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Runs `quaestor` on this cluster.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", &self.store)
            .env("QUAESTOR_BALANCER", &self.balancer);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs `quaestor`, which must succeed; what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {errors}\n{}",
            self.log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes `manifests` to a file and applies it, with `more` arguments.
    #[track_caller]
    pub fn apply(&self, manifests: &str, more: &[&str]) -> String {
        let file = self.directory.path().join("applied.yaml");
        std::fs::write(&file, manifests).unwrap();
        self.ok(&[&["apply", "-f", file.to_str().unwrap()], more].concat())
    }

    /// The instances, by name; none while the store is away.
    pub fn instances(&self) -> Vec<Instance> {
        let output = self.run(&["get", "instances", "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The services; none while the store is away.
    pub fn services(&self) -> Vec<Value> {
        let output = self.run(&["get", "services", "-o", "json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// The instance of that name.
    #[track_caller]
    pub fn instance(&self, name: &str) -> Instance {
        let instances = self.instances();
        let found = instances
            .iter()
            .find(|instance| instance.name == name)
            .cloned();
        found.unwrap_or_else(|| panic!("no {name} among {instances:?}"))
    }

    /// Waits until `count` instances of `service` are ready.
    #[track_caller]
    pub fn await_ready(&self, service: &str, count: usize) -> Vec<Instance> {
        let mut ready = Vec::new();
        eventually(&format!("{count} of {service} ready"), || {
            ready = self.instances();
            ready.retain(|instance| instance.service == service && instance.ready);
            ready.len() == count
        });
        ready
    }

    /// All keys in the store.
    pub fn keys(&self) -> Vec<String> {
        let etcdctl = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let output = Command::new(etcdctl)
            .env("ETCDCTL_API", "3")
            .args([
                "--endpoints",
                &self.store,
                "get",
                "",
                "--prefix",
                "--keys-only",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does and waits for the end; whether it ended well.
    pub fn stop(&mut self) -> bool {
        signal(self.pid(), "INT");
        self.child.wait().unwrap().success()
    }

    /// Ends it as a crash does: SIGKILL.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the cluster ---\n{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.pid(), "TERM");
            let start = std::time::Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) {
                if start.elapsed() > Duration::from_secs(20) {
                    let _ = self.child.kill();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Whether a process of that id lives; one that has ended and was not reaped does not.
pub fn lives(pid: u32) -> bool {
    let mut stat = String::new();
    let file = std::fs::File::open(Path::new("/proc").join(pid.to_string()).join("stat"));
    file.and_then(|mut file| file.read_to_string(&mut stat))
        .is_ok()
        && !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
}

/// The parent of a process: its shim, where it has one.
pub fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Kills the shims of all agents whose files lie in `directory`, and with them what they run.
pub fn kill_shims(directory: &Path) {
    for pid in shims(directory) {
        signal(pid, "KILL");
    }
}

/// The shims of all agents whose files lie in `directory`.
pub fn shims(directory: &Path) -> Vec<u32> {
    let directory = directory.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap();
    let pid = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.ok()?.file_name().to_str()?.parse::<u32>().ok()
    };
    let is_shim = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        words
            .next()
            .is_some_and(|program| program.ends_with("quaestor-shim"))
            && words.any(|word| word.starts_with(directory))
    };
    processes.filter_map(pid).filter(is_shim).collect()
}

/// A service `worker` of `replicas` demo workers, found as `Worker`, on ports of a free range, with
/// `more` lines in its spec. One that is late on a busy machine is no hung one: who tests that says so.
pub fn demo_workers(replicas: u16, more: &str) -> String {
    let (first, last) = free_range(replicas);
    demo_workers_at(replicas, &format!("range: {first}-{last}"), more)
}

/// The same, with a chosen port.
pub fn demo_workers_at(replicas: u16, port: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: worker}}
spec:
  replicas: {replicas}
  command: ["{{quaestor}}", demo-worker, --listen, "{{host}}:{{port}}"]
  ports: [{{name: grpc, {port}}}]
  serviceNames: [Worker]
  health: {{grpc: {{}}, interval: 1s, timeout: 20s}}
  load: {{reportLoad: {{}}, interval: 1s}}
{more}"#
    )
}
