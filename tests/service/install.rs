//! `install` and `uninstall`. The host's own systemd is never told anything here: another program of that
//! name notes what it would have been told.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::cluster::QUAESTOR;

/// A home directory, and a `systemctl` that notes what it is told.
struct Home {
    directory: tempfile::TempDir,
}

/// What a host says of itself and of a service.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/told"
case "$*" in
    *is-system-running*) cat "$HOME/state" ;;
    *is-enabled*) cat "$HOME/enabled" 2>/dev/null || echo disabled ;;
    *MainPID*) cat "$HOME/pid" 2>/dev/null || echo 0 ;;
    *--user\ enable*) echo enabled > "$HOME/enabled" ;;
esac
"#;

impl Home {
    fn new(state: &str) -> Self {
        let home = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(home.path("bin")).unwrap();
        let systemctl = home.path("bin/systemctl");
        fs::write(&systemctl, SYSTEMCTL).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        home.note("state", state);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn note(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("{text}\n")).unwrap();
    }

    fn unit(&self) -> PathBuf {
        self.path(".config/systemd/user/quaestor-agent.service")
    }

    /// The unit in whose cgroup instances with limits live.
    fn instances(&self) -> PathBuf {
        self.unit().with_file_name("quaestor-instances.service")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.path("bin").display());
        let mut command = Command::new(QUAESTOR);
        command
            .args(arguments)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("QUAESTOR_ETCD")
            .env("HOME", self.directory.path())
            .env("PATH", path);
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// It fails with that code and those words.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        for word in words {
            assert!(errors.contains(word), "`{word}` is not in:\n{errors}");
        }
    }

    /// What systemd was told to do since the last time, without questions.
    fn told(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("told")).unwrap_or_default();
        let _ = fs::remove_file(self.path("told"));
        let lines = text.lines().map(str::to_owned);
        let is_question = |line: &String| {
            ["is-system-running", "is-enabled", "show"]
                .iter()
                .any(|word| line.contains(word))
        };
        lines.filter(|line| !is_question(line)).collect()
    }
}

const AGENT: [&str; 5] = ["install", "agent", "--user", "--etcd", "http://etcd-1:2379"];
const NODE: [&str; 3] = ["--", "--node", "qa-1"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    AGENT.iter().chain(&NODE).chain(more).copied().collect()
}

#[test]
fn units_are_as_they_were_reviewed_and_systemd_accepts_them() {
    let home = Home::new("running");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/units");
    let etcd = "http://etcd-1:2379,http://etcd-2:2379";
    let cases: [(&str, &[&str]); 4] = [
        (
            "quaestor-agent",
            &[
                "agent",
                "--etcd",
                etcd,
                "--",
                "--node",
                "qa-1",
                "--label",
                "note=a b 5% $x",
            ],
        ),
        ("quaestor-controller", &["controller", "--etcd", etcd]),
        (
            "quaestor-balancer",
            &[
                "balancer",
                "--cluster",
                "qa",
                "--",
                "--listen",
                "0.0.0.0:5150",
            ],
        ),
        ("user-agent", &["agent", "--user", "--", "--node", "qa-1"]),
    ];
    for (name, arguments) in cases {
        let arguments = [&["install", "--dry-run"], arguments].concat();
        let text = home.ok(&arguments);
        let (text, beside) = match text.split_once("\n\n# Written by ") {
            Some((text, beside)) => (format!("{text}\n"), Some(format!("# Written by {beside}"))),
            None => (text, None),
        };
        if let Some(beside) = beside {
            is_as_reviewed(&golden, "quaestor-instances", &beside);
            fs::write(home.path("quaestor-instances.service"), beside).unwrap();
        }
        let shown = text.replace(QUAESTOR, "/usr/local/bin/quaestor");
        is_as_reviewed(&golden, name, &shown);
        let unit = home.path(&format!("{name}.service"));
        fs::write(&unit, &text).unwrap();
        let verified = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&unit)
            .output();
        // Not every host that builds this has it.
        if let Ok(verified) = verified {
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            let about_it: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
            assert!(about_it.is_empty(), "{said}");
        }
    }
    assert_eq!(home.told(), [""; 0]);
}

