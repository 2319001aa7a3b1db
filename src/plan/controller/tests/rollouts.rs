//! Rollouts by revision: budgets, stand-ins, canaries, pauses, and going back.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::world::{World, instance};
use crate::model::{
    ConditionStatus::{False, True, Unknown},
    Moment,
};

fn worker(version: &str, rollout: Json) -> Json {
    json!({"command": ["worker", version], "replicas": 4, "rollout": rollout,
        "ports": [{"name": "grpc", "range": "5161-5165"}]})
}

/// A settled `worker` of four.
fn settled(rollout: &Json) -> World {
    let mut world = World::with_nodes(&["a", "b"]);
    world.spec("worker", 1, worker("1", rollout.clone()));
    world.settle();
    world
}

/// How many are to run `generation`.
fn of(world: &World, generation: u64) -> usize {
    let all = world.assignments().into_iter();
    all.filter(|(_, asked)| asked.generation == generation)
        .count()
}

#[test]
fn as_many_are_replaced_at_once_as_may_be_unavailable() {
    let rollout = json!({"maxUnavailable": "50%"});
    let mut world = settled(&rollout);
    world.spec("worker", 2, worker("2", rollout));
    world.lead();
    assert_eq!(of(&world, 2), 2);
    world.settle();
    assert_eq!(world.verdict("worker", "Progressing").1, "Complete");
}

#[test]
fn a_stand_in_has_a_higher_slot_and_goes_when_all_are_updated() {
    let rollout = json!({"maxUnavailable": 0, "maxSurge": 1});
    let mut world = settled(&rollout);
    world.spec("worker", 2, worker("2", rollout));
    world.lead();
    let placed = world.placed("worker");
    assert!(
        placed
            .iter()
            .any(|it| it.starts_with("worker-4@") && it.ends_with(":5165")),
        "{placed:?}"
    );
    assert_eq!(of(&world, 2), 1, "nobody else before it is available");
    world.settle();
    assert_eq!(world.placed("worker").len(), 4);
    assert_eq!(world.verdict("worker", "Ready").0, True);
}

#[test]
fn a_rollout_that_begins_before_the_first_one_is_over_has_stand_ins() {
    let rollout = json!({"maxUnavailable": 0, "maxSurge": 1});
    let mut world = World::with_nodes(&["a", "b"]);
    world.spec("worker", 1, worker("1", rollout.clone()));
    world.lead();
    while world.act() {}
    world.spec("worker", 2, worker("2", rollout));
    world.settle();
    assert_eq!(of(&world, 2), 4);
    assert_eq!(world.verdict("worker", "Progressing").1, "Complete");
}

/// Plans and acts until nothing changes; so many are to be ready all the time.
fn settle_with(world: &mut World, least: u32) {
    loop {
        world.lead();
        let ready = world.status("worker").ready;
        assert!(
            ready >= least,
            "{ready} ready: {:?}",
            world.placed("worker")
        );
        if !world.act() {
            return;
        }
    }
}

#[test]
fn a_template_that_comes_back_half_way_has_stand_ins_as_well() {
    let rollout = json!({"maxUnavailable": 0, "maxSurge": 1});
    let mut world = settled(&rollout);
    world.spec("worker", 2, worker("2", rollout.clone()));
    while of(&world, 2) < 3 {
        world.lead();
        world.act();
    }
    world.spec("worker", 3, worker("1", rollout));
    settle_with(&mut world, 4);
    let revision = world.status("worker").revision;
    let all = world.assignments();
    assert!(all.iter().all(|(_, asked)| asked.revision == revision));
    assert_eq!(all.len(), 4);
    assert_eq!(world.verdict("worker", "Progressing").1, "Complete");
}

#[test]
fn what_returns_with_an_old_template_after_the_rollout_is_replaced_with_stand_ins() {
    let rollout = json!({"maxUnavailable": 0, "maxSurge": 1});
    let spec = |version: &str| {
        json!({"command": ["worker", version], "replicas": 2, "rollout": rollout,
            "load": {"reportLoad": {}}, "ports": [{"name": "grpc", "range": "5161-5165"}]})
    };
    let mut world = World::with_nodes(&["a", "b", "c"]);
    world.spec("worker", 1, spec("1"));
    world.settle();
    // Its node goes away while its stand-in is ready: the stand-in counts as one of two, and the rollout is over.
    let placed = world.placed("worker");
    let last = placed[1].split(['@', ':']).nth(1).unwrap().to_owned();
    world.spec("worker", 2, spec("2"));
    while of(&world, 2) < 2 {
        world.lead();
        world.act();
    }
    world.lose_node(&last);
    world.settle();
    world.pass(60);
    world.settle();
    assert_eq!(world.verdict("worker", "Progressing").1, "Complete");
    world.node(&last, json!({}));
    world.load(&last, &["worker-1"]);
    settle_with(&mut world, 2);
    world.pass(10);
    settle_with(&mut world, 2);
    assert_eq!((of(&world, 2), world.assignments().len()), (2, 2));
    assert_eq!(world.verdict("worker", "Progressing").1, "Complete");
}

