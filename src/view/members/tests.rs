use super::*;
use crate::view::tests::{Setting, endpoint};

fn members(candidates: &[(&str, u16, bool)]) -> Members {
    let candidates = candidates.iter().map(|(host, port, suspect)| Candidate {
        endpoint: Arc::new(endpoint(host, *port)),
        suspect: *suspect,
    });
    Setting::default().members(candidates.collect())
}

fn places(members: &Members) -> Vec<String> {
    let place = |endpoint: &Arc<Endpoint>| format!("{}:{}", endpoint.host(), endpoint.port());
    members.endpoints().iter().map(place).collect()
}

#[test]
fn members_are_ordered_by_host_in_any_case_then_port() {
    let members = members(&[
        ("b", 1, false),
        ("A", 10, false),
        ("a", 9, false),
        ("C", 0, false),
    ]);
    assert_eq!(places(&members), ["a:9", "A:10", "b:1", "C:0"]);
    assert_eq!(members.hosts().of, [0, 0, 1, 2]);
    assert_eq!(members.hosts().count, 3);
}

#[test]
fn suspects_come_after_all_others() {
    let members = members(&[
        ("a", 1, true),
        ("b", 1, false),
        ("c", 1, true),
        ("d", 1, false),
    ]);
    assert_eq!(places(&members), ["b:1", "d:1", "a:1", "c:1"]);
    assert_eq!(members.normal(), 2);
    assert_eq!(members.hosts().of, [0, 1, 2, 3]);
}

#[test]
fn when_more_than_half_are_suspect_all_are_in_normal_use() {
    let members = members(&[("a", 1, true), ("b", 1, false), ("c", 1, true)]);
    assert_eq!(places(&members), ["a:1", "b:1", "c:1"]);
    assert_eq!(members.normal(), 3);
}

#[test]
fn a_place_that_two_instances_claim_is_one_member_and_not_suspect_if_one_is_not() {
    let members = members(&[
        ("a", 1, true),
        ("A", 1, false),
        ("a", 1, true),
        ("b", 1, false),
    ]);
    assert_eq!(places(&members), ["A:1", "b:1"]);
    assert_eq!(members.normal(), 2);
}

#[test]
fn a_name_can_have_no_members() {
    let members = members(&[]);
    assert_eq!(members.endpoints().len(), 0);
    assert_eq!(members.hosts().count, 0);
}

#[test]
fn keys_are_ordered_as_loads_are_and_suspects_come_last() {
    let loads = [0.0, 1e-9, 0.25, 0.250_001, 1.0, 70.0, 1e30, f64::INFINITY];
    let keys: Vec<u32> = loads.iter().map(|load| key(Some(*load), false)).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert!(keys.last() < Some(&key(Some(0.0), true)));
    assert!(key(Some(f64::INFINITY), true) < key(None, false));
}
