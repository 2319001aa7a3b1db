use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{LoadReport, ServerStats},
    view::{members::Candidate, tests::Setting},
};

const RECENTLY: Duration = Duration::from_secs(5);

/// An endpoint `host:port` with a known rate, and counts as (current, capacity).
fn endpoint(place: &str, known_rate: Option<f64>, counts: Option<(i32, i32)>) -> Arc<Endpoint> {
    let (host, port) = place.split_once(':').unwrap();
    let endpoint = crate::view::tests::endpoint(host, port.parse().unwrap());
    let report = LoadReport {
        known_rate,
        stats: counts.map(|(current_requests, request_capacity)| ServerStats {
            request_capacity,
            current_requests,
            ..ServerStats::default()
        }),
    };
    endpoint.set_load(Some(&report), &Setting::default().dial);
    Arc::new(endpoint)
}

fn members(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Members {
    let trusted = |endpoint| Candidate {
        endpoint,
        suspect: false,
    };
    Setting::default().members(endpoints.into_iter().map(trusted).collect())
}

fn places(chosen: &[Arc<Endpoint>]) -> Vec<String> {
    chosen
        .iter()
        .map(|endpoint| format!("{}:{}", endpoint.host(), endpoint.port()))
        .collect()
}

/// All of them, on a clock that has just started.
fn all(members: &Members) -> Vec<String> {
    places(&choose(
        members,
        usize::MAX,
        |_| true,
        RECENTLY,
        Moment::default(),
    ))
}

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

#[test]
fn the_smaller_known_rate_comes_first_whatever_the_counts_say() {
    let members = members([
        endpoint("a:1", Some(0.5), Some((0, 4))),
        endpoint("a:2", Some(0.25), Some((4, 4))),
        endpoint("a:3", Some(f64::INFINITY), None),
        endpoint("a:4", Some(0.0), None),
    ]);
    assert_eq!(all(&members), ["a:4", "a:2", "a:1", "a:3"]);
}

#[test]
fn equal_rates_fall_through_to_host_then_own_utilisation_then_place() {
    let members = members([
        endpoint("b:1", Some(0.5), Some((1, 4))),
        endpoint("A:9", Some(0.5), Some((3, 4))),
        endpoint("a:8", Some(0.5), Some((3, 4))),
        endpoint("a:7", Some(0.5), Some((2, 4))),
    ]);
    assert_eq!(all(&members), ["b:1", "a:7", "a:8", "A:9"]);
}

#[test]
fn the_less_used_host_comes_before_the_less_used_endpoint() {
    let members = members([
        // 5 of 8 on the first host, 3 of 8 on the second.
        endpoint("a:1", None, Some((1, 4))),
        endpoint("a:2", None, Some((4, 4))),
        endpoint("b:1", None, Some((2, 4))),
        endpoint("b:2", None, Some((1, 4))),
    ]);
    assert_eq!(all(&members), ["b:2", "b:1", "a:1", "a:2"]);
}

#[test]
fn known_rates_come_before_counts_and_both_before_no_report() {
    let members = members([
        endpoint("a:1", None, None),
        endpoint("a:2", None, Some((0, 4))),
        endpoint("a:3", Some(0.9), None),
    ]);
    assert_eq!(all(&members), ["a:3", "a:2", "a:1"]);
}

#[test]
fn an_endpoint_of_capacity_0_is_left_out_also_of_its_hosts_sum() {
    let members = members([
        endpoint("a:1", None, Some((9, 0))),
        endpoint("a:2", None, Some((1, 4))),
        endpoint("b:1", None, Some((2, 4))),
        endpoint("c:1", Some(0.1), Some((0, 0))),
    ]);
    assert_eq!(all(&members), ["a:2", "b:1"]);
}

#[test]
fn an_unknown_capacity_is_an_unknown_utilisation_and_comes_last() {
    let members = members([
        endpoint("a:1", None, Some((0, -1))),
        endpoint("a:2", None, Some((4, 4))),
        endpoint("b:1", None, Some((0, -1))),
    ]);
    assert_eq!(all(&members), ["a:2", "a:1", "b:1"]);
}

#[test]
fn two_askers_in_a_row_get_two_endpoints() {
    let members = members([
        endpoint("a:1", None, Some((0, 1))),
        endpoint("a:2", None, Some((0, 1))),
        endpoint("a:3", None, Some((0, 1))),
    ]);
    let ask = |now| places(&choose(&members, 1, |_| true, RECENTLY, now)).remove(0);
    assert_eq!([ask(at(0)), ask(at(1)), ask(at(2))], ["a:1", "a:2", "a:3"]);
    // The first is free again after five seconds.
    assert_eq!(ask(at(5)), "a:1");
}

#[test]
fn askers_at_the_same_time_get_different_endpoints() {
    let askers = 4;
    for _ in 0..200 {
        let endpoints = (0..askers).map(|port| endpoint(&format!("a:{port}"), Some(0.0), None));
        let members = members(endpoints);
        let start = std::sync::Barrier::new(askers);
        let ask = || {
            start.wait();
            places(&choose(&members, 1, |_| true, RECENTLY, at(1)))
        };
        let answers: BTreeSet<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..askers).map(|_| scope.spawn(ask)).collect();
            asking
                .into_iter()
                .flat_map(|asked| asked.join().unwrap())
                .collect()
        });
        assert_eq!(answers.len(), askers, "{answers:?}");
    }
}

