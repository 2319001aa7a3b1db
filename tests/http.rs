//! The balancer's HTTP/JSON surface in the real program, asked by Python's own HTTP client and by raw connections:
//!
//! - what it answers: [`python_picks_over_http_and_a_killed_worker_leaves_the_watch`]
//! - what it refuses: [`huge_and_broken_requests_harm_nobody`]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use support::{cluster::QUAESTOR, eventually, ports::free_port, signal};

const MANIFEST: &str = "
apiVersion: quaestor/v1
kind: Service
metadata: {name: worker}
spec:
  replicas: 2
  command: ['{quaestor}', demo-worker, --listen, '{host}:{port}']
  ports: [{name: grpc}]
  serviceNames: [Worker]
  health: {grpc: {}, interval: 200ms}
  restart: {delay: 30s}
";

/// `quaestor dev` with an HTTP surface; ended when dropped.
struct Dev {
    child: Child,
    http: String,
    _directory: tempfile::TempDir,
}

impl Dev {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("worker.yaml");
        std::fs::write(&file, MANIFEST).unwrap();
        let address = || format!("127.0.0.1:{}", free_port());
        let http = address();
        let mut command = Command::new(QUAESTOR);
        command.arg("dev").arg("-f").arg(&file);
        command.args(["--http", &http]);
        command.args([
            "--balancer-listen",
            &address(),
            "--store-listen",
            &address(),
        ]);
        command
            .arg("--state-dir")
            .arg(directory.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        Self {
            child,
            http,
            _directory: directory,
        }
    }

    /// The status of the answer to `path`, and what it holds.
    fn ask(&self, path: &str) -> Option<(u16, Value)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = self.send(request.as_bytes())?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or_default()))
    }

    /// What comes back for `bytes` until the end of the connection.
    fn send(&self, bytes: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(&self.http).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        // The peer may close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    fn await_workers(&self) {
        eventually("both workers are found", || {
            let answer = self.ask("/v1/services/Worker/endpoints");
            answer.is_some_and(|(_, json)| {
                json["endpoints"]
                    .as_array()
                    .is_some_and(|all| all.len() == 2)
            })
        });
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let _ = self.child.wait();
    }
}

const PICK: &str = "
import json, sys, urllib.error, urllib.request
base = sys.argv[1]
ports = set()
for _ in range(2):
    with urllib.request.urlopen(base + '/v1/services/Worker/pick') as answer:
        assert answer.headers['content-type'] == 'application/json'
        ports.add(json.load(answer)['endpoints'][0]['port'])
assert len(ports) == 2, ports
try:
    urllib.request.urlopen(base + '/v1/services/Nobody/pick')
    sys.exit('an unknown name was answered')
except urllib.error.HTTPError as error:
    assert error.code == 404
    assert error.headers['content-type'] == 'application/problem+json'
    assert json.load(error)['reason'] == 'NotFound'
with urllib.request.urlopen(base + '/openapi.json') as answer:
    assert json.load(answer)['openapi'] == '3.1.0'
print('good')
";

#[test]
fn python_picks_over_http_and_a_killed_worker_leaves_the_watch() {
    let dev = Dev::start();
    dev.await_workers();
    let base = format!("http://{}", dev.http);
    let python = Command::new("python3").args(["-c", PICK, &base]).output();
    let python = python.unwrap();
    let errors = String::from_utf8_lossy(&python.stderr);
    assert_eq!(
        String::from_utf8_lossy(&python.stdout).trim(),
        "good",
        "{errors}"
    );

    let mut watch = TcpStream::connect(&dev.http).unwrap();
    watch
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    write!(
        watch,
        "GET /v1/services/Worker/watch HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(watch).lines().map(|line| line.unwrap());
    let mut told = || -> Value {
        let data = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
        serde_json::from_str(&data.unwrap()).unwrap()
    };
    let full = told();
    assert_eq!(full["complete"], true);
    let port = full["changed"][0]["port"].as_u64().unwrap();
    signal(listener_of(port), "KILL");
    let change = loop {
        let change = told();
        if change["removed"]
            .as_array()
            .is_some_and(|gone| !gone.is_empty())
        {
            break change;
        }
    };
    assert_eq!(change["removed"][0]["port"], port);
}

/// The process that was told to listen at `port`.
fn listener_of(port: u64) -> u32 {
    let place = format!("127.0.0.1:{port}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let is_worker = words.nth(1) == Some(b"demo-worker");
        (is_worker && words.any(|word| word == place.as_bytes())).then_some(pid)
    });
    processes.last().unwrap()
}

#[test]
fn huge_and_broken_requests_harm_nobody() {
    let dev = Dev::start();
    dev.await_workers();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let wide = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    for request in [
        long.as_bytes(),
        wide.as_bytes(),
        b"\x16\x03\x01 what is this\r\n\r\n",
    ] {
        let answer = dev.send(request).unwrap();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    let body = b"POST /v1/services HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc";
    let answer = dev.send(body).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    // Askers who go away again, and readers who never read, hold nobody up.
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(&dev.http).unwrap();
        write!(
            stream,
            "GET /v1/services/Worker/watch HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        .unwrap();
        silent.push(stream);
    }
    silent.truncate(100);
    let (status, health) = dev.ask("/healthz").unwrap();
    assert_eq!((status, health["status"].as_str()), (200, Some("SERVING")));
    assert_eq!(dev.ask("/v1/services/Worker/pick").unwrap().0, 200);
}
