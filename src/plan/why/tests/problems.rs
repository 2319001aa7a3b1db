//! What keeps a service from what is wanted of it: no room, others, a rollout, the cluster as a whole.

use serde_json::json;

use super::{Stage, World, instance, name, now, says, service, settled};
use crate::{
    keys::Key,
    model::{Edit, Timestamp},
};

const SERVICE: &str = "service/worker";

/// What the rollout of generation 2 begins with does not become ready, until that has lasted too long.
fn fail(world: &mut World) {
    world.lead();
    world.broken.insert(world.first_of(2));
    world.settle();
    world.pass(61);
    world.touch();
}

#[test]
fn a_selector_that_matches_nothing() {
    let mut world = World::with_nodes(&["a"]);
    world.node("b", json!({"gpu": "no"}));
    let selector = json!({"placement": {"nodeSelector": {"gpu": "yes"}}});
    world.spec("worker", 1, service(2, &selector));
    world.settle();
    let stage = Stage::from(world);
    let roots = [("node/a", "LabelMissing"), ("node/b", "LabelMissing")];
    stage.tells("selector-matches-nothing", "worker", &roots);
    stage.tells("selector-matches-nothing-instance", "worker-1", &roots);
}

#[test]
fn no_node_at_all() {
    let world = settled(&[], "worker", service(1, &json!({})));
    Stage::from(world).tells("no-nodes", "worker", &[("cluster", "NoNodes")]);
    let world = settled(
        &[],
        "worker",
        json!({"onePerNode": true, "command": ["/opt/app"]}),
    );
    Stage::from(world).tells("no-nodes-one-per-node", "worker", &[("cluster", "NoNodes")]);
}

#[test]
fn nodes_that_have_too_little_left() {
    let asks = json!({"requests": {"memory": "2GiB"}});
    let world = settled(&["a", "b"], "worker", service(3, &asks));
    let roots = [("node/a", "NoCapacity")];
    Stage::from(world).tells("capacity", "worker", &roots);
}

#[test]
fn a_port_that_another_service_holds() {
    let port = json!({"ports": [{"name": "grpc", "port": 7000}]});
    let mut world = settled(&["a"], "first", service(1, &port));
    world.spec("worker", 1, service(1, &port));
    world.settle();
    Stage::from(world).tells("port-held", "worker", &[("node/a", "NoPort")]);
}

#[test]
fn a_service_that_comes_first_and_is_not_ready() {
    let mut world = World::with_nodes(&["a"]);
    world.broken.insert(instance("db-0"));
    world.spec("db", 1, service(1, &json!({})));
    world.spec("worker", 1, service(1, &json!({"after": ["db"]})));
    world.settle();
    let stage = Stage::from(world);
    stage.tells(
        "dependency-not-ready",
        "worker",
        &[("instance/db-0", "Exited")],
    );
    let world = settled(&["a"], "worker", service(1, &json!({"after": ["db"]})));
    Stage::from(world).tells(
        "dependency-missing",
        "worker",
        &[("service/db", "NoSuchService")],
    );
    // Two that wait for each other have no end of the chain but that.
    let mut world = settled(&["a"], "worker", service(1, &json!({"after": ["other"]})));
    world.spec("other", 1, service(1, &json!({"after": ["worker"]})));
    world.settle();
    let roots = [("instance/other-0", "WaitsForOthers")];
    Stage::from(world).tells("dependency-circle", "worker", &roots);
}

#[test]
fn a_rollout_that_may_not_take_more_away() {
    let mut world = settled(&["a", "b"], "worker", service(3, &json!({})));
    world.broken.insert(instance("worker-0"));
    world.spec("worker", 2, service(3, &json!({"env": {"VERSION": "2"}})));
    world.settle();
    let stage = Stage::from(world);
    let roots = [
        ("instance/worker-0", "Exited"),
        (SERVICE, "BudgetExhausted"),
    ];
    stage.tells("budget-exhausted", "worker", &roots);
    let roots = [(SERVICE, "BudgetExhausted")];
    stage.tells("budget-exhausted-instance", "worker-2", &roots);
}

#[test]
fn a_rollout_that_an_operator_has_paused() {
    let mut world = settled(&["a"], "worker", service(2, &json!({})));
    world.spec("worker", 2, service(2, &json!({"env": {"VERSION": "2"}})));
    world.pause("worker", 3, true);
    world.settle();
    let mut stage = Stage::from(world);
    stage.tells("paused-rollout", "worker", &[(SERVICE, "Paused")]);
    let pause = Edit {
        by: "ann@desk".to_owned(),
        at: Timestamp::from_millis(now().as_millis() - 300_000),
        how: "rollout pause".to_owned(),
        generation: 3,
    };
    stage.pauses.insert("worker".parse().unwrap(), pause);
    stage.tells("paused-rollout-by", "worker", &[(SERVICE, "Paused")]);
}

