//! What happens in one situation each.

use serde_json::json;

use super::world::{World, instance, name};
use crate::{
    keys::Key,
    model::{ConditionStatus, Desired},
    plan::scope::Scope,
};

use ConditionStatus::{False, True, Unknown};

fn worker(replicas: u32, version: &str) -> serde_json::Value {
    json!({
        "replicas": replicas,
        "command": ["worker", version],
        "ports": [{"name": "grpc", "range": "5161-5170"}],
    })
}

/// A settled `worker` of `replicas` on `nodes`.
fn settled(nodes: &[&str], replicas: u32) -> World {
    let mut world = World::with_nodes(nodes);
    world.spec("worker", 1, worker(replicas, "1"));
    world.settle();
    world
}

#[test]
fn replicas_spread_evenly_and_each_has_a_port_of_its_own() {
    let world = settled(&["a", "b"], 4);
    let placed = world.placed("worker");
    let on = |node: &str| placed.iter().filter(|p| p.contains(node)).count();
    assert_eq!((on("@a:"), on("@b:")), (2, 2), "{placed:?}");
    for (slot, place) in placed.iter().enumerate() {
        assert!(place.starts_with(&format!("worker-{slot}@")), "{placed:?}");
        assert!(place.ends_with(&format!(":{}", 5161 + slot)), "{placed:?}");
    }
    let status = world.status("worker");
    let counts = (
        status.replicas,
        status.assigned,
        status.updated,
        status.ready,
    );
    assert_eq!(counts, (4, 4, 4, 4));
    assert_eq!(status.observed_generation, 1);
    assert!(
        status.conditions.iter().all(|c| c.status == True),
        "{status:#?}"
    );
}

#[test]
fn a_new_node_moves_nothing_but_takes_what_comes() {
    let mut world = settled(&["a"], 2);
    world.node("b", json!({}));
    world.settle();
    assert_eq!(
        world.placed("worker"),
        ["worker-0@a:5161", "worker-1@a:5162"]
    );
    world.spec("worker", 2, worker(3, "1"));
    world.settle();
    assert_eq!(world.placed("worker")[2], "worker-2@b:5163");
}

#[test]
fn scaling_down_ends_the_highest_slots_and_scaling_up_fills_the_lowest() {
    let mut world = settled(&["a"], 4);
    world.broken.insert(instance("worker-0"));
    world.settle();
    world.spec("worker", 2, worker(2, "1"));
    world.settle();
    assert_eq!(
        world.placed("worker"),
        ["worker-0@a:5161", "worker-1@a:5162"]
    );
    assert_eq!(world.assignments().len(), 2, "those that stopped are gone");
    world.spec("worker", 3, worker(3, "1"));
    world.settle();
    assert_eq!(world.placed("worker")[2], "worker-2@a:5163");
}

#[test]
fn an_instance_that_is_wanted_again_while_it_stops_comes_back_where_it_is() {
    let mut world = settled(&["a"], 2);
    world.spec("worker", 2, worker(1, "1"));
    world.lead();
    assert_eq!(world.placed("worker").len(), 1);
    world.spec("worker", 3, worker(2, "1"));
    world.lead();
    assert_eq!(
        world.placed("worker"),
        ["worker-0@a:5161", "worker-1@a:5162"]
    );
}

#[test]
fn why_there_is_no_place_is_said_per_node() {
    let mut world = World::new();
    world.node("a", json!({"pool": "qa"}));
    for node in ["b", "c"] {
        world.node(node, json!({}));
    }
    let spec = |port: &str, value: &str| {
        json!({"command": ["x"], "placement": {"nodeSelector": {"pool": "qa"}},
            "ports": [{"name": "p", port: value}]})
    };
    world.spec("blocker", 1, spec("range", "7000-7000"));
    world.settle();
    world.node("d", json!({"pool": "qa"}));
    world.lose_node("d");
    world.spec("worker", 1, spec("range", "7000-7000"));
    world.settle();
    let (status, reason, message) = world.verdict("worker", "Placed");
    assert_eq!((status, reason.as_str()), (False, "NoNode"));
    assert_eq!(
        message,
        "worker-0 has no node: nodes b, c: label pool=qa missing; node a: no free port in 7000-7000"
    );
    // What frees the port helps, though nothing of the service itself changed.
    world.delete("blocker", 2);
    world.settle();
    assert_eq!(world.placed("worker"), ["worker-0@a:7000"]);
}

