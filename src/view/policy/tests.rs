use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::{
    model::{LoadReport, Moment, ServerStats},
    view::{
        members::Candidate,
        tests::{Setting, endpoint},
    },
};

const POLICIES: [Policy; 7] = [
    Policy::LeastLoad,
    Policy::P2c,
    Policy::Ordered,
    Policy::RoundRobin,
    Policy::Random,
    Policy::Weighted,
    Policy::Hash,
];

/// What is known of a member: capacity and current requests, if it reports them, and whether it is suspect.
type Known = (Option<(i32, i32)>, bool);

fn setting(policy: Policy) -> Setting {
    Setting {
        balance: BalanceSpec {
            policy: Some(policy),
            ..BalanceSpec::default()
        },
        ..Setting::default()
    }
}

/// Members at `h:0`, `h:1` and so on.
fn members(setting: &Setting, known: &[Known]) -> Members {
    let candidates = known.iter().zip(0..).map(|((counts, suspect), port)| {
        let endpoint = endpoint("h", port);
        let stats = counts.map(|(request_capacity, current_requests)| ServerStats {
            request_capacity,
            current_requests,
            ..ServerStats::default()
        });
        let report = LoadReport {
            known_rate: None,
            stats,
        };
        endpoint.set_load(Some(&report), &setting.dial);
        Candidate {
            endpoint: Arc::new(endpoint),
            suspect: *suspect,
        }
    });
    setting.members(candidates.collect())
}

/// So many members that take one request and have none.
fn idle(setting: &Setting, count: usize) -> Members {
    members(setting, &vec![(Some((1, 0)), false); count])
}

fn ports(members: &Members, question: &Question<'_>) -> Vec<u16> {
    let recently = Duration::from_secs(5);
    let chosen = choose(members, question, recently);
    chosen.iter().map(|endpoint| endpoint.port()).collect()
}

fn one(members: &Members, seed: u64) -> u16 {
    ports(members, &Question::new("a", seed, Moment::default()))[0]
}

fn known() -> impl Strategy<Value = Vec<Known>> {
    let counts = prop::option::of((-1..4, 0..4));
    prop::collection::vec((counts, prop::bool::weighted(0.2)), 0..40)
}

proptest! {
    #[test]
    fn every_policy_answers_different_members_that_take_requests_and_are_not_excluded_suspects_last(
        known in known(),
        excluded in prop::collection::btree_set(0_u16..40, 0..9),
        count in 1_usize..45,
        seed in any::<u64>(),
    ) {
        for policy in POLICIES {
            let members = members(&setting(policy), &known);
            let is_excluded = |endpoint: &Endpoint| excluded.contains(&endpoint.port());
            let question = Question {
                count,
                excluded: Some(&is_excluded),
                affinity_key: "key",
                ..Question::new("a", seed, Moment::default())
            };
            let answer = ports(&members, &question);
            let able: BTreeSet<u16> = (known.iter().zip(0..))
                .filter(|((counts, _), port)| {
                    counts.is_none_or(|(capacity, _)| capacity != 0) && !excluded.contains(port)
                })
                .map(|(_, port)| port)
                .collect();
            let different: BTreeSet<u16> = answer.iter().copied().collect();
            prop_assert_eq!(different.len(), answer.len(), "{:?}", policy);
            prop_assert!(different.is_subset(&able), "{:?} answers {:?}", policy, answer);
            prop_assert_eq!(answer.len(), count.min(able.len()), "{:?}", policy);
            let most_are_suspect = members.normal() == known.len();
            let suspect = |port: &u16| known[usize::from(*port)].1 && !most_are_suspect;
            prop_assert!(answer.is_sorted_by_key(suspect), "{:?} answers {:?}", policy, answer);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_answers(known in known(), seeds in prop::collection::vec(any::<u64>(), 1..20)) {
        for policy in POLICIES {
            let run = || {
                let members = members(&setting(policy), &known);
                let ask = |seed: &u64| ports(&members, &Question::new("a", *seed, Moment::default()));
                seeds.iter().map(ask).collect::<Vec<_>>()
            };
            prop_assert_eq!(run(), run(), "{:?}", policy);
        }
    }

    #[test]
    fn least_load_answers_the_exact_minimum_and_counts_what_it_answered(
        loads in prop::collection::vec((1..9, 0..9), 1..300),
        seeds in prop::collection::vec(any::<u64>(), 1..60),
    ) {
        let known: Vec<Known> = loads.iter().map(|counts| (Some(*counts), false)).collect();
        let members = members(&setting(Policy::LeastLoad), &known);
        let mut loads: Vec<(f64, f64)> = loads
            .iter()
            .map(|(capacity, current)| (f64::from(*capacity), f64::from(*current)))
            .collect();
        for seed in seeds {
            let port = usize::from(one(&members, seed));
            let least = loads.iter().map(|(capacity, current)| current / capacity);
            let least = least.fold(f64::INFINITY, f64::min);
            let (capacity, current) = &mut loads[port];
            prop_assert!((*current / *capacity - least).abs() < 1e-5);
            *current += 1.0;
        }
    }
}

#[test]
fn least_load_draws_equals_evenly() {
    let mut times = [0; 4];
    for seed in 0..4_000 {
        times[usize::from(one(&idle(&setting(Policy::LeastLoad), 4), seed))] += 1;
    }
    assert!(
        times.iter().all(|times| (850..1_150).contains(times)),
        "{times:?}"
    );
}

#[test]
fn askers_at_the_same_time_get_different_idle_members() {
    for round in 0..50 {
        let members = idle(&setting(Policy::LeastLoad), 200);
        let ask = |asker: u64| (0..50).map(move |at| asker << 32 | at << 8 | round);
        let ask = |asker| {
            ask(asker)
                .map(|seed| one(&members, seed))
                .collect::<Vec<_>>()
        };
        let mut all: Vec<u16> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|asker| scope.spawn(move || ask(asker)))
                .collect();
            let answers = asking.into_iter().flat_map(|asking| asking.join().unwrap());
            answers.collect()
        });
        all.sort_unstable();
        assert!(all.into_iter().eq(0..200));
    }
}

