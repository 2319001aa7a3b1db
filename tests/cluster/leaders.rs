//! The leading controller is killed, or paused for longer than its lease.

use std::time::{Duration, Instant};

use crate::{
    network::{CONTROLLERS, Wire},
    support::proxy::{Mode, Proxy},
    world::World,
};

/// The key of who leads.
const LEADER: &str = "/quaestor/default/leader";

/// How long the store waits for a silent leader.
const LEASE: Duration = Duration::from_secs(10);

#[test]
fn when_the_leader_is_killed_the_next_one_leads_once_its_lease_is_over() {
    let mut world = World::start(Wire::Proxies);
    let before = world.settle(3);
    let begun = Instant::now();
    world.add_controller(1, &[]);
    world.until("the other one stands by", |world| {
        world.log("c2").contains("standing by")
    });

    world.kill("c1");
    let killed = Instant::now();
    world.apply(&world.workers(4, ""));
    world.until("the other one leads", |world| {
        world.log("c2").contains("leading")
    });
    let took = killed.elapsed();
    // A second for the store to notice, and some for a busy machine.
    assert!(took < LEASE + Duration::from_secs(6), "{took:?}");
    world.await_workers(4);
    let after = world.recorder.living();
    assert_eq!(after.len(), 4);
    assert!(before.iter().all(|process| after.contains(process)));
    world.run("c1");
    world.until("the first one stands by", |world| {
        world.log("c1").contains("standing by")
    });
    world.check_untouched(&after);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}

/// The write is on its way when the leader's time ends, and nothing but that has changed when it arrives: only
/// the fence can refuse it.
#[test]
fn a_write_of_a_leader_whose_lease_has_ended_is_refused_by_the_store() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(2);
    let ways = |world: &World, act: &dyn Fn(&Proxy) -> u64| -> u64 {
        let proxies = world.network.proxies(CONTROLLERS[0]);
        proxies.into_iter().map(act).sum()
    };
    let set = |world: &World, mode: Mode| {
        ways(world, &|proxy| {
            proxy.set(mode);
            0
        });
    };
    let held = |world: &World| ways(world, &|proxy| u64::from(proxy.has_held("/worker-2")));
    let answered = |world: &World| ways(world, &Proxy::answered);

    set(&world, Mode::HoldRequests);
    world.apply(&world.workers(3, ""));
    world.until("its write is on its way", |world| held(world) > 0);
    world.signal("c1", "STOP");
    world.until("its lease is over", |world| {
        world.etcdctl(&["get", "--keys-only", LEADER]).is_empty()
    });

    let keys = |world: &World| {
        let mut keys = world.members.keys(&world.network, "/quaestor/default/");
        // Agents write these by themselves.
        keys.retain(|key, _| !key.contains("/load/") && !key.contains("/event/"));
        keys
    };
    let then = keys(&world);
    let answers = answered(&world);
    set(&world, Mode::Carry);
    world.until("the store has answered", |world| answered(world) > answers);
    world.etcdctl(&["endpoint", "health"]);
    assert_eq!(keys(&world), then, "nothing was written");
    world.check_untouched(&before);

    // It finds out by itself, and leads again in its own time.
    let told = world.log("c1").len();
    world.signal("c1", "CONT");
    world.await_workers(3);
    let log = world.log("c1");
    assert!(
        log[told..].contains("no longer leading"),
        "{}",
        &log[told..]
    );
    let after = world.recorder.living();
    assert!(before.iter().all(|process| after.contains(process)));
    assert_eq!(world.recorder.count("worker-2"), 1);
    world.recorder.check(&[]);
}

/// The same from outside: the paused one wakes up beside its successor.
#[test]
fn a_leader_that_wakes_up_beside_its_successor_changes_nothing() {
    let mut world = World::start(Wire::Proxies);
    world.settle(2);
    world.add_controller(1, &[]);
    world.until("the other one stands by", |world| {
        world.log("c2").contains("standing by")
    });
    world.signal("c1", "STOP");
    // What it would write when it wakes up, its successor has taken back.
    world.apply(&world.workers(4, ""));
    world.until("the other one leads", |world| {
        world.log("c2").contains("leading")
    });
    world.await_workers(4);
    world.apply(&world.workers(3, ""));
    world.await_workers(3);
    world.until("three processes are left", |world| {
        world.recorder.living().len() == 3
    });
    let before = world.recorder.living();
    world.signal("c1", "CONT");
    world.until("it stands by", |world| {
        let log = world.log("c1");
        log.contains("no longer leading") && log.contains("standing by")
    });
    world.check_untouched(&before);
    assert_eq!(world.recorder.count("worker-3"), 1);
    world.recorder.check(&[]);
}
