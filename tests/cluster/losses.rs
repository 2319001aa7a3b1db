//! Members of the store are lost: one of three, then most of them.

use std::time::{Duration, Instant};

use crate::{
    network::{HOSTS, Wire},
    world::{SESSION, World, node},
};

#[test]
fn without_the_leading_member_of_three_and_with_a_frozen_one_everything_goes_on() {
    let mut world = World::start(Wire::Proxies);
    let before = world.settle(3);
    let begun = Instant::now();
    let lost = world.members.leader(&world.network);
    world.members.kill(lost);
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    let after = world.recorder.living();
    assert!(before.iter().all(|process| after.contains(process)));
    world.members.launch(&world.network, lost);
    world.members.await_all(&world.network);
    // Another one answers nothing, and refuses nothing either: the one that was away has caught up and counts.
    let next = world.members.leader(&world.network);
    world.members.signal(next, "STOP");
    world.apply(&world.workers(5, ""));
    world.await_workers(5);
    let last = world.recorder.living();
    assert!(after.iter().all(|process| last.contains(process)));
    for host in HOSTS {
        assert_eq!(world.node_status(&node(host)), "Ready");
    }
    world.members.signal(next, "CONT");
    world.members.await_all(&world.network);
    world.check_untouched(&last);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}

#[test]
fn while_most_members_are_away_nothing_stops_and_all_is_answered() {
    let mut world = World::start(Wire::Proxies);
    let before = world.settle(3);
    let begun = Instant::now();
    for host in [1, 2] {
        world.members.kill(host);
    }
    let told = world.quaestor(&["get", "nodes"]);
    assert!(!told.status.success(), "{told:?}");
    assert!(
        String::from_utf8_lossy(&told.stderr).contains("the store cannot be reached"),
        "{told:?}"
    );
    // For longer than any session, and than the grace of a node.
    while begun.elapsed() < SESSION + Duration::from_secs(6) {
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(world.recorder.living().len(), 3);
    }
    world.check_untouched(&before);
    for host in [1, 2] {
        world.members.launch(&world.network, host);
    }
    world.members.await_all(&world.network);
    world.await_workers(3);
    world.check_untouched(&before);
    // And all goes on.
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    let after = world.recorder.living();
    assert!(before.iter().all(|process| after.contains(process)));
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}
