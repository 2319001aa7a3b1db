//! A client of etcd that others wrote (aetcd, of PyPI) against the embedded store: its own tests, as they are. All of them pass
//! on a real etcd (`QUAESTOR_TEST_FOREIGN_STORE=host:port` runs them there).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

#[path = "../support/mod.rs"]
mod support;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use futures::future::join_all;
use quaestor::{host::Host, store::embedded::Embedded};
use support::embedded::Served;
use tokio::process::Command;

/// Its files of tests of a store. Each gets a store of its own, so that they need not wait for each other.
const FILES: [&str; 6] = ["cluster", "kv", "lease", "lock", "maintenance", "watch"];

/// What the embedded store does not claim to have, and how it says so: UNIMPLEMENTED. The file of tests of users and
/// passwords is left out for the same reason: `auth`.
const SKIPPED: [(&str, &str); 6] = [
    ("maintenance.py::test_create_alarm_all_members", NO_ALARMS),
    (
        "maintenance.py::test_create_alarm_specific_member",
        NO_ALARMS,
    ),
    ("maintenance.py::test_list_alarms", NO_ALARMS),
    ("maintenance.py::test_disarm_alarm", NO_ALARMS),
    (
        "maintenance.py::test_hash",
        "there is no file to make a hash of",
    ),
    ("maintenance.py::test_snapshot", "there is no file to copy"),
];

const NO_ALARMS: &str = "a store in memory is never full, and an alarm cannot be raised by hand";

/// How many tests there are to pass, at least: so that none is lost unnoticed.
const LEAST: usize = 54;

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_a_foreign_client_pass_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    // Its tests call `etcdctl` by that name.
    let etcdctl = env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    if Path::new(&etcdctl).is_absolute() {
        std::os::unix::fs::symlink(&etcdctl, directory.path().join("etcdctl")).unwrap();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(directory.path().to_owned()).chain(env::split_paths(&path));
    let path = env::join_paths(path).unwrap();
    let passed = join_all(FILES.map(|file| tests(file, &path))).await;
    let passed: usize = passed.into_iter().sum();
    println!("{passed} tests passed; left out:");
    for (test, why) in SKIPPED {
        println!("  {test}: {why}");
    }
    assert!(passed >= LEAST, "{passed} passed");
}

/// Runs those of one file; how many passed. All must.
async fn tests(file: &str, path: &OsString) -> usize {
    let foreign = env::var_os("QUAESTOR_TEST_FOREIGN_STORE");
    let served = match foreign {
        None => Some(Served::start(Embedded::new(&Host::system())).await),
        Some(_) => None,
    };
    let endpoint = match &served {
        Some(served) => served.endpoint(),
        None => format!("http://{}", foreign.unwrap_or_default().display()),
    };
    let root = client();
    let mut command = Command::new(root.join("python3"));
    command.args(["-m", "pytest", "-q", "--asyncio-mode=auto"]);
    // Its settings ask for a report of coverage, which nobody reads here.
    command.args(["-p", "no:cacheprovider", "-o", "addopts="]);
    command.arg(format!("tests/integration/test_{file}.py"));
    if served.is_some() {
        for (test, _) in SKIPPED {
            command.arg("--deselect");
            command.arg(format!("tests/integration/test_{test}"));
        }
    }
    command.env("TEST_ETCD_HTTP_URL", &endpoint);
    command.env("PATH", path).current_dir(root.join("source"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {told}{errors}");
    let last = told.lines().last().unwrap_or_default();
    let words: Vec<&str> = last.split([' ', ',']).collect();
    let passed = words.windows(2).find(|pair| pair[1] == "passed");
    passed.map_or(0, |pair| pair[0].parse().unwrap())
}

/// Where it lies: `$QUAESTOR_TEST_FOREIGN_CLIENT`, else where `scripts/prepare` puts it.
fn client() -> PathBuf {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/foreign-client");
    env::var_os("QUAESTOR_TEST_FOREIGN_CLIENT").map_or_else(|| fetched.into(), PathBuf::from)
}
