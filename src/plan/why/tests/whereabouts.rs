//! Nodes that are away or closed, and why an instance is not on one of them.

use serde_json::{Value as Json, json};

use super::{Stage, World, assert_kept, assert_roots, name, service, settled};
use crate::{keys::Key, plan::why::why_not};

const SERVICE: &str = "service/worker";
const ONE: &str = "instance/worker-0";

#[test]
fn an_agent_that_has_just_gone_and_a_node_that_is_lost() {
    let mut world = settled(&["a", "b", "c"], "worker", service(3, &json!({})));
    world.lose_node("b");
    world.settle();
    let who = world
        .placed("worker")
        .into_iter()
        .find(|placed| placed.ends_with("b"))
        .unwrap();
    let who = who.split([' ', '@']).next().unwrap().to_owned();
    let stage = Stage::from(world);
    stage.tells("agent-stopped", "b", &[("node/b", "AgentAway")]);
    stage.tells("agent-stopped-instance", &who, &[("node/b", "AgentAway")]);
    stage.tells(
        "agent-stopped-service",
        "worker",
        &[("node/b", "AgentAway")],
    );
    let mut world = stage.world;
    world.pass(61);
    world.touch();
    world.settle();
    let stage = Stage::from(world);
    stage.tells("lost-node", "b", &[("node/b", "NodeLost")]);
    stage.tells("lost-node-instance", &who, &[("node/b", "NodeLost")]);
}

#[test]
fn most_nodes_being_away_stops_all_moving() {
    let mut world = settled(&["a", "b", "c"], "worker", service(3, &json!({})));
    world.lose_node("b");
    world.lose_node("c");
    world.settle();
    let roots = [("cluster", "MassLoss"), ("node/c", "AgentAway")];
    Stage::from(world).tells("mass-loss", "worker", &roots);
}

#[test]
fn a_singleton_waits_until_it_is_sure_to_have_stopped() {
    let stops = json!({"singleton": true, "onPartition": "stop", "stop": {"grace": "10s"}});
    let mut world = settled(&["a", "b", "c"], "worker", service(1, &stops));
    let node = world.assignments()[0].0.clone();
    world.lose_node(node.as_str());
    world.settle();
    let away = format!("node/{node}");
    Stage::from(world).tells(
        "singleton-awaits-self-stop",
        "worker-0",
        &[(&away, "AgentAway")],
    );
    let mut world = settled(
        &["a", "b", "c"],
        "worker",
        service(1, &json!({"singleton": true})),
    );
    let node = world.assignments()[0].0.clone();
    world.lose_node(node.as_str());
    world.settle();
    Stage::from(world).tells("singleton-may-run", "worker", &[(&away, "AgentAway")]);
}

fn drained(at: Json) -> Json {
    json!({"draining": true, "closing": at})
}

#[test]
fn a_node_that_is_drained_names_who_did_it_and_what_holds_it_up() {
    let mut world = settled(
        &["a", "b"],
        "worker",
        service(2, &json!({"placement": {"maxPerNode": 1}})),
    );
    world.wish(
        "a",
        &drained(json!({"by": "ada@qa-9", "at": "1970-01-01T00:10:00Z"})),
    );
    world.settle();
    let stage = Stage::from(world);
    stage.tells("drained-node", "a", &[(SERVICE, "Stuck")]);
    stage.tells("drained-node-service", "worker", &[(SERVICE, "Stuck")]);
    let mut world = settled(&["a", "b"], "worker", service(2, &json!({})));
    world.wish("a", &drained(Json::Null));
    world.settle();
    Stage::from(world).tells("drained-node-empty", "a", &[("node/a", "Drained")]);
    let mut world = settled(&["a"], "other", service(1, &json!({})));
    world.wish(
        "a",
        &drained(json!({"by": "ada@qa-9", "at": "1970-01-01T00:10:00Z"})),
    );
    world.spec("worker", 1, service(1, &json!({})));
    world.settle();
    Stage::from(world).tells("drained-only-node", "worker", &[("node/a", "Drained")]);
}

#[test]
fn an_agent_that_has_just_come_takes_stock() {
    let mut world = World::with_nodes(&[]);
    let session = json!({"uuid": "u", "nodeUuid": "n", "address": "127.0.0.1", "version": "0.1.0",
        "startedAt": "1970-01-01T00:14:58Z", "reconciled": false});
    world.put(Key::Session(name("a")), &session);
    world.spec("worker", 1, service(1, &json!({})));
    world.lead();
    let stage = Stage::from(world);
    stage.tells("agent-takes-stock", "worker", &[("node/a", "TakesStock")]);
    stage.tells("agent-takes-stock-node", "a", &[("node/a", "TakesStock")]);
}

/// Asks why `who` is not on `node`.
#[track_caller]
fn not(stage: &Stage, kept: &str, slot: Option<u32>, node: &str, roots: &[(&str, &str)]) {
    let cause = why_not(&stage.seen(), &name("worker"), slot, &name(node)).unwrap();
    assert_roots(&cause, roots);
    assert_kept(kept, &cause);
}

#[test]
fn every_reason_of_a_node_not_to_take_an_instance_is_told() {
    let mut world = World::with_nodes(&["a"]);
    world.node("b", json!({"gpu": "no"}));
    let picky = json!({"placement": {"nodeSelector": {"gpu": "yes", "rack": "r1"}},
        "requests": {"memory": "4GiB"}, "ports": [{"name": "grpc", "port": 7000}]});
    world.spec(
        "other",
        1,
        service(2, &json!({"ports": [{"name": "grpc", "port": 7000}]})),
    );
    world.spec("worker", 1, service(1, &picky));
    world.wish(
        "b",
        &json!({"cordoned": true, "closing": {"by": "ada@qa-9", "at": "1970-01-01T00:10:00Z"}}),
    );
    world.settle();
    let stage = Stage::from(world);
    let roots = [
        ("node/b", "LabelMissing"),
        ("node/b", "LabelMissing"),
        ("node/b", "Cordoned"),
        ("node/b", "NoCapacity"),
    ];
    not(&stage, "why-not-all", None, "b", &roots);
}

#[test]
fn what_could_be_on_a_node_says_why_it_is_elsewhere() {
    let mut world = settled(&["a"], "worker", service(2, &json!({})));
    world.node("b", json!({}));
    world.settle();
    let stage = Stage::from(world);
    not(
        &stage,
        "why-not-stays",
        Some(0),
        "b",
        &[(ONE, "StaysElsewhere")],
    );
    not(
        &stage,
        "why-not-enough",
        None,
        "b",
        &[(SERVICE, "EnoughElsewhere")],
    );
    not(
        &stage,
        "why-not-there",
        Some(1),
        "a",
        &[("instance/worker-1", "Ready")],
    );
    assert!(why_not(&stage.seen(), &name("nobody"), None, &name("a")).is_none());
    assert!(why_not(&stage.seen(), &name("worker"), None, &name("nowhere")).is_none());
    let mut world = stage.world;
    world.lose_node("b");
    world.settle();
    not(
        &Stage::from(world),
        "why-not-away",
        Some(0),
        "b",
        &[("node/b", "AgentAway")],
    );
    let mut world = settled(&["a"], "worker", service(1, &json!({})));
    world.delete("worker", 2);
    not(
        &Stage::from(world),
        "why-not-deleted",
        None,
        "a",
        &[("instance/worker-0", "Ready")],
    );
}
