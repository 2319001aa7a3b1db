//! An agent that starts while the store is away goes on with what it finds.

use super::{Place, number_in};
use crate::support::{cluster::lives, etcd::Etcd, eventually, signal};

#[test]
fn an_agent_looks_after_what_it_finds_although_the_store_is_away() {
    let mut etcd = Etcd::start();
    let place = Place::new(etcd.endpoint());
    let _controller = place.role("controller.log", &["controller"]);
    let agent = place.agent(&[]);
    let pid = |slot: u32| number_in(&place.path(&format!("pid-worker-{slot}")));
    place.apply(&format!(
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: worker}}\n\
         spec: {{replicas: 3, command: [sh, -c, 'echo $$ > {}-$QUAESTOR_INSTANCE; exec sleep 1000']}}\n",
        place.path("pid").display()
    ));
    let slots = [0_u32, 1, 2];
    let before = slots.map(|slot| {
        let name = format!("worker-{slot}");
        place.instance(&name, "it is ready", |it| it.ready).pid
    });
    eventually("all have said who they are", || slots.map(pid) == before);

    // No store, then no agent, and one worker ends while there is neither.
    etcd.kill();
    agent.kill();
    signal(before[0].unwrap(), "KILL");
    let _agent = place.agent(&[]);
    eventually("it runs again", || {
        pid(0) != before[0] && pid(0).is_some_and(lives)
    });
    // One ends while the new agent is there.
    signal(before[1].unwrap(), "KILL");
    eventually("it runs again", || {
        pid(1) != before[1] && pid(1).is_some_and(lives)
    });
    assert_eq!(pid(2), before[2]);
    let without_store = slots.map(pid);

    // With the store back, it is told what happened, and nothing is done over.
    etcd.restart();
    for (slot, restarts) in [(0_usize, 1), (1, 1), (2, 0)] {
        place.instance(&format!("worker-{slot}"), "it is reported", |it| {
            it.ready && it.pid == without_store[slot] && it.restarts == restarts
        });
    }
    assert_eq!(slots.map(pid), without_store);

    // What was written meanwhile counts again.
    place
        .run(&["delete", "worker", "--wait"])
        .expect("it is deleted");
    assert!(without_store.iter().flatten().all(|pid| !lives(*pid)));
}