#[test]
fn of_two_drawn_the_less_busy_is_answered() {
    let setting = setting(Policy::P2c);
    let known: Vec<Known> = (0..10)
        .map(|current| (Some((100, current * 10)), false))
        .collect();
    let mut times = BTreeMap::new();
    for seed in 0..5_000 {
        *times
            .entry(one(&members(&setting, &known), seed))
            .or_insert(0) += 1;
    }
    // The busiest is answered only when it is drawn twice, the least busy one in 19 of 100 cases.
    assert!((850..1_050).contains(&times[&0]), "{times:?}");
    assert!(times.get(&9).is_none_or(|times| *times < 90), "{times:?}");
}

#[test]
fn round_robin_takes_one_after_the_other() {
    let members = idle(&setting(Policy::RoundRobin), 3);
    let answers: Vec<u16> = (0..7).map(|seed| one(&members, seed)).collect();
    assert_eq!(answers, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn random_draws_evenly() {
    let members = idle(&setting(Policy::Random), 4);
    let mut times = [0; 4];
    (0..4_000).for_each(|seed| times[usize::from(one(&members, seed))] += 1);
    assert!(
        times.iter().all(|times| (850..1_150).contains(times)),
        "{times:?}"
    );
}

#[test]
fn weighted_draws_in_proportion_to_the_label_of_the_nodes() {
    let setting = setting(Policy::Weighted);
    let candidates = [Some("3"), None, Some("0")]
        .into_iter()
        .zip(0..)
        .map(|(weight, port)| {
            let endpoint = endpoint("h", port);
            let labels = weight.map(|weight| ("weight".to_owned(), weight.to_owned()));
            endpoint
                .node()
                .set(true, Some(labels.into_iter().collect()));
            Candidate {
                endpoint: Arc::new(endpoint),
                suspect: false,
            }
        });
    let members = setting.members(candidates.collect());
    let mut times = [0; 3];
    (0..4_000).for_each(|seed| times[usize::from(one(&members, seed))] += 1);
    assert!(
        (2_850..3_150).contains(&times[0]) && times[2] == 0,
        "{times:?}"
    );
}

fn by_key(members: &Members, key: &str) -> u16 {
    let question = Question {
        affinity_key: key,
        ..Question::new("a", 0, Moment::default())
    };
    ports(members, &question)[0]
}

/// Where each of many keys goes while nobody has anything to do.
fn homes(count: usize, without: Option<u16>) -> HashMap<String, u16> {
    let setting = setting(Policy::Hash);
    let keys = (0..2_000).map(|key| format!("user-{key}"));
    let home = |key: String| {
        let members = idle(&setting, count);
        let is_excluded = |endpoint: &Endpoint| Some(endpoint.port()) == without;
        let question = Question {
            affinity_key: &key,
            excluded: Some(&is_excluded),
            ..Question::new("a", 0, Moment::default())
        };
        let home = ports(&members, &question)[0];
        (key, home)
    };
    keys.map(home).collect()
}

#[test]
fn keys_are_spread_evenly_and_only_those_of_a_member_that_is_gone_move() {
    let homes_of_all = homes(10, None);
    let mut times = [0; 10];
    homes_of_all
        .values()
        .for_each(|port| times[usize::from(*port)] += 1);
    assert!(
        times.iter().all(|times| (140..270).contains(times)),
        "{times:?}"
    );
    for (key, home) in homes(10, Some(3)) {
        let before = homes_of_all[&key];
        assert!(
            home == before || before == 3,
            "{key} moved from {before} to {home}"
        );
    }
}

#[test]
fn a_key_stays_with_its_member_until_that_one_has_more_than_its_share() {
    let setting = setting(Policy::Hash);
    let members = members(&setting, &[(Some((100, 8)), false); 10]);
    let home = by_key(&members, "k");
    let answers: Vec<u16> = (0..100).map(|_| by_key(&members, "k")).collect();
    assert!(answers.starts_with(&[home, home]));
    let mut work = [8; 10];
    answers
        .iter()
        .for_each(|port| work[usize::from(*port)] += 1);
    // 18 each on average.
    assert!(work.iter().all(|work| *work <= 23), "{work:?}");
}
