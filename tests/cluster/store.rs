//! What becomes of the store's content: compacted while somebody is away, full, deleted by hand, restored from a backup.

use std::time::Instant;

use crate::{
    network::{OUTSIDE, Wire},
    support::signal,
    world::World,
};

#[test]
fn who_was_away_during_a_compaction_notices_what_is_gone() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(5);
    let begun = Instant::now();
    // An agent and the balancer.
    for host in [1, OUTSIDE] {
        world.network.sever(host);
    }
    world.apply(&world.workers(2, ""));
    world.until("what the others ran is gone", |world| {
        let states = world
            .members
            .keys(&world.network, "/quaestor/default/state/");
        states
            .keys()
            .all(|key| key.contains("/n1/") || key.ends_with("-0") || key.ends_with("-1"))
    });
    world.members.compact(&world.network);
    for host in [1, OUTSIDE] {
        world.network.join(host);
    }
    world.await_workers(2);
    world.until("two processes are left", |world| {
        world.recorder.living().len() == 2
    });
    let after = world.recorder.living();
    assert!(after.iter().all(|process| before.contains(process)));
    for name in ["n1", "b1"] {
        let log = world.log(name);
        assert!(log.contains("compacted"), "{name}: {log}");
    }
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 2);
}

#[test]
fn while_the_store_is_full_nothing_stops_and_what_ends_is_started_again() {
    let world = World::with_quota(Wire::Proxies, Some(4 << 20));
    let before = world.settle(3);
    let begun = Instant::now();
    world.members.fill(&world.network);
    let file = world.state("full.yaml");
    std::fs::write(&file, world.workers(1, "")).unwrap();
    let refused = world.quaestor(&["apply", "-f", file.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && errors.contains("the store is full (NOSPACE)"),
        "{errors}"
    );
    // Health is the agent's own business.
    let killed = &before[0];
    signal(killed.pid, "KILL");
    world.until("another one in its place", |world| {
        world.recorder.count(&killed.instance) == 2 && world.recorder.living().len() == 3
    });
    let now = world.recorder.living();
    assert!(before[1..].iter().all(|process| now.contains(process)));
    world.until("its agent says why that is not told", |world| {
        world.log(&killed.node).contains("the store is full")
    });

    world.members.make_room(&world.network);
    world.until("the restart is told", |world| {
        let instances = world.get("instances");
        instances.iter().any(|one| {
            one["name"] == killed.instance.as_str() && one["restarts"] == 1 && one["ready"] == true
        })
    });
    world.check_untouched(&now);
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 2);
}

#[test]
fn what_is_deleted_by_hand_stops_nothing() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(3);
    let begun = Instant::now();
    world.etcdctl(&["del", "--prefix", "/quaestor/default/assign/"]);
    world.until("all is assigned again", |world| {
        let prefix = "/quaestor/default/assign/";
        world.members.keys(&world.network, prefix).len() == 3
    });
    world.check_untouched(&before);
    world.etcdctl(&["del", "--prefix", "/quaestor/default/spec/"]);
    world.until("it is told, and asked", |world| {
        let status = world.ok(&["cluster", "status"]);
        status.contains("cluster confirm vanished")
    });
    world.check_untouched(&before);
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    let after = world.recorder.living();
    assert!(before.iter().all(|process| after.contains(process)));
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}

#[test]
fn after_the_restore_of_a_backup_nothing_is_done_before_an_operator_says_so() {
    let mut world = World::start(Wire::Proxies);
    world.settle(2);
    let backup = world.members.snapshot(&world.network);
    let before = world.settle(4);
    let begun = Instant::now();
    world.members.restore(&world.network, &backup);
    world.until("it is told, and asked", |world| {
        let status = world.quaestor(&["cluster", "status"]);
        String::from_utf8_lossy(&status.stdout).contains("cluster confirm restore")
    });
    // The backup wants two, and this one; nobody has said yet that it counts.
    world.apply(&world.workers(1, ""));
    world.check_untouched(&before);
    world.ok(&["cluster", "confirm", "restore"]);
    world.await_workers(1);
    world.until("one process is left", |world| {
        world.recorder.living().len() == 1
    });
    let after = world.recorder.living();
    assert!(before.contains(&after[0]));
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 1);
}
