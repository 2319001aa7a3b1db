//! The embedded store as people meet it: through the real `etcdctl` (`$ETCDCTL`, else `etcdctl`).
//!
//! - keys: put, get, get --prefix, del
//! - watch, from now and from the past
//! - leases: grant, keep-alive, timetolive, list, revoke
//! - txn, with its guards
//! - compact
//! - endpoint status and health, member list, alarm list, defrag
//! - lock
//! - the end: open watches end with the server, at once
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start programs and wait in real time"
)]

mod support;

use std::{process::Stdio, time::Duration};

use quaestor::{host::Host, store::embedded::Embedded};
use serde_json::Value;
use support::embedded::Served;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// `etcdctl` against one store.
struct Etcdctl {
    endpoint: String,
}

impl Etcdctl {
    /// The endpoint is given as `host:port`: from a URL, etcdctl 3.4 makes an `:authority` for its
    /// maintenance calls that HTTP/2 does not allow and only Go accepts.
    fn new(served: &Served) -> Self {
        let endpoint = served.endpoint().replace("http://", "");
        Self { endpoint }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let mut command = Command::new(program);
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end; its output, or what it complains of.
    async fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut child = self
            .command(arguments)
            .spawn()
            .expect("cannot start etcdctl");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(support::PATIENCE, child.wait_with_output());
        let output = output.await.expect("etcdctl does not end").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments, "").await.unwrap()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ok(&[arguments, &["--write-out=json"]].concat()).await;
        serde_json::from_str(&output).unwrap()
    }

    /// Starts it and gives its output line by line.
    fn follow(&self, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut child = self
            .command(arguments)
            .spawn()
            .expect("cannot start etcdctl");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    }
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(support::PATIENCE, lines.next_line());
    line.await
        .expect("no line in time")
        .unwrap()
        .expect("etcdctl ended")
}

async fn start() -> (Served, Etcdctl) {
    let served = Served::start(Embedded::new(&Host::system())).await;
    let etcdctl = Etcdctl::new(&served);
    (served, etcdctl)
}

#[tokio::test]
async fn keys_are_put_got_and_deleted() {
    let (_served, etcdctl) = start().await;
    assert_eq!(etcdctl.ok(&["put", "a/1", "one"]).await, "OK\n");
    assert_eq!(etcdctl.ok(&["put", "a/2", "two"]).await, "OK\n");
    assert_eq!(etcdctl.ok(&["put", "b", "other"]).await, "OK\n");
    assert_eq!(etcdctl.ok(&["get", "a/1"]).await, "a/1\none\n");
    let all = etcdctl.ok(&["get", "--prefix", "a/"]).await;
    assert_eq!(all, "a/1\none\na/2\ntwo\n");
    let before = etcdctl.ok(&["get", "--prefix", "a/", "--rev=2"]).await;
    assert_eq!(before, "a/1\none\n");
    let last = [
        "get",
        "--prefix",
        "",
        "--keys-only",
        "--limit=1",
        "--order=DESCEND",
    ];
    assert_eq!(etcdctl.ok(&last).await, "b\n\n");
    assert_eq!(etcdctl.ok(&["del", "--prefix", "a/"]).await, "2\n");
    assert_eq!(etcdctl.json(&["get", "--from-key", ""]).await["count"], 1);
}

#[tokio::test]
async fn a_watch_prints_the_past_and_then_what_happens() {
    let (_served, etcdctl) = start().await;
    etcdctl.ok(&["put", "w/a", "1"]).await;
    let (_watch, mut lines) = etcdctl.follow(&["watch", "--prefix", "w/", "--rev=2", "--prev-kv"]);
    for expected in ["PUT", "w/a", "1"] {
        assert_eq!(line(&mut lines).await, expected);
    }
    etcdctl.ok(&["put", "w/a", "2"]).await;
    for expected in ["PUT", "w/a", "1", "w/a", "2"] {
        assert_eq!(line(&mut lines).await, expected);
    }
    etcdctl.ok(&["del", "w/a"]).await;
    for expected in ["DELETE", "w/a", "2", "w/a"] {
        assert_eq!(line(&mut lines).await, expected);
    }
}

