//! Against directories that look like a system's.

use std::fs;

use super::*;
use crate::host::{LocalDisk, SystemClock};

/// A system with one cgroup, in which this program lives.
struct Machine {
    directory: tempfile::TempDir,
}

const UUID: &str = "5eed";

impl Machine {
    /// Its cgroup is that of `name`, and knows `controllers`.
    fn new(name: &str, controllers: &str) -> Self {
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let root = machine.directory.path().join("fs");
        machine.write("proc/self/cgroup", &format!("0::/{name}\n"));
        let mount = format!("1 0 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.display());
        machine.write("proc/self/mountinfo", &mount);
        let pid = std::process::id();
        for (file, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.events", "populated 1\n"),
            ("cgroup.procs", &format!("{pid}\n")),
            ("cgroup.subtree_control", ""),
            // The system makes these when the directories are made.
            ("agent/cgroup.procs", ""),
            ("quaestor/cgroup.subtree_control", ""),
        ] {
            machine.write(&format!("fs/{name}/{file}"), text);
        }
        machine
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.directory.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Lets the cgroup of [`place`] have these control files.
    fn with(&self, files: &[&str]) {
        for file in files {
            self.write(&format!("fs/box/quaestor/web-0.{UUID}/{file}"), "");
        }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.path().join("fs/box").join(file)).unwrap()
    }

    fn limit(&self, file: &str) -> String {
        self.read(&format!("quaestor/web-0.{UUID}/{file}"))
    }

    fn cgroups(&self) -> Cgroups {
        Cgroups::new(Arc::new(LocalDisk), &self.directory.path().join("proc"))
    }

    fn told(&self, resources: &Resources) -> Option<String> {
        self.cgroups().confine(&place(), resources).unenforced
    }
}

fn place() -> Place {
    Place {
        directory: "/run/quaestor/web-0".into(),
        uuid: UUID.to_owned(),
    }
}

fn resources(memory: &str, cpu: f64) -> Resources {
    Resources {
        memory: memory.parse().ok(),
        cpu: Some(cpu),
    }
}

const ALL: [&str; 4] = [
    "memory.max",
    "memory.swap.max",
    "memory.oom.group",
    "cpu.max",
];

#[test]
fn limits_are_written_into_a_cgroup_of_its_own_and_may_change() {
    let machine = Machine::new("box", "cpu memory\n");
    machine.with(&ALL);
    let cgroups = machine.cgroups();
    let confined = cgroups.confine(&place(), &resources("512MiB", 1.5));
    let cgroup = machine.directory.path().join("fs/box/quaestor/web-0.5eed");
    assert_eq!(
        confined,
        Confined {
            cgroup: Some(cgroup),
            unenforced: None
        }
    );
    let limits = || ALL.map(|file| machine.limit(file));
    assert_eq!(limits(), ["536870912", "0", "1", "150000 100000"]);
    // This program has made way for it.
    let pid = std::process::id().to_string();
    assert_eq!(machine.read("agent/cgroup.procs"), pid);
    assert_eq!(machine.read("cgroup.subtree_control"), "+cpu");
    assert_eq!(machine.read("quaestor/cgroup.subtree_control"), "+cpu");

    let less = Resources {
        memory: None,
        cpu: Some(0.25),
    };
    machine.with(&ALL);
    assert_eq!(cgroups.confine(&place(), &less).unenforced, None);
    assert_eq!(limits(), ["max", "max", "1", "25000 100000"]);
}

#[test]
fn what_is_not_enforced_is_said_with_its_cause_and_a_remedy() {
    let machine = Machine::new("box", "cpu\n");
    machine.with(&["cpu.max"]);
    let told = machine.told(&resources("512MiB", 1.0)).unwrap();
    assert!(
        told.starts_with(
            "resources.memory is not enforced on this node: the controller `memory` is not in `"
        ) && told.ends_with("boot with cgroup_no_v1=all, or have it delegated to the agent"),
        "{told}"
    );
    assert_eq!(machine.limit("cpu.max"), "100000 100000");

    let told = Machine::new("box", "")
        .told(&resources("1GiB", 1.0))
        .unwrap();
    assert_eq!(
        told.matches("not enforced on this node").count(),
        2,
        "{told}"
    );

    let nothing = tempfile::tempdir().unwrap();
    let told = Cgroups::new(Arc::new(LocalDisk), nothing.path())
        .confine(&place(), &resources("1GiB", 1.0));
    assert_eq!(
        told.unenforced.as_deref(),
        Some(
            "resources.memory and resources.cpu are not enforced on this node: this host has no cgroup v2 \
             mounted; boot it with systemd.unified_cgroup_hierarchy=1"
        )
    );
    assert_eq!(told.cgroup, None);
}

#[test]
fn an_agent_that_is_not_alone_in_its_cgroup_divides_nothing() {
    let machine = Machine::new("box", "cpu memory\n");
    machine.write("fs/box/cgroup.procs", "1\n2\n");
    let told = machine.told(&resources("1GiB", 1.0)).unwrap();
    assert!(told.contains("not alone in its cgroup"), "{told}");
    assert_eq!(machine.read("agent/cgroup.procs"), "");
    assert_eq!(machine.read("cgroup.subtree_control"), "");
}

#[test]
fn under_systemd_instances_live_in_a_unit_of_their_own_whose_keeper_makes_way() {
    let machine = Machine::new("quaestor-agent.service", "cpu memory\n");
    let told = machine.told(&resources("1GiB", 1.0)).unwrap();
    assert!(
        told.contains("quaestor-instances.service") && told.contains("quaestor install agent"),
        "{told}"
    );
    for (file, text) in [
        ("cgroup.controllers", "cpu memory\n"),
        ("cgroup.events", "populated 1\n"),
        ("cgroup.procs", "77\n"),
        ("cgroup.subtree_control", ""),
        ("keeper/cgroup.procs", ""),
        ("quaestor/cgroup.subtree_control", ""),
    ] {
        machine.write(&format!("fs/quaestor-instances.service/{file}"), text);
    }
    for file in ALL {
        let path = format!("fs/quaestor-instances.service/quaestor/web-0.{UUID}/{file}");
        machine.write(&path, "");
    }
    assert_eq!(machine.told(&resources("1GiB", 1.0)), None);
    let keeper = "../quaestor-instances.service/keeper/cgroup.procs";
    fs::create_dir_all(machine.directory.path().join("fs/box")).unwrap();
    assert_eq!(machine.read(keeper), "77");
}

#[tokio::test]
async fn what_is_cleared_is_gone_and_who_has_no_cgroup_is_left_alone() {
    let machine = Machine::new("box", "");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let cgroups = machine.cgroups();
    cgroups.clear(&place(), &clock).await;
    let cgroup = cgroups.confine(&place(), &resources("1GiB", 1.0)).cgroup;
    let cgroup = cgroup.unwrap();
    assert!(cgroup.is_dir());
    cgroups.clear(&place(), &clock).await;
    assert!(!cgroup.exists());
}