#[track_caller]
fn is_as_reviewed(golden: &Path, name: &str, shown: &str) {
    let file = golden.join(format!("{name}.service"));
    if std::env::var_os("RENEW").is_some() {
        fs::write(&file, shown).unwrap();
    }
    let wanted = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(shown, wanted, "{name}: RENEW=1 writes it anew");
}

#[test]
fn what_is_installed_once_more_changes_and_restarts_only_what_differs() {
    let home = Home::new("running");
    let unit = "quaestor-agent.service";
    let said = home.ok(&with(&[]));
    let reload = "--user daemon-reload".to_owned();
    let enable = format!("--user enable {unit}");
    let start = format!("--user start --no-block {unit}");
    assert_eq!(home.told(), [reload.clone(), enable.clone(), start.clone()]);
    assert!(home.instances().exists());
    for done in [
        "wrote",
        "daemon-reload",
        "enable",
        "start",
        "journalctl --user",
    ] {
        assert!(said.contains(done), "{done} is not in: {said}");
    }

    // It runs, as another program than this one: it was replaced since.
    home.note("pid", &std::process::id().to_string());
    let said = home.ok(&with(&[]));
    assert!(said.contains("is unchanged"), "{said}");
    let restart = format!("--user restart --no-block {unit}");
    assert_eq!(home.told(), std::slice::from_ref(&restart));

    // Other flags: another unit.
    let said = home.ok(&with(&["--address", "10.0.0.1"]));
    assert!(said.contains("changed"), "{said}");
    assert_eq!(home.told(), [reload.clone(), restart]);
    let text = fs::read_to_string(home.unit()).unwrap();
    let line = "agent --node qa-1 --address 10.0.0.1 --etcd http://etcd-1:2379\n";
    assert!(text.contains(line), "{text}");

    let said = home.ok(&["uninstall", "agent", "--user"]);
    assert_eq!(
        home.told(),
        [
            format!("--user disable --now {unit}"),
            "--user stop quaestor-instances.service".to_owned(),
            reload
        ]
    );
    assert!(said.contains("left running") && !home.unit().exists());
    assert!(!home.instances().exists());
    home.fails(
        &["uninstall", "agent", "--user"],
        1,
        &["not installed there"],
    );
}

#[test]
fn where_systemd_does_not_run_only_the_unit_is_written_and_that_is_said() {
    let home = Home::new("offline");
    let said = home.ok(&with(&[]));
    assert!(said.contains("systemctl --user enable --now quaestor-agent.service"));
    assert_eq!(home.told(), [""; 0]);
    let text = fs::read_to_string(home.unit()).unwrap();
    let elsewhere = home.path("units");
    let directory = elsewhere.to_str().unwrap();
    let place = ["install", "agent", "--unit-dir", directory];
    home.ok(&[&place[..], &NODE].concat());
    assert!(elsewhere.join("quaestor-agent.service").exists());
    home.ok(&["uninstall", "agent", "--unit-dir", directory]);
    assert!(!elsewhere.join("quaestor-agent.service").exists());
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), text);
}

#[test]
fn nonsense_is_refused_before_anything_is_written() {
    let home = Home::new("running");
    let agent = ["install", "agent", "--user", "--"];
    let with = |flags: &[&'static str]| [&agent[..], flags].concat();
    home.fails(&with(&[]), 2, &["quaestor agent", "--node"]);
    home.fails(&with(&["--node", "qa-1", "--nod"]), 2, &["--nod"]);
    home.fails(&with(&["--node", "Not A Name"]), 2, &["Not A Name"]);
    home.fails(
        &with(&["--node", "qa-1", "--state-dir", "state"]),
        1,
        &["relative", "--state-dir /"],
    );
    home.fails(&["install", "dev"], 2, &["dev", "agent"]);
    home.fails(
        &["install", "controller", "--user", "surplus"],
        2,
        &["surplus"],
    );
    fs::create_dir_all(home.unit().parent().unwrap()).unwrap();
    fs::write(home.unit(), "[Service]\n").unwrap();
    let foreign = ["was not written by `quaestor install`", "move it away"];
    home.fails(&with(&["--node", "qa-1"]), 1, &foreign);
    home.fails(&["uninstall", "agent", "--user"], 1, &foreign[..1]);
    assert_eq!(fs::read_to_string(home.unit()).unwrap(), "[Service]\n");
    assert_eq!(home.told(), [""; 0]);
}
