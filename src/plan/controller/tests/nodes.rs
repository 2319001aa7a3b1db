//! Nodes that are away, drained, cordoned or full.

use serde_json::json;

use super::world::{World, name};
use crate::{
    keys::Key,
    model::ConditionStatus::{False, True},
    plan::scope::Scope,
};

fn worker(replicas: u32) -> serde_json::Value {
    json!({"command": ["x"], "replicas": replicas, "load": {"reportLoad": {}},
        "ports": [{"name": "grpc", "range": "5001-5009"}]})
}

/// Three nodes with one instance each; what node c has is replaced.
fn lost() -> World {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    world.spec("worker", 1, worker(3));
    world.settle();
    world.lose_node("c");
    world.settle();
    world.pass(59);
    world.settle();
    assert_eq!(present(&world, "c"), 1, "not before the grace is over");
    assert_eq!(world.placed("worker").len(), 3);
    world.pass(1);
    world.settle();
    assert_eq!((present(&world, "c"), world.placed("worker").len()), (1, 4));
    let (status, ..) = world.verdict("worker", "Ready");
    assert_eq!(status, True);
    world
}

fn present(world: &World, node: &str) -> usize {
    let placed = world.placed("worker");
    let there = placed
        .iter()
        .filter(|one| one.contains(&format!("@{node}")));
    there.count()
}

#[test]
fn a_lost_instance_is_replaced_and_the_idle_one_of_two_ends_when_its_node_is_back() {
    let mut world = lost();
    world.node("c", json!({}));
    world.settle();
    assert_eq!(
        world.placed("worker").len(),
        4,
        "what it works on is not known yet"
    );
    world.load("c", &[]);
    world.settle();
    assert_eq!(world.placed("worker").len(), 3);
    assert_eq!(present(&world, "c"), 0);
}

#[test]
fn the_instance_that_works_on_something_stays_and_its_successor_ends() {
    let mut world = lost();
    world.node("c", json!({}));
    world.load("c", &["worker-0", "worker-1", "worker-2"]);
    world.settle();
    assert_eq!(world.placed("worker").len(), 3);
    assert_eq!(present(&world, "c"), 1);
}

#[test]
fn what_was_on_a_host_that_failed_is_not_started_there_again() {
    let mut world = lost();
    world.crash_node("c");
    world.node("c", json!({}));
    world.pass(10);
    world.settle();
    assert_eq!((present(&world, "c"), world.placed("worker").len()), (0, 3));
}

#[test]
fn where_most_nodes_are_away_nothing_is_moved() {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    world.spec("worker", 1, worker(3));
    world.settle();
    let before = world.placed("worker");
    world.lose_node("b");
    world.lose_node("c");
    world.settle();
    world.pass(600);
    world.settle();
    assert_eq!(world.placed("worker"), before);
}

#[test]
fn a_singleton_waits_for_its_node_until_an_operator_says_that_it_is_gone() {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    world.spec("worker", 1, json!({"command": ["x"], "singleton": true}));
    world.settle();
    let before = world.placed("worker");
    let node = before[0].split_once('@').unwrap().1.to_owned();
    world.crash_node(&node);
    world.settle();
    world.pass(600);
    world.settle();
    assert_eq!(world.placed("worker"), before);
    world.wish(&node, &json!({"deletedAt": "2026-01-01T00:00:00Z"}));
    world.settle();
    assert_eq!(world.placed("worker").len(), 1);
    assert_ne!(world.placed("worker"), before);
}

/// A singleton that stops by itself, within 75 s, on one of three nodes; and which.
fn self_stopping() -> (World, String) {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    let spec = json!({"command": ["x"], "singleton": true, "onPartition": "stop", "stop": {"grace": "50s"}});
    world.spec("worker", 1, spec);
    world.settle();
    let placed = world.placed("worker");
    let (_, node) = placed[0].split_once('@').unwrap();
    (world, node.to_owned())
}

#[test]
fn a_singleton_that_stops_by_itself_is_replaced_once_it_certainly_has() {
    let (mut world, node) = self_stopping();
    world.lose_node(&node);
    world.settle();
    world.pass(74);
    world.settle();
    assert_eq!(world.placed("worker"), [format!("worker-0@{node}")]);
    world.pass(1);
    let plan = world.plan(&Scope::everything());
    let marks = plan.writes().find(|intent| intent.expects.is_some());
    let absent = Key::Session(node.parse().unwrap());
    assert_eq!(marks.unwrap().unless, Some(absent), "only while it is away");
    world.settle();
    let (status, ..) = world.verdict("worker", "Ready");
    assert_eq!((status, world.placed("worker").len()), (True, 2));
    let successor = world.placed("worker").into_iter();
    let successor: Vec<String> = successor.filter(|it| !it.ends_with(&node)).collect();
    world.node(&node, json!({}));
    world.settle();
    assert_eq!(world.placed("worker"), successor);
}

