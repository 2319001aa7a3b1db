//! Restarts on an operator's word, and services that come before others.

use serde_json::json;

use super::world::{World, instance};
use crate::model::ConditionStatus::{False, True};

/// The revisions of the instances of `worker`, by slot.
fn revisions(world: &World) -> Vec<String> {
    let assignments = world.assignments().into_iter();
    assignments.map(|(_, asked)| asked.revision).collect()
}

#[test]
fn a_restart_replaces_one_at_a_time_and_is_not_undone_by_the_next_apply() {
    let mut world = World::with_nodes(&["a"]);
    let spec = json!({"command": ["x"], "replicas": 3});
    world.spec("worker", 1, spec);
    world.settle();
    let before = revisions(&world);
    world.restart("worker", None, 2);
    world.lead();
    let changed = |world: &World| {
        let pairs = revisions(world).into_iter().zip(before.clone());
        pairs.map(|(now, before)| now != before).collect::<Vec<_>>()
    };
    assert_eq!(changed(&world), [true, false, false]);
    let (status, reason, message) = world.verdict("worker", "Updated");
    assert_eq!(
        (status, reason.as_str()),
        (False, "RollingOut"),
        "{message}"
    );
    world.settle();
    assert_eq!(changed(&world), [true, true, true]);

    // One alone; then the others are left as they are.
    let all = revisions(&world);
    world.restart("worker", Some(1), 3);
    world.settle();
    let one = revisions(&world);
    assert_eq!((&one[0], &one[2]), (&all[0], &all[2]));
    assert_ne!(one[1], all[1]);
    let (status, ..) = world.verdict("worker", "Ready");
    assert_eq!(status, True);
}

#[test]
fn an_instance_is_placed_once_the_services_before_it_are_ready_and_stays_when_they_are_not() {
    let mut world = World::with_nodes(&["a"]);
    let after = json!({"command": ["x"], "replicas": 1, "after": ["license-server"]});
    world.spec("worker", 1, after.clone());
    world.settle();
    assert_eq!(world.placed("worker"), [""; 0]);
    let (_, reason, message) = world.verdict("worker", "Placed");
    assert_eq!(reason, "Waiting");
    assert_eq!(
        message,
        "worker-0 waits for license-server, which does not exist"
    );
    world.broken.insert(instance("license-server-0"));
    world.spec("license-server", 1, json!({"command": ["x"]}));
    world.settle();
    let (_, _, message) = world.verdict("worker", "Ready");
    assert_eq!(
        message,
        "0 of 1 ready; worker-0 waits for license-server, of which no instance is ready"
    );
    world.broken.clear();
    world.settle();
    assert_eq!(world.placed("worker"), ["worker-0@a"]);

    world.broken.insert(instance("license-server-0"));
    world.settle();
    assert_eq!(world.verdict("worker", "Ready").0, True);
    let more = json!({"command": ["x"], "replicas": 2, "after": ["license-server"]});
    world.spec("worker", 2, more);
    world.settle();
    assert_eq!(world.placed("worker"), ["worker-0@a"]);
    world.delete("license-server", 2);
    world.settle();
    assert_eq!(world.placed("worker"), ["worker-0@a"]);
}
