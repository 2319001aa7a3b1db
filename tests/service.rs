//! The roles as services of a host, as real programs: what they tell the service manager, and what an
//! agent does without the store.
//!
//! 1. [`install`]: units, and what systemd is told
//! 2. [`notify`]: ready, status, signs of life
//! 3. [`own_manifests`]: services that the agent runs without the store, the store itself for one
//! 4. [`store_away`]: an agent that starts while the store is away
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs as they like"
)]

#[path = "service/install.rs"]
mod install;
#[path = "service/notify.rs"]
mod notify;
#[path = "service/own_manifests.rs"]
mod own_manifests;
#[path = "service/store_away.rs"]
mod store_away;
mod support;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use support::{
    cluster::{Instance, QUAESTOR, kill_shims},
    eventually,
};

/// A running role; killed when dropped.
struct Role {
    child: Child,
}

impl Role {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a service manager does; whether it ended well.
    fn terminate(mut self) -> bool {
        support::signal(self.pid(), "TERM");
        self.child.wait().unwrap().success()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for everything, and the store's URL. What agents leave behind ends when it is dropped.
struct Place {
    directory: tempfile::TempDir,
    store: String,
}

impl Place {
    fn new(store: String) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            store,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env("QUAESTOR_ETCD", &self.store)
            .stdin(Stdio::null());
        command
    }

    /// Starts a role that logs to the file of that name.
    fn role(&self, log: &str, arguments: &[&str]) -> Role {
        self.start(log, self.command(arguments))
    }

    fn start(&self, log: &str, mut command: Command) -> Role {
        let mut file = std::fs::OpenOptions::new();
        let file = file.append(true).create(true).open(self.path(log)).unwrap();
        command.stdout(Stdio::null()).stderr(file);
        Role {
            child: command.spawn().unwrap(),
        }
    }

    /// Starts the agent of node `n1` with `more` arguments.
    fn agent(&self, more: &[&str]) -> Role {
        let state = self.path("state");
        let arguments = ["agent", "--node", "n1", "--state-dir"];
        let arguments = [&arguments[..], &[state.to_str().unwrap()], more].concat();
        self.role("agent.log", &arguments)
    }

    /// Runs a command; what it printed, if it succeeded.
    fn run(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(text)
    }

    /// Applies `manifests`, for as long as the store is not there.
    fn apply(&self, manifests: &str) {
        let file = self.path("applied.yaml");
        std::fs::write(&file, manifests).unwrap();
        eventually("it is applied", || {
            self.run(&["apply", "-f", file.to_str().unwrap()]).is_some()
        });
    }

    /// The instance of that name, once `condition` holds of it.
    #[track_caller]
    fn instance(&self, name: &str, what: &str, condition: impl Fn(&Instance) -> bool) -> Instance {
        let mut found = None;
        eventually(&format!("{name}: {what}"), || {
            let text = self.run(&["get", "instances", name, "-o", "json"]);
            let all: Vec<Instance> = text
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default();
            found = all.into_iter().find(|it| it.name == name && condition(it));
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("agent.log"));
            eprintln!("--- log of the agent ---\n{}", log.unwrap_or_default());
        }
        kill_shims(self.directory.path());
    }
}

/// The number in a file; none while there is no whole one.
fn number_in(file: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(file).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}