#[tokio::test]
async fn a_lease_lives_while_it_is_kept_alive_and_ends_its_keys_when_revoked() {
    let (_served, etcdctl) = start().await;
    let granted = etcdctl.ok(&["lease", "grant", "60"]).await;
    let id = granted.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(granted, format!("lease {id} granted with TTL(60s)\n"));
    etcdctl
        .ok(&["put", "leased", "x", &format!("--lease={id}")])
        .await;
    let renewed = etcdctl.ok(&["lease", "keep-alive", "--once", &id]).await;
    assert_eq!(renewed, format!("lease {id} keepalived with TTL(60)\n"));
    let listed = etcdctl.ok(&["lease", "list"]).await;
    assert_eq!(listed, format!("found 1 leases\n{id}\n"));
    let left = etcdctl.json(&["lease", "timetolive", "--keys", &id]).await;
    assert_eq!(left["granted-ttl"], 60);
    assert_eq!(left["keys"], serde_json::json!(["bGVhc2Vk"]));
    let revoked = etcdctl.ok(&["lease", "revoke", &id]).await;
    assert_eq!(revoked, format!("lease {id} revoked\n"));
    assert_eq!(etcdctl.ok(&["get", "leased"]).await, "");
    let late = etcdctl
        .run(&["lease", "keep-alive", "--once", &id], "")
        .await;
    assert!(late.unwrap_err().contains("requested lease not found"));
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_with_its_keys() {
    let (_served, etcdctl) = start().await;
    let granted = etcdctl.ok(&["lease", "grant", "2"]).await;
    let id = granted.split_whitespace().nth(1).unwrap();
    let (_watch, mut lines) = etcdctl.follow(&["watch", "leased", "--rev=2"]);
    etcdctl
        .ok(&["put", "leased", "x", &format!("--lease={id}")])
        .await;
    for expected in ["PUT", "leased", "x", "DELETE", "leased"] {
        assert_eq!(line(&mut lines).await, expected);
    }
}

#[tokio::test]
async fn a_transaction_does_one_branch() {
    let (_served, etcdctl) = start().await;
    let txn = "version(\"t\") = \"0\"\n\nput t created\n\nget t\n\n";
    let first = etcdctl.run(&["txn"], txn).await.unwrap();
    assert_eq!(first, "SUCCESS\n\nOK\n");
    let second = etcdctl.run(&["txn"], txn).await.unwrap();
    assert_eq!(second, "FAILURE\n\nt\ncreated\n");
}

#[tokio::test]
async fn a_compacted_revision_is_refused_in_the_words_of_etcd() {
    let (_served, etcdctl) = start().await;
    for value in ["1", "2", "3"] {
        etcdctl.ok(&["put", "c", value]).await;
    }
    assert_eq!(
        etcdctl.ok(&["compact", "4"]).await,
        "compacted revision 4\n"
    );
    let read = etcdctl.run(&["get", "c", "--rev=2"], "").await.unwrap_err();
    assert!(
        read.contains("etcdserver: mvcc: required revision has been compacted"),
        "{read}"
    );
    let watch = etcdctl
        .run(&["watch", "c", "--rev=2"], "")
        .await
        .unwrap_err();
    assert!(
        watch.contains("required revision has been compacted"),
        "{watch}"
    );
}

#[tokio::test]
async fn the_member_tells_its_status_and_health() {
    let (served, etcdctl) = start().await;
    etcdctl.ok(&["put", "key", "value"]).await;
    let status = &etcdctl.json(&["endpoint", "status"]).await[0]["Status"];
    assert_eq!(status["header"]["revision"], 2);
    assert_eq!(status["leader"], status["header"]["member_id"]);
    assert_eq!(status["dbSizeInUse"], 8);
    let health = etcdctl.json(&["endpoint", "health"]).await;
    assert_eq!(health[0]["health"], true);
    let members = etcdctl.json(&["member", "list"]).await;
    assert_eq!(members["members"][0]["clientURLs"][0], served.endpoint());
    assert_eq!(etcdctl.ok(&["alarm", "list"]).await, "");
    assert!(
        etcdctl
            .ok(&["defrag"])
            .await
            .starts_with("Finished defragmenting")
    );
    let users = etcdctl.run(&["user", "list"], "").await.unwrap_err();
    assert!(users.contains("authentication is not enabled"), "{users}");
}

#[tokio::test]
async fn a_lock_is_held_by_one_at_a_time() {
    let (_served, etcdctl) = start().await;
    let (holder, mut lines) = etcdctl.follow(&["lock", "l"]);
    let first = line(&mut lines).await;
    assert!(first.starts_with("l/"), "{first}");
    let (_next, mut waiting) = etcdctl.follow(&["lock", "l"]);
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.next_line()).await;
    assert!(early.is_err(), "two hold the lock");
    // Interrupted it gives the lock back.
    support::signal(holder.id().unwrap(), "INT");
    assert_ne!(line(&mut waiting).await, first);
}

#[tokio::test]
async fn open_streams_end_with_the_server_at_once_and_its_content_outlives_it() {
    let store = Embedded::new(&Host::system());
    let served = Served::start(store.clone()).await;
    let etcdctl = Etcdctl::new(&served);
    etcdctl.ok(&["put", "kept", "yes"]).await;
    let (_watch, mut lines) = etcdctl.follow(&["watch", "kept", "--rev=2"]);
    line(&mut lines).await;
    let granted = etcdctl.ok(&["lease", "grant", "60"]).await;
    let id = granted.split_whitespace().nth(1).unwrap();
    let (_keep, mut lines) = etcdctl.follow(&["lease", "keep-alive", id]);
    line(&mut lines).await;
    let start = std::time::Instant::now();
    served.stop().await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let served = Served::start(store).await;
    let etcdctl = Etcdctl::new(&served);
    assert_eq!(etcdctl.ok(&["get", "kept"]).await, "kept\nyes\n");
}