#[test]
fn one_number_on_one_node_has_one_holder_across_services() {
    let mut world = World::with_nodes(&["a", "b"]);
    let fixed = json!({"command": ["x"], "ports": [{"name": "p", "port": 5161}]});
    world.spec("fixed", 1, fixed);
    world.spec("worker", 1, worker(4, "1"));
    world.settle();
    let holder = world.placed("fixed")[0].replace("fixed-0", "");
    let placed = world.placed("worker");
    assert_eq!(placed.len(), 4);
    assert!(
        placed.iter().all(|p| !p.ends_with(&holder)),
        "{holder} {placed:?}"
    );
}

#[test]
fn one_per_node_follows_nodes_and_labels() {
    let mut world = World::new();
    world.node("a", json!({"pool": "qa"}));
    world.node("b", json!({}));
    let spec = json!({"command": ["x"], "onePerNode": true,
        "placement": {"nodeSelector": {"pool": "qa"}}, "ports": [{"name": "p", "port": 5150}]});
    world.spec("balancer", 1, spec);
    world.settle();
    assert_eq!(world.placed("balancer"), ["balancer-0@a:5150"]);
    world.node("b", json!({"pool": "qa"}));
    world.settle();
    let both = ["balancer-0@a:5150", "balancer-1@b:5150"];
    assert_eq!(world.placed("balancer"), both);
    world.lose_node("a");
    world.settle();
    assert_eq!(
        world.placed("balancer"),
        both,
        "a lost node keeps what it has"
    );
    let (status, reason, _) = world.verdict("balancer", "Ready");
    assert_eq!((status, reason.as_str()), (Unknown, "NodeUnknown"));
    world.node("a", json!({}));
    world.settle();
    assert_eq!(world.placed("balancer"), ["balancer-1@b:5150"]);
}

#[test]
fn one_per_node_without_a_node_is_not_called_ready() {
    let mut world = World::with_nodes(&["a"]);
    let spec = json!({"command": ["x"], "onePerNode": true,
        "placement": {"nodeSelector": {"pool": "qa"}}});
    world.spec("balancer", 1, spec);
    world.settle();
    assert_eq!(world.verdict("balancer", "Ready").0, False);
    let (_, _, message) = world.verdict("balancer", "Placed");
    assert_eq!(message, "node a: label pool=qa missing");
}

#[test]
fn a_changed_template_replaces_one_at_a_time_each_after_the_former_is_ready() {
    let mut world = settled(&["a", "b"], 4);
    let before = world.placed("worker");
    let old = world.status("worker").revision;
    world.spec("worker", 2, worker(4, "2"));
    for done in 0..4 {
        world.lead();
        let all = world.assignments().into_iter();
        assert_eq!(all.filter(|(_, a)| a.revision != old).count(), done + 1);
        let (_, _, message) = world.verdict("worker", "Updated");
        assert!(
            message.starts_with(&format!("{done} of 4 updated; ")),
            "{message}"
        );
        world.act();
    }
    world.settle();
    assert_eq!(
        world.placed("worker"),
        before,
        "in place, on the same ports"
    );
    assert_eq!(world.verdict("worker", "Ready").0, True);
}

#[test]
fn a_rollout_stops_at_an_instance_that_does_not_become_ready_and_says_so() {
    let mut world = settled(&["a"], 3);
    world.spec("worker", 2, worker(3, "2"));
    world.lead();
    world.broken.insert(world.first_of(2));
    world.settle();
    let all = world.assignments().into_iter();
    assert_eq!(all.filter(|(_, a)| a.generation == 2).count(), 1);
    let (status, reason, message) = world.verdict("worker", "Ready");
    assert_eq!((status, reason.as_str()), (False, "NotReady"));
    let start = "2 of 3 ready; worker-0 on a: CrashLoop: exited with code 1";
    assert!(message.starts_with(start), "{message}");
    assert_eq!(world.status("worker").ready, 2, "the others serve");
    // A mended template goes to the broken one first.
    world.broken.clear();
    world.spec("worker", 3, worker(3, "3"));
    world.lead();
    assert_eq!(world.first_of(3), instance("worker-0"));
    world.settle();
    assert_eq!(world.verdict("worker", "Ready").0, True);
}

