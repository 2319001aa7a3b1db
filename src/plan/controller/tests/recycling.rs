//! Processes that are old, on nodes that know nothing of each other.

use proptest::prelude::*;
use serde_json::json;

use super::world::*;
use crate::{
    keys::Key,
    model::{Instance, InstanceState, Timestamp},
};

/// Instance `slot` of `worker` says something of itself.
fn say(world: &mut World, slot: u32, change: impl FnOnce(&mut InstanceState)) {
    let instance = Instance::new(name("worker"), slot);
    let (node, _) = (world.assignments().into_iter())
        .find(|(_, asked)| asked.instance == instance)
        .unwrap();
    let seats = &world.cluster.services()[&name("worker")].seats;
    let mut state = seats[&(slot, node.clone())].observed().unwrap().clone();
    change(&mut state);
    let json = serde_json::to_value(state).unwrap();
    world.put(Key::State(node, instance), &json);
}

/// Its process, which was started at `start`, is old.
fn old(start: i64) -> impl FnOnce(&mut InstanceState) {
    move |state| {
        state.started_at = Some(Timestamp::from_millis(start));
        state.recycle_due = true;
    }
}

/// Whose turn it is.
fn turns(world: &World) -> Vec<u32> {
    let seats = &world.cluster.services()[&name("worker")].seats;
    let has_turn = |seat: &&crate::plan::cluster::Seat| {
        let turn = seat.asked().unwrap().recycle_turn;
        turn.is_some() && turn == seat.observed().and_then(|state| state.started_at)
    };
    (seats.iter())
        .filter(|(_, seat)| has_turn(seat))
        .map(|((slot, _), _)| *slot)
        .collect()
}

/// Three of `worker` on three nodes, of which `unavailable` may be missing.
fn three(unavailable: u64) -> World {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    let spec = json!({
        "command": ["x"], "replicas": 3, "recycle": {"every": "1h", "when": "always"},
        "rollout": {"maxUnavailable": unavailable, "maxSurge": 1},
    });
    world.spec("worker", 1, spec);
    world.settle();
    world
}

#[test]
fn one_after_the_other_is_recycled_wherever_they_are() {
    for unavailable in [1, 0] {
        let mut world = three(unavailable);
        for slot in 0..3 {
            say(&mut world, slot, old(10));
        }
        world.lead();
        assert_eq!(turns(&world), [0], "maxUnavailable {unavailable}");
        // It goes, and its process ends: until the next is ready, it is nobody's turn.
        say(&mut world, 0, |state| state.ready = false);
        world.lead();
        say(&mut world, 0, |state| state.started_at = None);
        world.lead();
        assert_eq!(turns(&world), [0; 0]);
        say(&mut world, 0, |state| {
            state.started_at = Some(Timestamp::from_millis(20));
            (state.ready, state.recycle_due) = (true, false);
        });
        world.lead();
        assert_eq!(turns(&world), [1]);
    }
}

#[test]
fn the_oldest_is_the_first() {
    let mut world = three(1);
    for (slot, start) in [(0, 30), (1, 10), (2, 20)] {
        say(&mut world, slot, old(start));
    }
    world.lead();
    assert_eq!(turns(&world), [1]);
    say(&mut world, 1, |state| state.recycle_due = false);
    world.lead();
    assert_eq!(turns(&world), [2]);
}

#[test]
fn as_many_go_at_once_as_may_be_missing_whatever_the_cause() {
    let mut world = three(2);
    say(&mut world, 2, |state| state.ready = false);
    for slot in 0..2 {
        say(&mut world, slot, old(10));
    }
    world.lead();
    assert_eq!(turns(&world), [0], "one is missing already");
}

#[test]
fn a_turn_that_is_given_back_goes_to_the_next() {
    let mut world = three(1);
    for slot in 0..2 {
        say(&mut world, slot, old(10));
    }
    world.lead();
    assert_eq!(turns(&world), [0]);
    say(&mut world, 0, |state| state.recycle_due = false);
    world.lead();
    assert_eq!(turns(&world), [1]);
}

#[test]
fn a_rollout_counts_turns_and_comes_before_them() {
    let mut world = three(1);
    say(&mut world, 2, old(10));
    world.lead();
    assert_eq!(turns(&world), [2]);
    let spec = json!({
        "command": ["y"], "replicas": 3, "recycle": {"every": "1h", "when": "always"},
        "rollout": {"maxUnavailable": 1},
    });
    world.spec("worker", 2, spec);
    world.lead();
    // Whoever may go at any moment is the one that is replaced; no other goes beside it.
    let replaced = (world.assignments().into_iter()).filter(|(_, asked)| asked.generation == 2);
    let replaced: Vec<u32> = replaced.map(|(_, asked)| asked.instance.slot).collect();
    assert_eq!(replaced, [2]);
    for slot in 0..2 {
        say(&mut world, slot, old(10));
    }
    world.lead();
    assert_eq!(turns(&world), [0; 0]);
}

proptest! {
    #[test]
    fn never_may_more_go_than_can_be_missed(
        steps in proptest::collection::vec((0..4_u32, 0..4_u8), 1..40), unavailable in 0..3_usize
    ) {
        let mut world = World::with_nodes(&["a", "b", "c", "d"]);
        let spec = json!({
            "command": ["x"], "replicas": 4, "recycle": {"every": "1h", "when": "always"},
            "rollout": {"maxUnavailable": unavailable, "maxSurge": 1},
        });
        world.spec("worker", 1, spec);
        world.settle();
        for (at, (slot, what)) in steps.into_iter().enumerate() {
            let before = turns(&world);
            say(&mut world, slot, |state| match what {
                0 => old(at as i64)(state),
                1 => state.recycle_due = false,
                2 if before.contains(&slot) => state.ready = false,
                2 => {}
                _ => (state.ready, state.recycle_due) = (true, false),
            });
            world.lead();
            let seats = &world.cluster.services()[&name("worker")].seats;
            let after = turns(&world);
            let steady = (seats.iter()).filter(|((slot, _), seat)| {
                seat.observed().unwrap().ready && !after.contains(slot)
            });
            let steady = steady.count();
            prop_assert!(steady >= 4 - unavailable.max(1), "{after:?}");
        }
    }
}
