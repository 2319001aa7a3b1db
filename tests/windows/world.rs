//! A place for processes, and the programs that run there.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::PathBuf,
    time::{Duration, Instant},
};

use quaestor::{
    host::Host,
    process::{Place, Processes as _, Program, ShimProcesses, Started, environment},
};

/// How long a condition may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of what was killed.
pub(crate) const KILLED: Option<i32> = Some(137);

pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A place, and the shims that serve it until the test is over.
pub(crate) struct World {
    pub(crate) processes: Option<ShimProcesses>,
    pub(crate) place: Place,
    logs: PathBuf,
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("with a blank")
            .tempdir()
            .unwrap();
        let place = Place {
            directory: directory.path().join("worker 0"),
            uuid: Host::system().entropy.uuid(),
        };
        Self {
            processes: Some(another()),
            place,
            logs: directory.path().join("logs"),
            directory,
        }
    }

    pub(crate) fn processes(&self) -> &ShimProcesses {
        self.processes.as_ref().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// This test program in a role.
    pub(crate) fn role(&self, role: &str, variables: &[(&str, &str)]) -> Program {
        let this = std::env::current_exe().unwrap();
        let this = this.to_str().unwrap();
        let mut program = self.program(&[this, "--nocapture", "actor::acting", "--exact"]);
        for (name, value) in [("ACT", role)].iter().chain(variables) {
            let environment = &mut program.environment;
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        program
    }

    /// Any program.
    pub(crate) fn program(&self, arguments: &[&str]) -> Program {
        fs::create_dir_all(&self.logs).unwrap();
        Program {
            secrets: BTreeMap::new(),
            pre_start: None,
            notify: None,
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            environment: environment::inherited(),
            working_directory: self.directory.path().to_owned(),
            identity: None,
            logon: None,
            umask: Default::default(),
            limits: Default::default(),
            resources: Default::default(),
            nice: None,
            oom_score_adjust: None,
            stop_within: None,
            logs: self.logs.clone(),
            log_limits: Default::default(),
            stop: Default::default(),
        }
    }

    pub(crate) async fn start(&self, incarnation: u64, program: &Program) -> Started {
        let started = self.processes().start(&self.place, incarnation, program);
        started.await.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.logs.join("current.log")).unwrap_or_default();
        String::from_utf8(log).unwrap()
    }

    pub(crate) async fn until_logged(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < PATIENCE, "no `{text}` in {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether a process holds that file.
    pub(crate) fn is_held(&self, name: &str) -> bool {
        let file = OpenOptions::new().write(true).open(self.path(name));
        file.is_ok_and(|file| file.try_lock().is_err())
    }

    pub(crate) async fn end(&self) {
        another().forget(&self.place).await.unwrap();
    }
}

/// As the next agent has them.
pub(crate) fn another() -> ShimProcesses {
    ShimProcesses::by(beside("quaestor-shim.exe"), &Host::system())
}

/// A program of ours: beside the folder that this one is in, as cargo does not say where for another system.
pub(crate) fn beside(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.parent().unwrap().parent().unwrap().join(name)
}