#[test]
fn those_handed_out_lately_move_to_the_end_and_keep_their_order() {
    let members = members([
        endpoint("a:1", Some(0.1), None),
        endpoint("a:2", Some(0.2), None),
        endpoint("a:3", Some(0.3), None),
        endpoint("a:4", None, None),
    ]);
    assert_eq!(
        places(&choose(&members, 2, |_| true, RECENTLY, at(0))),
        ["a:1", "a:2"]
    );
    assert_eq!(
        places(&choose(&members, usize::MAX, |_| true, RECENTLY, at(4))),
        ["a:3", "a:4", "a:1", "a:2"]
    );
}

#[test]
fn suspects_come_after_those_handed_out_lately() {
    let idle = endpoint("a:1", Some(0.0), None);
    let members = Setting::default().members(vec![
        Candidate {
            endpoint: idle,
            suspect: true,
        },
        Candidate {
            endpoint: endpoint("b:1", Some(0.9), None),
            suspect: false,
        },
        Candidate {
            endpoint: endpoint("c:1", None, None),
            suspect: false,
        },
    ]);
    assert_eq!(
        places(&choose(&members, 1, |_| true, RECENTLY, at(0))),
        ["b:1"]
    );
    assert_eq!(
        places(&choose(&members, usize::MAX, |_| true, RECENTLY, at(1))),
        ["c:1", "b:1", "a:1"]
    );
}

/// Numbers as hostile as a worker could report.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        prop::sample::select(vec![
            0.0,
            -0.0,
            0.5,
            1.0,
            -1.0,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY
        ]),
    ]
}

fn count() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), -2..4_i32]
}

type Report = (Option<f64>, Option<(i32, i32)>, bool, bool);

fn reports() -> impl Strategy<Value = Vec<Report>> {
    let report = (
        prop::option::of(number()),
        prop::option::of((count(), count())),
        any::<bool>(),
        any::<bool>(),
    );
    prop::collection::vec(report, 0..40)
}

/// Members over three hosts, some suspect, some handed out at the beginning.
fn arbitrary(reports: &[Report], order: &[usize]) -> Members {
    let candidate = |&index: &usize| {
        let (rate, counts, suspect, used) = reports[index];
        let endpoint = endpoint(&format!("h{}:{index}", index % 3), rate, counts);
        if used {
            endpoint.hand_out(RECENTLY, Moment::default());
        }
        Candidate { endpoint, suspect }
    };
    Setting::default().members(order.iter().map(candidate).collect())
}

fn reports_in_two_orders() -> impl Strategy<Value = (Vec<Report>, Vec<usize>)> {
    reports().prop_flat_map(|reports| {
        let order: Vec<usize> = (0..reports.len()).collect();
        (Just(reports), Just(order).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn ranks_are_totally_ordered_and_no_two_are_equal(reports in reports()) {
        let order: Vec<usize> = (0..reports.len()).collect();
        let members = arbitrary(&reports, &order);
        let ranks: Vec<_> = ranks(&members, |endpoint| endpoint.was_handed_out(RECENTLY, at(1))).collect();
        for a in &ranks {
            for b in &ranks {
                prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
                prop_assert_eq!(a.cmp(b).is_eq(), a.position == b.position);
                for c in &ranks {
                    prop_assert!(!(a < b && b < c) || a < c);
                }
            }
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter((reports, shuffled) in reports_in_two_orders()) {
        let sorted: Vec<usize> = (0..reports.len()).collect();
        let choice = |order: &[usize]| {
            places(&choose(&arbitrary(&reports, order), usize::MAX, |_| true, RECENTLY, at(1)))
        };
        prop_assert_eq!(choice(&sorted), choice(&shuffled));
    }

    #[test]
    fn a_short_answer_is_the_beginning_of_the_long_one(reports in reports(), at_most in 0_usize..45) {
        let order: Vec<usize> = (0..reports.len()).collect();
        let choice = |at_most| {
            places(&choose(&arbitrary(&reports, &order), at_most, |_| true, RECENTLY, at(1)))
        };
        let mut long = choice(usize::MAX);
        long.truncate(at_most);
        prop_assert_eq!(choice(at_most), long);
    }
}
