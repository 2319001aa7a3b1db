//! Writes happen, and their answers are lost or late.

use std::time::{Duration, Instant};

use crate::{
    network::{CONTROLLERS, HOSTS, Host, Wire},
    support::proxy::Mode,
    world::World,
};

fn set(world: &World, host: Host, mode: Mode) {
    for proxy in world.network.proxies(host) {
        proxy.set(mode);
    }
}

#[test]
fn a_write_whose_answer_is_lost_is_not_made_twice() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(2);
    let begun = Instant::now();
    let [leader, _] = CONTROLLERS;
    for host in HOSTS.into_iter().chain([leader]) {
        set(&world, host, Mode::HoldRequests);
    }
    let holds = |world: &World, host: Host| {
        let proxies = world.network.proxies(host);
        proxies.iter().any(|proxy| proxy.has_held("/worker-2"))
    };
    world.apply(&world.workers(3, ""));
    world.until("the leader's write is on its way", |world| {
        holds(world, leader)
    });
    set(&world, leader, Mode::Mute);
    let mut agent = None;
    world.until("the agent's write is on its way", |world| {
        agent = HOSTS.into_iter().find(|host| holds(world, *host));
        agent.is_some()
    });
    set(&world, agent.unwrap(), Mode::Mute);
    let keys = |world: &World| {
        let mut keys = world
            .members
            .keys(&world.network, "/quaestor/default/assign/");
        keys.retain(|key, _| key.ends_with("/worker-2"));
        keys
    };
    let states = |world: &World| {
        let states = world
            .members
            .keys(&world.network, "/quaestor/default/state/");
        states.keys().any(|key| key.ends_with("/worker-2"))
    };
    world.until("both are in the store", |world| {
        states(world) && keys(world).len() == 1
    });
    let written = keys(&world);
    // Nobody will ever answer on these connections.
    for mode in [Mode::Refuse, Mode::Carry] {
        for host in HOSTS.into_iter().chain([leader]) {
            set(&world, host, mode);
        }
    }
    world.await_workers(3);
    assert_eq!(keys(&world), written, "it was written once");
    assert_eq!(world.recorder.count("worker-2"), 1);
    let after = world.recorder.living();
    assert!(before.iter().all(|process| after.contains(process)));
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 2);
}

#[test]
fn a_slow_way_to_the_store_makes_all_slow_and_nothing_wrong() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(2);
    let begun = Instant::now();
    for host in HOSTS.into_iter().chain(CONTROLLERS) {
        set(&world, host, Mode::Slow(Duration::from_millis(300)));
    }
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    world.apply(&world.workers(2, ""));
    world.await_workers(2);
    world.until("two processes are left", |world| {
        world.recorder.living().len() == 2
    });
    world.check_untouched(&before);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 2);
}