#[test]
fn a_singleton_whose_agent_has_not_heard_that_it_is_to_stop_waits_for_its_node() {
    let mut world = World::with_nodes(&["a", "b", "c"]);
    world.spec("worker", 1, json!({"command": ["x"], "singleton": true}));
    world.settle();
    let before = world.placed("worker");
    world.lose_node(before[0].split_once('@').unwrap().1);
    let spec = json!({"command": ["x"], "singleton": true, "onPartition": "stop"});
    world.spec("worker", 2, spec);
    world.settle();
    world.pass(600);
    world.settle();
    assert_eq!(world.placed("worker"), before);
}

#[test]
fn a_singleton_that_was_to_move_is_waited_for_where_its_node_is_away() {
    let (mut world, node) = self_stopping();
    world.wish(&node, &json!({"draining": true}));
    world.lead();
    world.lose_node(&node);
    world.settle();
    assert_eq!(world.placed("worker"), [format!("worker-0@{node}")]);
    world.pass(75);
    world.settle();
    assert_eq!(world.placed("worker").len(), 2);
}

#[test]
fn a_drain_moves_one_at_a_time_and_ends_nothing_before_its_successor_is_ready() {
    let mut world = World::with_nodes(&["a", "b"]);
    world.spec("worker", 1, worker(4));
    world.settle();
    world.wish("a", &json!({"draining": true}));
    world.lead();
    assert_eq!((present(&world, "a"), present(&world, "b")), (2, 3));
    world.lead();
    assert_eq!(present(&world, "a"), 2, "the successor is not ready yet");
    world.act();
    world.lead();
    assert_eq!(present(&world, "a"), 1);
    world.settle();
    assert_eq!((present(&world, "a"), present(&world, "b")), (0, 4));
    world.wish("a", &json!(null));
    world.settle();
    assert_eq!(present(&world, "b"), 4, "what runs stays where it is");
}

#[test]
fn instances_spread_over_a_label_before_they_do_over_nodes_as_far_as_there_is_room() {
    let mut world = World::new();
    for (node, rack) in [("a", "1"), ("b", "1"), ("c", "1"), ("d", "2")] {
        world.node(node, json!({"rack": rack}));
    }
    let mut spec = worker(4);
    spec["placement"] = json!({"spreadBy": "rack", "maxPerNode": 2});
    world.spec("worker", 1, spec.clone());
    world.settle();
    assert_eq!(present(&world, "d"), 2);
    spec["replicas"] = json!(9);
    world.spec("worker", 2, spec);
    world.settle();
    assert_eq!(world.placed("worker").len(), 8);
    let (_, _, message) = world.verdict("worker", "Placed");
    assert_eq!(
        message,
        "worker-8 has no node: nodes a, b, c, d: it has 2 of the service, and no more may be there"
    );
}

#[test]
fn what_is_requested_has_to_fit() {
    let mut world = World::with_nodes(&["a"]);
    let spec =
        json!({"command": ["x"], "replicas": 3, "requests": {"memory": "1GiB", "cpu": 0.75}});
    world.spec("worker", 1, spec);
    world.settle();
    let (status, _, message) = world.verdict("worker", "Placed");
    let wanted = "worker-2 has no node: node a: 0.5 of 2 cores left, 0.75 requested";
    assert_eq!((status, message.as_str()), (False, wanted));
}

#[test]
fn a_store_that_fell_back_is_followed_once_an_operator_has_said_so() {
    let mut world = World::with_nodes(&["a"]);
    world.spec("worker", 1, worker(1));
    world.cluster.fell_from(1_000);
    world.settle();
    assert_eq!(world.placed("worker"), [""; 0]);
    let spec = json!({"restoreConfirmed": 1_000});
    world.put(Key::ClusterSpec, &spec);
    world.settle();
    assert_eq!(world.placed("worker").len(), 1);
    // What was confirmed is not said of the next fall, from which the store may have been further by less.
    world.cluster.fell_again_from(900);
    assert_eq!(world.cluster.restored_from(), Some(1_001));
}

#[test]
fn a_fall_that_only_an_agent_has_noticed_waits_for_an_operator_however_far_the_store_has_come() {
    let mut world = World::with_nodes(&["a"]);
    let session = json!({
        "uuid": "u", "nodeUuid": "n", "address": "127.0.0.1", "version": "0", "startedAt": "2026-01-01T00:00:00Z",
        "reconciled": true, "seenRevision": 1, "fellFrom": 1,
    });
    world.put(Key::Session(name("a")), &session);
    assert_eq!(world.cluster.restored_from(), Some(1));
    world.put(Key::ClusterSpec, &json!({"restoreConfirmed": 1}));
    assert_eq!(world.cluster.restored_from(), None);
}