#[test]
fn only_slots_from_the_partition_on_get_a_new_template() {
    let rollout = json!({"partition": 3});
    let mut world = settled(&rollout);
    world.spec("worker", 2, worker("2", rollout));
    world.settle();
    assert_eq!(
        (of(&world, 2), world.first_of(2)),
        (1, instance("worker-3"))
    );
    assert_eq!(world.verdict("worker", "Ready").0, True);
    assert_eq!(
        world.verdict("worker", "Progressing").1,
        "PartitionComplete"
    );
    world.spec("worker", 3, worker("2", json!({})));
    world.settle();
    assert_eq!(world.status("worker").updated, 4);
}

#[test]
fn a_template_without_progress_is_taken_back_once_and_for_all() {
    let rollout = json!({"progressDeadline": "60s", "autoRollback": true});
    let mut world = settled(&rollout);
    let before = world.placed("worker");
    let good = world.status("worker").revision;
    world.spec("worker", 2, worker("2", rollout.clone()));
    world.lead();
    world.broken.insert(world.first_of(2));
    world.settle();
    assert_eq!(world.verdict("worker", "Progressing").0, True);
    world.cluster.advance(Moment::new(Duration::from_secs(61)));
    world.touch();
    world.broken.clear();
    world.settle();
    let (status, reason, message) = world.verdict("worker", "Progressing");
    assert_eq!((status, reason.as_str()), (False, "RolledBack"));
    assert!(message.contains("no progress within 1m"), "{message}");
    let all = world.assignments();
    assert!(all.iter().all(|(_, asked)| asked.revision == good));
    assert_eq!(world.placed("worker"), before);
    // What does not change the template does not try it again.
    let mut fewer = worker("2", rollout);
    fewer["replicas"] = json!(3);
    world.spec("worker", 3, fewer);
    world.settle();
    let all = world.assignments();
    assert!(all.iter().all(|(_, asked)| asked.revision == good) && all.len() == 3);
    world.spec("worker", 4, worker("4", json!({})));
    world.settle();
    assert_eq!(world.verdict("worker", "Progressing").1, "Complete");
}

#[test]
fn without_a_rollback_the_failure_is_told_and_the_rest_stays() {
    let rollout = json!({"progressDeadline": "60s"});
    let mut world = settled(&rollout);
    world.spec("worker", 2, worker("2", rollout));
    world.lead();
    world.broken.insert(world.first_of(2));
    world.settle();
    world.cluster.advance(Moment::new(Duration::from_secs(61)));
    world.touch();
    world.settle();
    let (status, reason, _) = world.verdict("worker", "Progressing");
    assert_eq!(
        (status, reason.as_str()),
        (False, "ProgressDeadlineExceeded")
    );
    assert_eq!(of(&world, 2), 1);
}

#[test]
fn nothing_is_replaced_while_a_rollout_is_paused() {
    let mut world = settled(&json!({}));
    world.spec("worker", 2, worker("2", json!({})));
    world.pause("worker", 3, true);
    world.settle();
    assert_eq!(of(&world, 1), 4);
    assert_eq!(world.verdict("worker", "Progressing").0, Unknown);
    world.pause("worker", 4, false);
    world.settle();
    assert_eq!(world.verdict("worker", "Ready").0, True);
    assert_eq!(world.status("worker").updated, 4);
}

#[test]
fn templates_are_remembered_up_to_the_limit() {
    let mut world = settled(&json!({}));
    for generation in 2..9 {
        let rollout = json!({"revisionHistoryLimit": 3});
        world.spec(
            "worker",
            generation,
            worker(&generation.to_string(), rollout),
        );
        world.settle();
    }
    let service = &world.cluster.services()[&super::world::name("worker")];
    let numbers = service
        .revisions
        .values()
        .map(|it| it.value.as_ref().unwrap().number);
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [5, 6, 7, 8]);
}
