//! Pids that were ours and now are others', in a pid namespace of the test's own, where the next pid can be chosen.

#![allow(clippy::disallowed_methods, reason = "a test that starts programs")]

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::*;
use support::eventually_async;

/// Set within the namespace.
const INSIDE: &str = "QUAESTOR_TEST_PID_NAMESPACE";

/// A new pid namespace with a `/proc` of its own; what it runs last ends it.
fn namespace() -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        // The first process there, which buries orphans.
        .args(["/bin/sh", "-c", r#""$@"; exit $?"#, "sh"])
        .stdin(Stdio::null());
    command
}

#[tokio::test]
async fn who_has_a_pid_that_was_ours_is_left_alone() {
    if env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    let possible = namespace().args(["test", "-w", NEXT]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: this needs root, and `unshare` of util-linux");
        return;
    }
    let name = "pid_reuse::who_has_a_pid_that_was_ours_is_left_alone";
    let output = namespace()
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// The pid before the next.
const NEXT: &str = "/proc/sys/kernel/ns_last_pid";

/// A process of nobody's that has `pid`.
fn stranger(pid: u32) -> Child {
    for _ in 0..100 {
        fs::write(NEXT, (pid - 1).to_string()).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        if child.id() == pid {
            return child;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("pid {pid} is not to be had");
}

async fn inside() {
    let world = World::new();
    let Started { process, ended } = world.start(1, "exec sleep 1000").await;
    let pids = [process.pid(), support::cluster::parent(process.pid())];
    support::signal(pids[1], "KILL");
    eventually_async("both are gone, and buried", async || {
        !(pids.iter()).any(|pid| Path::new("/proc").join(pid.to_string()).exists())
    })
    .await;
    let strangers = pids.map(stranger);

    // Whoever had it in hand, whoever finds the records, and whoever starts the next or forgets it all.
    let _ = process.signal(StopSignal::SigKill);
    assert_eq!(ended.await, End::UNKNOWN);
    let _ = process.signal(StopSignal::SigKill);
    let found = another().find(&world.place).await.unwrap();
    let Found::Idle { last } = found else {
        panic!("a stranger is taken for ours")
    };
    assert_eq!(last, Some((1, End::UNKNOWN)));
    let second = world.start(2, "exec sleep 1000").await;
    assert!(!pids.contains(&second.process.pid()));
    second.process.signal(StopSignal::SigKill).unwrap();
    assert_eq!(how(second.ended.await), (None, Some(9)));
    another().forget(&world.place).await.unwrap();
    for mut stranger in strangers {
        assert!(stranger.try_wait().unwrap().is_none(), "it was killed");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
