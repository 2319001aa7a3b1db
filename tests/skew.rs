//! Parts of two versions of the program on one cluster; `scripts/skew REF` builds the other one and runs this.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that starts programs"
)]

mod support;

use std::collections::BTreeMap;

use support::{
    cluster::{QUAESTOR, demo_workers},
    eventually,
    hosts::Hosts,
    ports::free_port,
};

/// Two hosts, one with the agent of each version; everything else is of the version `most` at first.
struct Mixed {
    hosts: Hosts,
    most: String,
    few: String,
    balancer: String,
}

impl Mixed {
    fn start(most: &str, few: &str) -> Self {
        let mut mixed = Self {
            hosts: Hosts::empty(),
            most: most.to_owned(),
            few: few.to_owned(),
            balancer: format!("127.0.0.1:{}", free_port()),
        };
        mixed.hosts.role_of(most, "controller", &["controller"]);
        let balancer = ["balancer", "--listen", &mixed.balancer];
        mixed.hosts.role_of(most, "balancer", &balancer);
        mixed.hosts.agent_of(few, "a", &[]);
        mixed.hosts.agent_of(most, "b", &[]);
        mixed.hosts.until_ready(2);
        mixed
    }

    /// What commands of both versions print.
    #[track_caller]
    fn both(&self, arguments: &[&str]) -> [String; 2] {
        [&self.most, &self.few].map(|program| self.hosts.ok_of(program, arguments))
    }

    /// Waits until the balancer answers with so many.
    #[track_caller]
    fn answers(&self, count: usize) {
        let pick = ["pick", "Worker", "-n", "99", "--balancer", &self.balancer];
        eventually("the balancer knows them", || {
            [&self.most, &self.few].iter().all(|program| {
                let answer = self.hosts.run_of(program, &pick);
                String::from_utf8(answer.stdout).unwrap().lines().count() == count
            })
        });
    }

    /// Name and process of every instance.
    fn processes(&self) -> BTreeMap<String, u64> {
        let instances = self.hosts.get("instances").into_iter();
        let process =
            |one: serde_json::Value| Some((one["name"].as_str()?.to_owned(), one["pid"].as_u64()?));
        instances.filter_map(process).collect()
    }

    /// The agent of node a is replaced by one of `program`; nothing that runs notices.
    #[track_caller]
    fn replace_agent(&mut self, program: &str) {
        let before = self.processes();
        self.hosts.kill("a");
        self.hosts.agent_of(program, "a", &[]);
        self.hosts.until("the next agent is there", |hosts| {
            hosts.log().matches("the session has begun").count() >= 3
                && hosts
                    .get("nodes")
                    .iter()
                    .all(|node| node["status"] == "Ready")
        });
        assert_eq!(self.processes(), before);
    }
}

/// `most` runs the cluster, with an agent of `few` in it.
fn together(most: &str, few: &str) {
    let mut mixed = Mixed::start(most, few);
    let first = demo_workers(4, "  rollout: {maxUnavailable: 2}\n");
    let file = mixed.hosts.manifest("worker", &first);
    mixed.hosts.ok_of(most, &["apply", "-f", &file, "--wait"]);
    mixed.answers(4);
    mixed.both(&["get", "nodes"]);
    mixed.both(&["describe", "service", "worker"]);
    for program in [most, few] {
        // Demo workers print nothing; what is said of them comes beside that.
        let said = mixed.hosts.run_of(program, &["logs", "worker"]).stderr;
        let said = String::from_utf8(said).unwrap();
        let starts = said.matches("[quaestor] started").count();
        assert_eq!(starts, 4, "{program}: {said}");
    }

    // A rollout that was asked for by the other version.
    let before = mixed.processes();
    let second = first.replace("demo-worker,", "demo-worker, --capacity, \"7\",");
    let file = mixed.hosts.manifest("worker", &second);
    mixed.hosts.ok_of(few, &["apply", "-f", &file, "--wait"]);
    let after = mixed.processes();
    assert!(
        before.iter().all(|(name, pid)| after[name] != *pid),
        "{before:?} {after:?}"
    );
    mixed.answers(4);

    // The agent is upgraded or downgraded, and what it runs goes on; then it is steered by the new one.
    let (most, few) = (most.to_owned(), few.to_owned());
    mixed.replace_agent(&most);
    mixed.hosts.ok_of(&few, &["restart", "worker", "--wait"]);
    mixed.replace_agent(&few);
    mixed.answers(4);

    // So is the controller.
    assert!(mixed.hosts.stop("controller"));
    mixed.hosts.role_of(&few, "controller", &["controller"]);
    mixed
        .hosts
        .ok_of(&most, &["rollout", "undo", "worker", "--wait"]);
    mixed
        .hosts
        .ok_of(&few, &["scale", "worker", "--replicas", "3", "--wait"]);
    mixed.answers(3);
    mixed.hosts.ok_of(&most, &["delete", "worker", "--wait"]);
    mixed
        .hosts
        .until("nothing is left", |hosts| hosts.get("instances").is_empty());
    let log = mixed.hosts.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
#[ignore = "needs another version of the program: scripts/skew"]
fn a_cluster_of_this_version_goes_on_with_parts_of_the_other_one() {
    together(QUAESTOR, &other());
}

#[test]
#[ignore = "needs another version of the program: scripts/skew"]
fn a_cluster_of_the_other_version_goes_on_with_parts_of_this_one() {
    together(&other(), QUAESTOR);
}

fn other() -> String {
    std::env::var("QUAESTOR_OTHER").expect("scripts/skew names another build of the program")
}
