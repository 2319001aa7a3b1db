//! No call of a stock client fails while all instances are restarted again and again.

use std::time::Instant;

use crate::{
    client::together,
    setting::Setting,
    support::{
        cluster::demo_workers,
        figures::{self, Bar},
        number,
    },
};

#[test]
fn no_call_fails_while_all_instances_and_a_balancer_are_restarted() {
    // `scripts/bench xds` asks for more.
    let restarts = number("QUAESTOR_TEST_XDS_RESTARTS", 3);
    // A client that lost its balancer takes seconds to ask another one, and meanwhile knows of no new instance: `minReady`
    // is what keeps old ones for it. Some clients close a connection that they do not use only after seconds, which a worker waits for.
    let manifest = demo_workers(
        6,
        "  stop: {drain: 10s, grace: 1s}\n  rollout: {maxUnavailable: 2, minReady: 3s}\n",
    )
    .replace("demo-worker,", "demo-worker, --capacity, \"64\",");
    let mut setting = Setting::cluster(2, &manifest);
    let mut clients = setting.clients();
    together(&mut clients, |client| client.begin());
    let start = Instant::now();
    let mut calls = vec![0; clients.len()];
    for number in 0..restarts {
        if number == restarts / 2 {
            setting.kill_balancer(0);
            setting.start_balancer(0);
        }
        setting.ok(&["restart", "worker", "--wait"]);
        for (client, calls) in clients.iter_mut().zip(&mut calls) {
            let seen = client.seen();
            assert_eq!(seen.errors, [""; 0], "{} in restart {number}", client.kind);
            *calls += seen.by.values().sum::<u64>();
        }
    }
    for (client, calls) in clients.iter().zip(calls) {
        let took = start.elapsed();
        println!(
            "{}: {calls} calls, 0 failed, {restarts} restarts of 6 in {took:?}",
            client.kind
        );
        let name = format!(
            "{}, {restarts} rolling restarts, a balancer killed: failed of {calls} calls",
            client.kind
        );
        figures::bar(&name, 0.0, "", Bar::AtMost(0.0));
        assert!(calls > 0);
    }
}