#[test]
fn a_pause_for_which_nothing_waits_is_told_as_well_and_is_nothing_bad() {
    let mut world = settled(&["a"], "worker", service(2, &json!({})));
    world.pause("worker", 2, true);
    world.settle();
    let stage = Stage::from(world);
    stage.tells("paused-idle", "worker", &[(SERVICE, "Paused")]);
}

#[test]
fn a_template_that_was_taken_back() {
    let back = json!({"rollout": {"progressDeadline": "60s", "autoRollback": true}});
    let mut world = settled(&["a"], "worker", service(2, &back));
    let mut bad = service(2, &back);
    bad["env"] = json!({"VERSION": "2"});
    world.spec("worker", 2, bad.clone());
    fail(&mut world);
    world.broken.clear();
    world.settle();
    let stage = Stage::from(world);
    stage.tells("rolled-back", "worker", &[(SERVICE, "RolledBack")]);
    let mut world = settled(
        &["a"],
        "worker",
        service(2, &json!({"rollout": {"progressDeadline": "60s"}})),
    );
    bad["rollout"] = json!({"progressDeadline": "60s"});
    world.spec("worker", 2, bad);
    fail(&mut world);
    world.settle();
    let roots = [("instance/worker-0", "Exited"), (SERVICE, "RolloutFailed")];
    Stage::from(world).tells("rollout-failed", "worker", &roots);
}

#[test]
fn a_manifest_that_is_gone_unreadable_or_refused() {
    let mut world = settled(&["a"], "worker", service(1, &json!({})));
    world.cluster.delete(&Key::ServiceSpec(name("worker")));
    world.settle();
    Stage::from(world).tells("vanished", "worker", &[(SERVICE, "SpecVanished")]);
    let mut world = World::with_nodes(&["a"]);
    world.put_text(Key::ServiceSpec(name("worker")), "{");
    world.settle();
    Stage::from(world).tells("unreadable", "worker", &[(SERVICE, "SpecUnreadable")]);
    let mut world = settled(&["a"], "worker", service(1, &json!({})));
    world.put_text(Key::ServiceSpec(name("worker")), "{");
    world.settle();
    Stage::from(world).tells("refused", "worker", &[(SERVICE, "SpecRefused")]);
}

#[test]
fn a_deleted_service_names_what_still_stops() {
    let mut world = settled(&["a"], "worker", service(2, &json!({})));
    world.delete("worker", 2);
    world.lead();
    let stops = json!({"phase": "Stopping", "ready": false, "reason": "Absent",
        "message": "asked to stop: its assignment says absent (store revision 9)"});
    says(&mut world, "a", "worker-0", &stops);
    says(&mut world, "a", "worker-1", &stops);
    let stage = Stage::from(world);
    stage.tells("deleting", "worker", &[("instance/worker-0", "Stopping")]);
    stage.tells("deleting-instance", "worker-1", &[(SERVICE, "Deleted")]);
}

#[test]
fn a_store_that_is_full_and_no_controller() {
    let mut world = settled(&["a"], "worker", service(1, &json!({})));
    world.spec("worker", 2, service(2, &json!({})));
    let mut stage = Stage::from(world);
    stage.full = true;
    stage.tells(
        "store-full",
        "worker",
        &[
            ("cluster", "StoreFull"),
            (SERVICE, "NotPlanned"),
            ("instance/worker-1", "NotPlacedYet"),
        ],
    );
    stage.full = false;
    stage.led = false;
    stage.tells(
        "controller-gone",
        "worker",
        &[
            ("cluster", "NoController"),
            (SERVICE, "NotPlanned"),
            ("instance/worker-1", "NotPlacedYet"),
        ],
    );
    stage.tells(
        "controller-gone-cluster",
        "cluster",
        &[("cluster", "NoController")],
    );
    stage.tells("controller-gone-node", "a", &[("cluster", "NoController")]);
}

#[test]
fn a_store_that_was_restored_from_a_backup() {
    let mut world = settled(&["a"], "worker", service(1, &json!({})));
    world.cluster.fell_from(1_000);
    world.settle();
    Stage::from(world).tells("restored", "worker", &[("cluster", "Restored")]);
}
