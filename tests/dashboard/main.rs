//! The dashboard of the real program, in a real browser: headless Chromium, driven by Playwright (`browser.mjs`).
//!
//! - [`every_page_shows_what_there_is_small_and_soon`]
//! - [`a_restart_and_a_drain_are_asked_for_with_the_token_and_seen_live`]
//! - [`a_stream_that_is_cut_goes_on_where_it_was`]
//! - [`hostile_text_stays_text`]
//! - [`five_thousand_instances_scroll_smoothly`]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "a test that starts programs")]
#![allow(unreachable_pub, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{PoisonError, RwLock},
};

use quaestor::{
    host::Host,
    store::{self, Outcome, Store, Txn, Write},
};
use serde_json::{Value, json};
use support::{
    balancer::Balancer,
    cluster::{QUAESTOR, demo_workers},
    etcd::Etcd,
    eventually,
    ports::free_port,
    signal,
};

const HOSTILE: &str = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";

/// Held by all who browse: alone by those who measure how long something takes, so that they do not measure the others.
static QUIET: RwLock<()> = RwLock::new(());

/// `quaestor dev` with a dashboard; ended when dropped.
struct Dev {
    child: Child,
    http: String,
    store: String,
    directory: tempfile::TempDir,
}

impl Dev {
    fn start(manifests: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("manifests.yaml");
        std::fs::write(&file, manifests).unwrap();
        let [http, store, balancer] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let out = std::fs::File::create(directory.path().join("out")).unwrap();
        let mut command = Command::new(QUAESTOR);
        command
            .arg("dev")
            .arg("-f")
            .arg(&file)
            .args(["--http", &http]);
        command.args(["--store-listen", &store, "--balancer-listen", &balancer]);
        command
            .arg("--state-dir")
            .arg(directory.path().join("state"));
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null());
        Self {
            child: command.spawn().unwrap(),
            http,
            store: format!("http://{store}"),
            directory,
        }
    }

    /// The token that it prints for people.
    fn token(&self) -> String {
        let mut token = None;
        eventually("the token is printed", || {
            let out = std::fs::read_to_string(self.directory.path().join("out")).unwrap();
            let found = out.lines().find_map(|line| line.split_once("#token="));
            token = found.map(|(_, token)| token.trim().to_owned());
            token.is_some()
        });
        token.unwrap()
    }

    fn await_ready(&self, count: usize) {
        eventually("all workers are ready", || {
            let board = get(&self.http, "/api/board").unwrap_or_default();
            board.matches("\"phase\":\"Running\",\"pid\"").count() >= count
                && board.matches("\"ready\":true").count() >= count
        });
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let _ = self.child.wait();
    }
}

/// The answer to a `GET`, head and body; none while nobody answers.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A tool that `scripts/prepare` has fetched.
fn tool(variable: &str, fetched: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let tool = named.unwrap_or_else(|| tools.join(fetched));
    assert!(
        tool.exists(),
        "there is no {}: run scripts/prepare",
        tool.display()
    );
    tool
}

/// Runs a case of `browser.mjs` on the dashboard at `http`; what it says, which begins with `ok`.
#[track_caller]
fn browse(case: &str, http: &str, more: &[(&str, &str)]) -> String {
    let node = tool("QUAESTOR_TEST_PLAYWRIGHT", "playwright/node");
    let chromium = tool("QUAESTOR_TEST_CHROMIUM", "chromium/chromium");
    let measures = ["pages", "many"].contains(&case);
    let alone = measures.then(|| QUIET.write().unwrap_or_else(PoisonError::into_inner));
    let together = (!measures).then(|| QUIET.read().unwrap_or_else(PoisonError::into_inner));
    let mut command = Command::new(node);
    command.arg("tests/dashboard/browser.mjs").arg(case);
    command
        .env("CHROMIUM", chromium)
        .env("BASE", format!("http://{http}"));
    command.env("QUAESTOR", QUAESTOR).envs(more.iter().copied());
    let output = command.stdin(Stdio::null()).output().unwrap();
    drop((alone, together));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {said}\n{errors}");
    println!("{case}: {said}");
    said.into_owned()
}

#[test]
fn every_page_shows_what_there_is_small_and_soon() {
    let broken = "
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: elsewhere}
spec:
  placement: {nodeSelector: {pool: gpu}}
  command: ['{quaestor}', demo-worker]
";
    let dev = Dev::start(&(demo_workers(2, "") + broken));
    dev.await_ready(2);
    browse("pages", &dev.http, &[]);
}

