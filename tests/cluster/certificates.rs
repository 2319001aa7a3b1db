//! A certificate expires while its owner runs.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::{
    ground::{Ground, quaestor},
    support::{
        cluster::{demo_workers, lives},
        eventually,
        ports::free_port,
    },
};

/// How long the short-lived one lasts: long enough for it to be noticed, and used.
const LASTS: Duration = Duration::from_secs(12);

#[test]
fn an_agent_with_an_expired_certificate_is_refused_and_comes_back_with_a_new_one() {
    let mut ground = Ground::with_etcd(3);
    let plain = format!("127.0.0.1:{}", free_port());
    ground.start_roles(&["--anonymous", "--plain", &plain]);
    ground.apply_as("operator.ann", &demo_workers(2, ""));
    let pids = |ground: &Ground| -> Vec<u64> {
        let told = ground.run_as("operator.ann", &["get", "instances", "-o", "json"]);
        let instances: Vec<Json> = serde_json::from_slice(&told.stdout).unwrap_or_default();
        let ready = instances.iter().filter(|one| one["ready"] == true);
        ready.filter_map(|one| one["pid"].as_u64()).collect()
    };
    let before = pids(&ground);
    assert_eq!(before.len(), 2);
    let in_use = |ground: &Ground| {
        let log = ground.log("agent.h1");
        log.matches("new certificates are in use").count()
    };

    ground.issue(&["agent", "h1", "--renew", "--lasts", "12s"]);
    let issued = Instant::now();
    eventually("the short one is in use", || in_use(&ground) == 1);
    eventually("it has expired", || issued.elapsed() > LASTS);
    // A connection that is there stays; it is judged when the next one is made.
    for member in 0..3 {
        ground.kill_member(member);
        ground.start_member(member);
    }
    eventually("its agent says why it is refused", || {
        let log = ground.log("agent.h1");
        log.contains("does not take our certificate") && log.contains("(agent.h1, until ")
    });
    let alive = |pid: &u64| lives(u32::try_from(*pid).unwrap());
    assert!(before.iter().all(alive), "{}", ground.log("agent.h1"));

    ground.issue(&["agent", "h1", "--renew"]);
    eventually("the new one is in use", || in_use(&ground) == 2);
    eventually("its agent is there", || {
        let nodes = ground.run_as("operator.ann", &["get", "nodes", "-o", "json"]);
        String::from_utf8_lossy(&nodes.stdout).contains("\"Ready\"")
    });
    eventually("all are ready", || pids(&ground).len() == 2);
    assert_eq!(pids(&ground), before, "none was started anew");
    // The balancer was there all the time, and answers those that need no certificate.
    assert!(
        quaestor(&["pick", "Worker", "--balancer", &plain])
            .status
            .success()
    );
}