#[test]
fn those_that_serve_nobody_are_replaced_first() {
    let mut world = settled(&["a"], 3);
    world.broken.insert(instance("worker-2"));
    world.settle();
    world.spec("worker", 2, worker(3, "2"));
    world.lead();
    assert_eq!(world.first_of(2), instance("worker-2"));
}

#[test]
fn what_needs_no_new_process_changes_everywhere_at_once() {
    let mut world = settled(&["a", "b"], 3);
    let revision = world.status("worker").revision;
    let mut spec = worker(3, "1");
    spec["health"] = json!({"tcp": {}});
    world.spec("worker", 2, spec);
    world.lead();
    for (_, asked) in world.assignments() {
        assert!(asked.health.tcp.is_some() && asked.revision == revision);
        assert_eq!(asked.generation, 2);
    }
    let ready = world.verdict("worker", "Ready").0;
    assert_eq!(ready, False, "until the agents have taken it up");
    world.settle();
    assert_eq!(world.verdict("worker", "Ready").0, True);
}

#[test]
fn a_wider_range_replaces_nothing_and_one_elsewhere_moves_one_at_a_time() {
    let mut world = settled(&["a"], 2);
    let mut spec = worker(2, "1");
    spec["ports"][0]["range"] = json!("5161-5180");
    world.spec("worker", 2, spec.clone());
    world.lead();
    assert!(world.assignments().iter().all(|(_, a)| a.generation == 1));
    spec["ports"][0]["range"] = json!("6161-6170");
    world.spec("worker", 3, spec);
    world.lead();
    let all = world.assignments().into_iter();
    assert_eq!(all.filter(|(_, a)| a.desired == Desired::Absent).count(), 1);
    world.settle();
    assert_eq!(
        world.placed("worker"),
        ["worker-0@a:6161", "worker-1@a:6162"]
    );
}

#[test]
fn a_node_that_loses_its_label_is_left_only_for_another() {
    let mut world = World::new();
    world.node("a", json!({"pool": "qa"}));
    let mut spec = worker(2, "1");
    spec["placement"] = json!({"nodeSelector": {"pool": "qa"}});
    world.spec("worker", 1, spec);
    world.settle();
    world.node("a", json!({}));
    world.settle();
    assert_eq!(world.placed("worker").len(), 2, "nowhere else to go");
    let (_, reason, message) = world.verdict("worker", "Updated");
    assert_eq!(reason, "Stuck");
    assert!(message.contains("label pool=qa missing, but"), "{message}");
    world.node("b", json!({"pool": "qa"}));
    world.settle();
    let placed = world.placed("worker");
    assert!(placed.iter().all(|p| p.contains("@b:")), "{placed:?}");
}

#[test]
fn a_deletion_leaves_nothing_but_its_record() {
    let mut world = settled(&["a", "b"], 3);
    world.delete("worker", 2);
    world.lead();
    let all = world.assignments();
    assert!(all.iter().all(|(_, a)| a.desired == Desired::Absent));
    let (_, reason, message) = world.verdict("worker", "Ready");
    assert_eq!(reason, "Deleting");
    assert!(message.contains("worker-0 on"), "{message}");
    world.settle();
    let service = &world.cluster.services()[&name("worker")];
    assert!(service.seats.is_empty() && service.route.is_none() && service.status.is_none());
    assert!(service.tombstone.is_some());
}

#[test]
fn a_state_that_appears_after_a_deletion_is_cleared_away() {
    let mut world = World::with_nodes(&["a"]);
    world.spec("worker", 1, worker(1, "1"));
    world.lead();
    let (node, late) = world.assignments().remove(0);
    world.delete("worker", 2);
    world.settle();
    // The agent had started it, and says so only now.
    world.act_on(&node, &late);
    world.settle();
    assert!(world.cluster.services()[&name("worker")].seats.is_empty());
}

#[test]
fn a_spec_that_vanishes_stops_nothing() {
    let mut world = settled(&["a"], 2);
    world.cluster.delete(&Key::ServiceSpec(name("worker")));
    world.settle();
    assert_eq!(world.placed("worker").len(), 2);
    let (status, reason, _) = world.verdict("worker", "Ready");
    assert_eq!((status, reason.as_str()), (Unknown, "SpecVanished"));
}