#[test]
fn a_restart_and_a_drain_are_asked_for_with_the_token_and_seen_live() {
    let dev = Dev::start(&demo_workers(2, ""));
    dev.await_ready(2);
    let token = dev.token();
    // Not without it, and not from a page whose name was made to lead here.
    let post = |head: &str| {
        let mut stream = TcpStream::connect(&dev.http).unwrap();
        let request =
            format!("POST /api/restart?target=worker HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for head in [
        "Host: localhost\r\n".to_owned(),
        "Host: localhost\r\nAuthorization: Bearer 0\r\n".to_owned(),
        format!("Host: evil.example\r\nAuthorization: Bearer {token}\r\n"),
    ] {
        assert!(post(&head).starts_with("HTTP/1.1 403"), "{head}");
    }
    browse(
        "deeds",
        &dev.http,
        &[("TOKEN", &token), ("STORE", &dev.store)],
    );
}

#[test]
fn a_stream_that_is_cut_goes_on_where_it_was() {
    let dev = Dev::start(&demo_workers(2, ""));
    dev.await_ready(2);
    browse("resume", &dev.http, &[("STORE", &dev.store)]);
}

#[test]
fn hostile_text_stays_text() {
    let manifest = format!(
        "
apiVersion: quaestor/v1
kind: Service
metadata: {{name: evil}}
spec:
  command: [sh, -c, 'echo \"$EVIL\"; exec sleep 1000']
  env: {{EVIL: '{HOSTILE}'}}
"
    );
    let dev = Dev::start(&manifest);
    dev.await_ready(1);
    browse("hostile-log", &dev.http, &[("HOSTILE", HOSTILE)]);
    let world = World::new();
    world.fill(3, HOSTILE);
    browse(
        "hostile-board",
        &world.balancer.http,
        &[("HOSTILE", HOSTILE)],
    );
}

#[test]
fn five_thousand_instances_scroll_smoothly() {
    let world = World::new();
    world.fill(5000, "");
    browse("many", &world.balancer.http, &[]);
}

/// A balancer whose store holds what no agent has written.
struct World {
    store: Store,
    runtime: tokio::runtime::Runtime,
    balancer: Balancer,
    _etcd: Etcd,
}

impl World {
    fn new() -> Self {
        let etcd = Etcd::start();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = {
            let _guard = runtime.enter();
            let config = store::Config::new([etcd.endpoint()]);
            Store::new(config, Host::system()).unwrap()
        };
        Self {
            balancer: Balancer::start(&["--etcd", &etcd.endpoint()]),
            store,
            runtime,
            _etcd: etcd,
        }
    }

    /// Writes so many instances on as many nodes as take 25 each; `text` wherever there may be one.
    fn fill(&self, instances: u16, text: &str) {
        let nodes = (0..instances.div_ceil(25)).map(|node| {
            let session = json!({
                "uuid": "u", "nodeUuid": "n", "address": "host.test", "version": "0", "labels": {"rack": text},
                "startedAt": "2026-01-01T00:00:00Z", "reconciled": true,
            });
            (format!("session/node-{node}"), session)
        });
        let states = (0..instances).map(|slot| {
            let node = format!("node-{}", slot / 25);
            let state = json!({
                "instance": format!("worker-{slot}"), "node": node, "phase": "Running", "ready": slot % 50 != 7,
                "pid": 1000, "endpoint": {"host": "host.test", "port": 5000}, "reason": text, "message": text,
                "statusText": text, "startedAt": "2026-01-01T00:00:00Z", "observedGeneration": 1, "epoch": 1,
            });
            (format!("state/{node}/worker-{slot}"), state)
        });
        let keys: Vec<(String, Value)> = nodes.chain(states).collect();
        for batch in keys.chunks(100) {
            let write = |(key, value): &(String, Value)| {
                Write::put(format!("/quaestor/default/{key}"), value.to_string())
            };
            let txn = batch
                .iter()
                .fold(Txn::new(), |txn, one| txn.then(write(one)));
            let done = self.runtime.block_on(self.store.commit(txn));
            assert!(matches!(done, Ok(Outcome::Committed(_))), "{done:?}");
        }
        let last = format!("worker-{}\"", instances - 1);
        eventually("the balancer has seen all of it", || {
            get(&self.balancer.http, "/api/board").is_some_and(|board| board.contains(&last))
        });
    }
}
