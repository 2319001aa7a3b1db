//! What cannot be read, under any key.

use serde_json::json;

use super::world::{World, instance, name};
use crate::{
    keys::Key,
    model::ConditionStatus::{True, Unknown},
};

/// Two nodes with a service, and every key that there is of it but its spec.
fn world() -> (World, Vec<Key>) {
    let mut world = World::with_nodes(&["a", "b"]);
    let ports = json!([{"name": "grpc", "range": "7000-7009"}]);
    world.spec(
        "worker",
        1,
        json!({"command": ["x"], "replicas": 2, "ports": ports}),
    );
    world.wish("a", &json!({"labels": {"pool": "qa"}}));
    world.load("a", &[]);
    world.settle();
    let keys = world.keys_of("worker").into_iter();
    let keys = keys
        .chain([
            Key::NodeStatus(name("a")),
            Key::ClusterStatus,
            Key::ClusterSpec,
            Key::NodeSpec(name("a")),
            Key::Session(name("a")),
            Key::Load(name("a")),
        ])
        .collect();
    (world, keys)
}

/// Whether what lies under any key that the leader writes cannot be read.
fn is_spoilt(world: &World) -> bool {
    let service = &world.cluster.services()[&name("worker")];
    let node = &world.cluster.nodes()[&name("a")];
    let seats = service.seats.values();
    let mut assignments = seats.filter_map(|seat| seat.assignment.as_ref());
    let mut revisions = service.revisions.values();
    assignments.any(|stored| stored.problem.is_some())
        || revisions.any(|stored| stored.problem.is_some())
        || service.route.as_ref().is_none_or(|it| it.problem.is_some())
        || service
            .status
            .as_ref()
            .is_none_or(|it| it.problem.is_some())
        || node.status.as_ref().is_none_or(|it| it.problem.is_some())
        || world
            .cluster
            .status
            .as_ref()
            .is_none_or(|it| it.problem.is_some())
}

#[test]
fn garbage_stops_nothing_and_what_the_leader_has_written_is_written_again() {
    let (_, keys) = world();
    for key in keys {
        for is_new_leader in [false, true] {
            let (mut world, _) = world();
            let before = world.placed("worker");
            if is_new_leader {
                // It has seen no earlier value.
                world.cluster.delete(&key);
            }
            for garbage in ["garbage", "7", "{}", ""] {
                world.put_text(key.clone(), garbage);
                world.settle();
                assert_eq!(world.placed("worker"), before, "{garbage:?} under {key:?}");
                assert!(!is_spoilt(&world), "{garbage:?} under {key:?}");
            }
        }
    }
}

#[test]
fn the_status_of_a_node_says_what_of_it_cannot_be_read() {
    let (mut world, _) = world();
    world.put_text(Key::NodeSpec(name("a")), "garbage");
    world.settle();
    let condition = |world: &World, index: usize| {
        let status = world.cluster.nodes()[&name("a")].status.clone();
        let condition = status.unwrap().value.unwrap().conditions[index].clone();
        (condition.status, condition.reason)
    };
    assert_eq!(condition(&world, 1), (Unknown, "SpecUnreadable".to_owned()));
    world.put_text(Key::Session(name("a")), "garbage");
    world.settle();
    assert_eq!(
        condition(&world, 0),
        (Unknown, "SessionUnreadable".to_owned())
    );
    assert_eq!(world.verdict("worker", "Placed").0, True);
}

#[test]
fn garbage_beside_a_singleton_on_a_node_that_is_away_starts_no_second_one() {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    world.spec("worker", 1, json!({"command": ["x"], "singleton": true}));
    world.settle();
    let before = world.placed("worker");
    let node = before[0].split_once('@').unwrap().1.to_owned();
    let other = if node == "b" { "c" } else { "b" };
    world.lose_node(&node);
    world.put_text(
        Key::Assignment(name(other), instance("worker-0")),
        "garbage",
    );
    world.settle();
    assert_eq!(world.placed("worker"), before);
}