#[test]
fn a_refused_spec_leaves_the_last_good_one_in_force_and_others_alone() {
    let mut world = settled(&["a"], 2);
    world.spec("other", 1, json!({"command": ["x"]}));
    world.settle();
    let before = world.assignments();
    world.put_text(Key::ServiceSpec(name("worker")), "garbage");
    world.settle();
    let (status, reason, message) = world.verdict("worker", "Updated");
    assert_eq!((status, reason.as_str()), (False, "SpecRefused"));
    assert!(message.contains("line 1 column 1"), "{message}");
    world.spec("worker", 2, json!({"replicas": 2}));
    world.settle();
    let (_, reason, message) = world.verdict("worker", "Updated");
    assert_eq!(reason, "SpecRefused");
    assert!(message.contains("command"), "{message}");
    assert_eq!(world.assignments(), before);
    assert_eq!(world.status("worker").observed_generation, 1);
    assert_eq!(world.verdict("other", "Ready").0, True);
}

#[test]
fn a_refused_spec_seen_by_a_new_leader_changes_nothing() {
    let mut world = settled(&["a"], 2);
    let key = Key::ServiceSpec(name("worker"));
    // The new leader knows no earlier value.
    world.cluster.delete(&key);
    world.put_text(key, "garbage");
    world.settle();
    assert_eq!(world.placed("worker").len(), 2);
    assert_eq!(world.verdict("worker", "Ready").1, "SpecUnreadable");
}

#[test]
fn assignments_deleted_by_hand_are_written_again_in_their_places() {
    let mut world = settled(&["a", "b", "c"], 4);
    let before = world.placed("worker");
    for (node, asked) in world.assignments() {
        world.cluster.delete(&Key::Assignment(node, asked.instance));
    }
    world.settle();
    assert_eq!(world.placed("worker"), before);
}

#[test]
fn an_unreadable_assignment_is_written_again() {
    let mut world = settled(&["a"], 1);
    let before = world.assignments();
    let key = Key::Assignment(name("a"), instance("worker-0"));
    world.cluster.delete(&key);
    world.put_text(key, "{");
    world.settle();
    assert_eq!(world.assignments(), before);
}

#[test]
fn each_external_address_has_one_node_and_changes_in_place() {
    let mut world = World::with_nodes(&["a", "b"]);
    let spec = |addresses: &[&str]| json!({"external": addresses, "health": {"tcp": {}}});
    world.spec("license", 1, spec(&["one:1", "two:2"]));
    world.settle();
    let before = world.placed("license");
    assert_eq!(before.len(), 2);
    assert_eq!(world.verdict("license", "Ready").0, True);
    let kept = world.assignments()[0].1.clone();
    world.spec("license", 2, spec(&["one:1", "[::1]:3"]));
    world.settle();
    assert_eq!(world.placed("license"), before);
    let after = world.assignments();
    assert_eq!(after[0].1, kept, "an address that stays is left alone");
    assert_ne!(after[1].1.revision, kept.revision);
    let run = serde_json::to_value(&after[1].1.run).unwrap();
    assert_eq!(run, json!({"external": {"host": "::1", "port": 3}}));
    world.spec("license", 3, spec(&["one:1"]));
    world.settle();
    assert_eq!(world.placed("license").len(), 1);
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let mut world = settled(&["a"], 1);
    let placed = world.condition("worker", "Placed").last_transition_time;
    world.broken.insert(instance("worker-0"));
    world.settle();
    let after = world.condition("worker", "Placed").last_transition_time;
    assert_eq!(after, placed);
    assert!(world.condition("worker", "Ready").last_transition_time > placed);
}

#[test]
fn a_node_without_a_session_is_reported_as_unknown_and_gets_nothing_new() {
    let mut world = World::with_nodes(&["a", "b"]);
    world.settle();
    world.lose_node("b");
    world.spec("worker", 1, worker(2, "1"));
    world.settle();
    let placed = world.placed("worker");
    assert!(placed.iter().all(|p| p.contains("@a:")), "{placed:?}");
    let status = world.cluster.nodes()[&name("b")].status.clone();
    let status = status.unwrap().value.unwrap();
    assert_eq!((status.conditions[0].status, status.assigned), (Unknown, 0));
    assert_eq!(status.address, "127.0.0.1");
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let mut world = settled(&["a", "b"], 3);
    for _ in 0..3 {
        assert_eq!(world.plan(&Scope::everything()).steps, []);
    }
}
