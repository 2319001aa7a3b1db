//! The real program as a balancer, and workers that somebody else started.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{cluster::QUAESTOR, eventually, http, ports::free_port, signal};

/// A running `quaestor balancer` with an HTTP surface; ended when dropped.
pub struct Balancer {
    child: Child,
    /// `host:port` of its gRPC surface.
    pub grpc: String,
    /// `host:port` of its HTTP surface.
    pub http: String,
    directory: tempfile::TempDir,
}

impl Balancer {
    /// Starts one with those flags besides.
    pub fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = || format!("127.0.0.1:{}", free_port());
        let (grpc, http) = (address(), address());
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new(QUAESTOR);
        command.args(["balancer", "--listen", &grpc, "--http", &http]);
        command.args(flags).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self {
            child,
            grpc,
            http,
            directory,
        }
    }

    /// The status of the answer to a `GET` of `path`, and what it holds; none while nobody answers.
    pub fn ask(&self, path: &str) -> Option<(u16, Value)> {
        let (status, body) = http::get(&self.http, path)?;
        Some((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    /// `host:port` of all healthy endpoints of `service`, sorted.
    pub fn places(&self, service: &str) -> Vec<String> {
        places(&self.http, service).unwrap_or_default()
    }

    /// Waits until the healthy endpoints of `service` are those.
    #[track_caller]
    pub fn await_places(&self, service: &str, expected: &[String]) {
        let mut expected = expected.to_vec();
        expected.sort();
        eventually(&format!("{service} is found at {expected:?}"), || {
            self.places(service) == expected
        });
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has for itself, in bytes: what is resident, but for the program's own text, which a debug
    /// build has many times of.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
        kibibytes.parse::<u64>().unwrap() * 1024
    }

    /// Waits until it has ended; whether it ended well.
    pub fn wait(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the balancer ---\n{}", self.log());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.pid(), "KILL");
            let _ = self.child.wait();
        }
    }
}

/// `host:port` of all healthy endpoints of `service`, sorted, as the balancer at `http` says; none where it does not.
pub fn places(http: &str, service: &str) -> Option<Vec<String>> {
    let answer = http::get(http, &format!("/v1/services/{service}/endpoints"))?;
    let (200, body) = answer else {
        return None;
    };
    let json: Value = serde_json::from_str(&body).ok()?;
    let place = |endpoint: &Value| {
        let host = endpoint["host"].as_str().unwrap_or_default();
        format!("{host}:{}", endpoint["port"])
    };
    let mut places: Vec<String> = json["endpoints"].as_array()?.iter().map(place).collect();
    places.sort();
    Some(places)
}

/// A demo worker, `Worker`, that no agent started; killed when dropped.
pub struct Worker {
    child: Child,
    /// `host:port`.
    pub place: String,
}

impl Worker {
    /// Starts one with those flags besides.
    pub fn start(flags: &[&str]) -> Self {
        let place = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(QUAESTOR);
        command
            .args(["demo-worker", "--listen", &place])
            .args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        Self { child, place }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
