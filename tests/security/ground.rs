//! Certificates, an etcd, and programs that use both.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::support::{
    cluster::{QUAESTOR, kill_shims},
    eventually,
    ports::free_port,
    signal,
};

/// A directory with an authority, the members of an etcd, and programs; all end when it is dropped.
pub(crate) struct Ground {
    pub(crate) directory: tempfile::TempDir,
    members: Vec<(String, Option<Child>)>,
    endpoints: Vec<String>,
    programs: Vec<(String, Child)>,
}

impl Ground {
    /// An authority alone.
    pub(crate) fn new() -> Self {
        let ground = Self {
            directory: tempfile::tempdir().unwrap(),
            members: Vec::new(),
            endpoints: Vec::new(),
            programs: Vec::new(),
        };
        ground.ok(&["pki", "init", "--dir", &ground.path("pki")]);
        ground
    }

    /// The same with an etcd of so many members, which `quaestor etcd config` has configured.
    pub(crate) fn with_etcd(count: usize) -> Self {
        let mut ground = Self::new();
        let names = ["a", "b", "c"].into_iter().take(count);
        let ports: Vec<_> = names.map(|name| (name, free_port(), free_port())).collect();
        let members = ports
            .iter()
            .map(|(name, client, peer)| format!("{name}=127.0.0.1:{client}:{peer}"));
        let members = members.collect::<Vec<_>>().join(",");
        ground.ok(&[
            "etcd",
            "config",
            "--members",
            &members,
            "--dir",
            &ground.path("pki"),
            "--out",
            &ground.path("etcd"),
            "--install-dir",
            &ground.path("etcd/{member}"),
            "--data-dir",
            &ground.path("data/{member}"),
        ]);
        for (name, client, _) in ports {
            ground.endpoints.push(format!("https://127.0.0.1:{client}"));
            ground.members.push((name.to_owned(), None));
        }
        std::fs::create_dir(ground.path("data")).unwrap();
        (0..count).for_each(|at| ground.start_member(at));
        ground.issue(&["root"]);
        eventually("etcd answers", || {
            let health = ground.etcdctl("root", &["endpoint", "health"]);
            health.status.success()
        });
        ground
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Where etcd is.
    pub(crate) fn etcd(&self) -> String {
        self.endpoints.join(",")
    }

    /// Issues a certificate, with these arguments of `pki issue`.
    pub(crate) fn issue(&self, arguments: &[&str]) {
        self.ok(&[&["pki", "issue", "--dir", &self.path("pki")], arguments].concat());
    }

    /// Starts a member on the data that it had.
    pub(crate) fn start_member(&mut self, at: usize) {
        let (name, child) = &mut self.members[at];
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let directory = self.directory.path();
        let log = std::fs::File::create(directory.join(format!("etcd-{name}.log"))).unwrap();
        let mut command = Command::new(program);
        command
            .arg("--config-file")
            .arg(directory.join("etcd").join(&*name).join("etcd.conf.yml"))
            .stdout(Stdio::null())
            .stderr(log);
        *child = Some(command.spawn().unwrap());
    }

    /// Ends a member as a power cut would.
    pub(crate) fn kill_member(&mut self, at: usize) {
        let mut child = self.members[at].1.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What a file for `--config` says to use the certificate of `owner`, everywhere.
    pub(crate) fn config(&self, owner: &str) -> String {
        let file = self.path(&format!("{owner}.yaml"));
        let pki = self.path("pki");
        let text = format!(
            "etcd: [{}]\ntls-ca: {pki}/ca.crt\ntls-cert: {pki}/{owner}.crt\ntls-key: {pki}/{owner}.key\n",
            self.etcd()
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Starts a role that is `owner`.
    pub(crate) fn start(&mut self, owner: &str, arguments: &[&str]) {
        let log = std::fs::File::create(self.path(&format!("{owner}.log"))).unwrap();
        let child = Command::new(QUAESTOR)
            .args(arguments)
            .args(["--config", &self.config(owner)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.programs.push((owner.to_owned(), child));
    }

    /// Starts `controller.c1`, `agent.h1` and `balancer.b1`, with `more` flags for the latter; where that listens.
    pub(crate) fn start_roles(&mut self, more: &[&str]) -> String {
        for owner in [
            ["controller", "c1"],
            ["agent", "h1"],
            ["balancer", "b1"],
            ["operator", "ann"],
        ] {
            self.issue(&owner);
        }
        let state = self.path("state");
        self.start("controller.c1", &["controller"]);
        self.start(
            "agent.h1",
            &["agent", "--node", "h1", "--state-dir", &state],
        );
        let balancer = format!("127.0.0.1:{}", free_port());
        self.start(
            "balancer.b1",
            &[&["balancer", "--listen", &balancer], more].concat(),
        );
        balancer
    }

    /// What a role has logged.
    pub(crate) fn log(&self, owner: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{owner}.log"))).unwrap_or_default()
    }

    /// Runs `quaestor` as `owner`.
    pub(crate) fn run_as(&self, owner: &str, arguments: &[&str]) -> Output {
        let config = self.config(owner);
        quaestor(&[&["--config", &config], arguments].concat())
    }

    /// The same, which must succeed; what it printed.
    #[track_caller]
    pub(crate) fn ok_as(&self, owner: &str, arguments: &[&str]) -> String {
        self.must(self.run_as(owner, arguments), arguments)
    }

    /// Runs `quaestor`, which must succeed; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.must(quaestor(arguments), arguments)
    }

    #[track_caller]
    fn must(&self, output: Output, arguments: &[&str]) -> String {
        let errors = String::from_utf8_lossy(&output.stderr);
        let logs = self.programs.iter();
        let logs: String = logs
            .map(|(owner, _)| format!("--- {owner}\n{}", self.log(owner)))
            .collect();
        assert!(output.status.success(), "{arguments:?}: {errors}\n{logs}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies `manifests` as `owner`, and waits until they are as wanted.
    #[track_caller]
    pub(crate) fn apply_as(&self, owner: &str, manifests: &str) {
        let file = self.path("applied.yaml");
        std::fs::write(&file, manifests).unwrap();
        self.ok_as(owner, &["apply", "-f", &file, "--wait"]);
    }

    /// Runs `etcdctl` as `owner`.
    pub(crate) fn etcdctl(&self, owner: &str, arguments: &[&str]) -> Output {
        let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let mut command = Command::new(program);
        self.be(&mut command, owner);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a script of `etcdctl` commands as `owner`.
    #[track_caller]
    pub(crate) fn script(&self, owner: &str, text: &str) -> String {
        let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let mut command = Command::new("sh");
        self.be(&mut command, owner);
        let text = format!("set -e\netcdctl() {{ '{program}' \"$@\"; }}\n{text}");
        let output = command
            .args(["-c", &text])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn be(&self, command: &mut Command, owner: &str) {
        let pki = PathBuf::from(self.path("pki"));
        command
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.etcd())
            .env("ETCDCTL_CACERT", pki.join("ca.crt"))
            .env("ETCDCTL_CERT", pki.join(format!("{owner}.crt")))
            .env("ETCDCTL_KEY", pki.join(format!("{owner}.key")));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (owner, _) in &self.programs {
                eprintln!("--- {owner}\n{}", self.log(owner));
            }
        }
        for (_, child) in &mut self.programs {
            signal(child.id(), "TERM");
            let _ = child.wait();
        }
        kill_shims(Path::new(&self.path("state")));
        for child in self
            .members
            .iter_mut()
            .filter_map(|(_, child)| child.as_mut())
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs `quaestor` without anything of the environment that names a cluster.
pub(crate) fn quaestor(arguments: &[&str]) -> Output {
    let mut command = Command::new(QUAESTOR);
    command.args(arguments).stdin(Stdio::null());
    let names = std::env::vars().map(|(name, _)| name);
    for name in names.filter(|name| name.starts_with("QUAESTOR_")) {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// Checks that a command has failed, and said all of `words`.
#[track_caller]
pub(crate) fn fails(output: &Output, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success(),
        "it succeeded: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
    }
}
