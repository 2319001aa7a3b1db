//! A real etcd of one member, on free ports, for one test.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::ports::free_port;

/// A running etcd; killed, with its data, when dropped.
pub struct Etcd {
    child: Option<Child>,
    directory: tempfile::TempDir,
    client_port: u16,
    peer_port: u16,
}

impl Etcd {
    /// Starts an etcd and waits until it answers. The binary is `$ETCD`, else `etcd`.
    pub fn start() -> Self {
        let mut etcd = Self {
            child: None,
            directory: tempfile::tempdir().unwrap(),
            client_port: free_port(),
            peer_port: free_port(),
        };
        etcd.restart();
        etcd
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it on the data and ports it had, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let (client, port) = (self.endpoint(), self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = self.directory.path().join("log");
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let child = Command::new(&program)
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .args([
                "--name",
                "test",
                "--log-level",
                "error",
                "--unsafe-no-fsync",
            ])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("test={peer}")])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start `{program}`: {error}; run `scripts/test`, which fetches an etcd"
                )
            });
        let child = self.child.insert(child);
        super::eventually("etcd answers", || {
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", std::fs::read_to_string(&log).unwrap());
            is_serving(port)
        });
    }

    /// Ends it and starts an empty one in its place: its revision falls, as after the restore of an
    /// old backup.
    pub fn forget(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.directory.path().join("data")).unwrap();
        self.restart();
    }

    /// A copy of everything it holds, as operators make one: `etcdctl snapshot save`.
    pub fn snapshot(&self) -> PathBuf {
        let file = self.directory.path().join("snapshot");
        let _ = std::fs::remove_file(&file);
        let endpoint = self.endpoint();
        etcdctl(&[
            "--endpoints",
            &endpoint,
            "snapshot",
            "save",
            file.to_str().unwrap(),
        ]);
        file
    }

    /// Ends it and starts it on what `snapshot` holds: its revision falls, its cluster id stays.
    pub fn restore(&mut self, snapshot: &Path) {
        self.kill();
        let data = self.directory.path().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        etcdctl(&[
            "snapshot",
            "restore",
            snapshot.to_str().unwrap(),
            "--data-dir",
            data.to_str().unwrap(),
            "--name",
            "test",
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("test={peer}"),
        ]);
        self.restart();
    }

    /// What it has counted under this name since it started.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let address = format!("127.0.0.1:{}", self.client_port);
        let (_, metrics) = super::http::get(&address, "/metrics").unwrap();
        let mut values = metrics.lines().filter_map(|line| line.split_once(' '));
        let found = values.find(|(metric, _)| *metric == name);
        let (_, value) = found.unwrap_or_else(|| panic!("etcd does not count {name}"));
        // Large ones come as 1.2e+06.
        value.parse::<f64>().unwrap() as u64
    }

    /// Sends a signal to the process, by its name as `kill` knows it: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        super::signal(self.child.as_ref().unwrap().id(), name);
    }
}

/// Whether the member that listens to that port of this host has a leader and answers.
fn is_serving(port: u16) -> bool {
    let answer = super::http::get(&format!("127.0.0.1:{port}"), "/health");
    answer.is_some_and(|(status, _)| status == 200)
}

/// Runs etcdctl, which must succeed. The binary is `$ETCDCTL`, else `etcdctl`.
pub fn etcdctl(arguments: &[&str]) {
    let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let output = Command::new(program)
        .env("ETCDCTL_API", "3")
        .args(arguments)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
