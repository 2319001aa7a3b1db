//! Hosts are cut off: their agents, workers and members of the store.

use std::time::{Duration, Instant};

use crate::{
    network::{HOSTS, Wire},
    recorder::Process,
    world::{GRACE, World, node},
};

/// How long a node with a singleton has to be away before that is replaced, its time to stop apart.
const SELF_STOP: Duration = Duration::from_secs(25);

/// The grace of its stop.
const STOP: Duration = Duration::from_secs(2);

#[test]
fn what_a_host_that_is_cut_off_ran_is_replaced_and_a_singleton_never_runs_twice() {
    let mut world = World::start(Wire::Spaces);
    world.apply(&(world.workers(3, "") + &world.single("")));
    world.await_workers(3);
    world.until("the single one is ready", |world| {
        world.ready("single") == 1
    });
    let before = world.recorder.living();
    assert_eq!(before.len(), 4);
    let single = before.iter().find(|one| one.instance == "single-0");
    let single = single.unwrap();
    let beside = |one: &&Process| one.node == single.node && one != &single;
    let worker = before.iter().find(beside).unwrap();
    let lost = HOSTS.into_iter().find(|host| node(*host) == single.node);
    let lost = lost.unwrap();

    let cut = Instant::now();
    world.network.cut_off(lost);
    world.until("another worker in its place", |world| {
        let living = world.recorder.living();
        let mut alike = living.iter().filter(|one| one.instance == worker.instance);
        alike.any(|one| one.node != worker.node)
    });
    assert!(cut.elapsed() > GRACE, "{:?}", cut.elapsed());
    world.until("the node is lost", |world| {
        world.node_status(&node(lost)) == "Lost"
    });
    assert!(
        world.recorder.living().contains(worker),
        "what is cut off runs on"
    );
    world.until("the single one has stopped by itself", |world| {
        !world.recorder.living().contains(single)
    });
    assert_eq!(world.recorder.count("single-0"), 1, "not replaced yet");
    world.until("the single one runs elsewhere", |world| {
        world.ready("single") == 1
            && (world.recorder.living().iter())
                .any(|one| one.instance == "single-0" && one.node != node(lost))
    });
    let replaced = cut.elapsed();
    assert!(replaced > SELF_STOP + STOP, "{replaced:?}");
    world.until("three workers are answered", |world| {
        world
            .recorder
            .answer()
            .is_some_and(|places| places.len() == 3)
    });
    let settled = world.recorder.living();

    world.network.take_back(lost);
    world.until("the surplus is gone", |world| {
        !world.recorder.living().contains(worker)
    });
    world.until("the node is ready", |world| {
        world.node_status(&node(lost)) == "Ready"
    });
    world.await_workers(3);
    let others: Vec<_> = settled.into_iter().filter(|one| one != worker).collect();
    world.check_untouched(&others);
    assert_eq!(world.recorder.count("single-0"), 2);
    world.recorder.check(&["single-0"]);
    world.recorder.check_answers(cut, 2);
}

#[test]
fn a_host_that_is_heard_but_hears_nothing_and_the_reverse_stops_nothing() {
    let mut world = World::start(Wire::Spaces);
    // Nothing is to be moved.
    world.apply(&world.workers(3, "  placement: {replaceAfter: 10m}\n"));
    world.await_workers(3);
    let before = world.recorder.living();
    let begun = Instant::now();
    let others = [2, 3, 4, 5, 6];
    for is_deaf in [true, false] {
        for other in others {
            match is_deaf {
                true => world.network.cut(other, 1),
                false => world.network.cut(1, other),
            }
        }
        world.until_unknown(&node(1));
        world.check_untouched(&before);
        for other in others {
            match is_deaf {
                true => world.network.mend(other, 1),
                false => world.network.mend(1, other),
            }
        }
        world.until("the node is ready", |world| {
            world.node_status(&node(1)) == "Ready"
        });
        world.await_workers(3);
    }
    world.check_untouched(&before);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}
