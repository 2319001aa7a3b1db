//! What tests share: real etcds, a stock client, and waiting for conditions.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start programs and wait in real time"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub
)]

pub mod balancer;
pub mod cluster;
pub mod embedded;
pub mod etcd;
pub mod figures;
pub mod hosts;
pub mod http;
pub mod ports;
pub mod proxy;
pub mod python;

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails. Generous: machines are slow, and a test
/// that holds never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; panics with `what` when it does not in time.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// The same, for what takes its time.
#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "not in {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same for a condition that is awaited.
pub async fn eventually_async<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends a signal to a process, by its name as `kill` knows it: `KILL`, `STOP`. The shell's own `kill`:
/// a small system has no program of that name.
#[track_caller]
pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$1""#, name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "cannot send {name} to {pid}");
}

/// How much a script asked for by an environment variable; `few` where none did, as in CI.
pub fn number(variable: &str, few: usize) -> usize {
    std::env::var(variable).map_or(few, |text| text.parse().unwrap())
}
