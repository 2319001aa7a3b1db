//! What once did not hold: histories that chance found, shortened.

use super::chance::{Event, live};

use Event::{Act, Delete, Garbage, Lead, Lose, LoseAssignments, Pass};

fn node(node: usize, pool: usize) -> Event {
    Event::Node { node, pool }
}

fn spec(service: usize, replicas: u32, version: u8, pool: usize, kind: u8) -> Event {
    Event::Spec {
        service,
        replicas,
        version,
        pool,
        kind,
    }
}

#[test]
fn what_a_lost_node_had_keeps_its_revision_when_the_service_becomes_another() {
    live(&[
        node(2, 1),
        spec(2, 2, 0, 1, 4),
        Lead,
        Lose { node: 2 },
        node(0, 0),
        spec(2, 1, 0, 0, 0),
        Lead,
        Pass { seconds: 60 },
        Lead,
    ]);
}

#[test]
fn a_service_that_becomes_another_while_a_node_is_lost_keeps_its_budget() {
    live(&[
        node(0, 0),
        spec(2, 1, 0, 2, 3),
        node(1, 0),
        Lead,
        Lose { node: 0 },
        Pass { seconds: 60 },
        spec(2, 2, 0, 0, 0),
        Lead,
        Act,
    ]);
}

#[test]
fn an_instance_that_is_leaving_holds_no_other_place_yet() {
    live(&[
        node(0, 1),
        spec(0, 1, 0, 1, 0),
        spec(1, 1, 0, 0, 2),
        Lead,
        node(1, 0),
        spec(0, 1, 0, 0, 2),
        Act,
        Lead,
    ]);
}

#[test]
fn a_slot_that_moves_is_opened_again_rather_than_a_lower_one() {
    live(&[
        node(0, 0),
        spec(2, 1, 0, 0, 3),
        spec(1, 1, 0, 1, 3),
        Lead,
        spec(2, 1, 0, 1, 0),
        node(0, 1),
        node(2, 1),
        Act,
        Lead,
        spec(1, 1, 0, 1, 0),
        node(2, 0),
        Act,
        Lead,
    ]);
}

#[test]
fn nothing_moves_while_another_is_still_leaving() {
    live(&[
        node(0, 1),
        node(1, 0),
        node(3, 1),
        spec(0, 1, 0, 1, 0),
        spec(1, 1, 0, 2, 3),
        Lead,
        Act,
        spec(1, 1, 0, 0, 3),
        Lead,
        node(0, 0),
        spec(1, 1, 0, 1, 0),
        Lead,
    ]);
}

#[test]
fn what_has_left_does_not_give_its_number_to_the_next() {
    live(&[
        node(1, 0),
        spec(2, 1, 0, 2, 0),
        Lead,
        node(0, 0),
        spec(2, 2, 0, 2, 0),
        spec(0, 1, 0, 2, 3),
        Lead,
        Act,
        Delete { service: 2 },
        Lead,
        Act,
        spec(2, 1, 0, 2, 3),
        Lead,
    ]);
}

#[test]
fn an_instance_that_has_to_move_still_counts_as_unfinished() {
    live(&[
        spec(2, 1, 2, 0, 4),
        node(0, 0),
        Lead,
        Act,
        node(1, 0),
        spec(2, 1, 0, 0, 4),
        Lead,
        node(0, 1),
        Lead,
    ]);
}

#[test]
fn a_service_behind_a_refused_spec_hears_of_a_free_port() {
    live(&[
        spec(2, 1, 0, 2, 2),
        node(1, 0),
        spec(1, 1, 0, 0, 0),
        Lead,
        spec(1, 1, 0, 2, 2),
        node(0, 1),
        Garbage { service: 1 },
        spec(2, 2, 0, 1, 0),
        Lead,
        Act,
        Lead,
        Act,
        Lead,
    ]);
}

#[test]
fn an_instance_without_a_port_for_its_successor_finds_one_elsewhere() {
    live(&[
        node(0, 0),
        node(1, 1),
        spec(0, 1, 0, 0, 3),
        node(2, 1),
        spec(2, 3, 0, 2, 0),
        spec(1, 3, 0, 0, 1),
        Lead,
    ]);
}

#[test]
fn of_several_that_are_leaving_the_same_one_is_always_named() {
    live(&[
        node(3, 0),
        spec(1, 1, 0, 2, 0),
        Lead,
        Act,
        Lose { node: 3 },
        node(0, 1),
        Delete { service: 1 },
        Lead,
        spec(1, 4, 0, 1, 0),
        Lead,
        Act,
    ]);
}

#[test]
fn a_service_hears_that_another_one_is_ready_where_an_agent_is_connected() {
    live(&[
        spec(2, 1, 0, 1, 0),
        node(3, 1),
        Lead,
        spec(1, 1, 0, 0, 0),
        spec(2, 2, 0, 1, 0),
        Act,
        node(0, 1),
        Lose { node: 3 },
        Lead,
        Act,
        Lead,
    ]);
}

#[test]
fn a_process_that_becomes_an_external_endpoint_is_reported_the_same_by_the_next_plan() {
    live(&[
        node(0, 0),
        spec(2, 1, 0, 2, 7),
        Lead,
        Act,
        spec(2, 1, 0, 0, 4),
        Lead,
        Act,
        Lead,
    ]);
}

#[test]
fn what_becomes_an_external_endpoint_counts_as_replaced_until_its_agent_says_so() {
    live(&[
        node(0, 0),
        spec(1, 2, 0, 0, 8),
        Lead,
        Act,
        spec(1, 1, 0, 0, 4),
        Lead,
    ]);
}

#[test]
fn a_service_without_room_is_told_so_again_once_another_one_is_taken_up() {
    live(&[
        node(1, 0),
        spec(2, 1, 0, 2, 6),
        Lead,
        spec(0, 3, 0, 0, 6),
        node(1, 0),
        Act,
        LoseAssignments { service: 2 },
        Lead,
    ]);
}
