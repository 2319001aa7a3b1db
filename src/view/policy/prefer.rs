//! Preference: members on nodes with the asker's value of a label come first while they have room, then all.
//!
//! The policy is asked twice: of those, and of the others. [`crate::view::near`] has those.

use std::{sync::Arc, time::Duration};

use crate::{
    model::service::Labels,
    view::{Endpoint, members::Members, question::Question},
};

/// As [`super::choose`], those first that the rules prefer. `labels`: what an asker has who does not say.
pub(in crate::view) fn choose(
    members: &Members,
    question: &Question<'_>,
    recently: Duration,
    labels: &Labels,
) -> Vec<Arc<Endpoint>> {
    let near = members.near().and_then(|near| {
        let asked = question.attributes.and_then(|all| all.get(near.label()));
        near.with(asked.or_else(|| labels.get(near.label()))?)
    });
    let Some(near) = near.filter(|near| !near.tree().is_void()) else {
        return super::choose(members, question, recently);
    };
    let mut answer = super::choose(near, question, recently);
    for endpoint in &answer {
        members.note_pick_of(endpoint);
    }
    if answer.len() < question.count {
        let is_chosen = |endpoint: &Endpoint| {
            let mut chosen = answer.iter();
            !question.admits(endpoint) || chosen.any(|one| std::ptr::eq(&**one, endpoint))
        };
        let rest = Question {
            count: question.count - answer.len(),
            excluded: Some(&is_chosen),
            ..*question
        };
        let rest = super::choose(members, &rest, recently);
        answer.extend(rest);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{
            LoadReport, Moment, ServerStats,
            service::{BalanceSpec, Policy, PreferSpec},
        },
        view::{
            members::Candidate,
            tests::{Setting, endpoint},
        },
    };

    const ZONES: [&str; 3] = ["a", "b", "c"];
    const POLICIES: [Policy; 5] = [
        Policy::LeastLoad,
        Policy::P2c,
        Policy::RoundRobin,
        Policy::Random,
        Policy::Weighted,
    ];

    /// Members at port 0 and on, each in a zone, with so many of ten requests.
    fn members(policy: Policy, known: &[(usize, i32)]) -> Members {
        let setting = Setting {
            balance: BalanceSpec {
                policy: Some(policy),
                prefer: Some(PreferSpec {
                    label: "zone".to_owned(),
                    spill_over: None,
                }),
                ..BalanceSpec::default()
            },
            ..Setting::default()
        };
        let candidates = known.iter().zip(0..).map(|((zone, current), port)| {
            let endpoint = endpoint("h", port);
            let labels = [("zone".to_owned(), ZONES[*zone].to_owned())].into();
            endpoint.node().set(true, Some(labels));
            endpoint.set_load(Some(&report(*current)), &setting.dial);
            Candidate {
                endpoint: Arc::new(endpoint),
                suspect: false,
            }
        });
        setting.members(candidates.collect())
    }

    fn report(current_requests: i32) -> LoadReport {
        let stats = ServerStats {
            request_capacity: 10,
            current_requests,
            ..ServerStats::default()
        };
        LoadReport {
            known_rate: None,
            stats: Some(stats),
        }
    }

    fn ports(members: &Members, zone: Option<&str>, own: &Labels, count: usize) -> Vec<u16> {
        let attributes = zone.map(|zone| ("zone".to_owned(), zone.to_owned()));
        let attributes: HashMap<String, String> = attributes.into_iter().collect();
        let question = Question {
            count,
            attributes: Some(&attributes),
            ..Question::new("a", 5, Moment::default())
        };
        let chosen = choose(members, &question, Duration::ZERO, own);
        chosen.iter().map(|endpoint| endpoint.port()).collect()
    }

    proptest! {
        #[test]
        fn those_near_with_room_come_first_and_nobody_is_left_out(
            known in prop::collection::vec((0..3_usize, 0..14), 1..30),
            count in 1..35_usize,
        ) {
            for policy in POLICIES {
                let members = members(policy, &known);
                let answer = ports(&members, Some("b"), &Labels::new(), count);
                let near: BTreeSet<u16> = (known.iter().zip(0..))
                    .filter(|((zone, current), _)| *zone == 1 && *current < 8)
                    .map(|(_, port)| port)
                    .collect();
                let (first, rest) = answer.split_at(near.len().min(count));
                prop_assert!(first.iter().all(|port| near.contains(port)), "{:?}: {:?}", policy, answer);
                prop_assert!(!rest.iter().any(|port| near.contains(port)));
                let different: BTreeSet<&u16> = answer.iter().collect();
                prop_assert_eq!(different.len(), count.min(known.len()));
            }
        }
    }

    #[test]
    fn a_zone_that_is_full_spills_over_and_is_preferred_again_when_it_is_not() {
        let members = members(Policy::LeastLoad, &[(0, 6), (1, 0), (1, 3)]);
        let one = || ports(&members, Some("a"), &Labels::new(), 1)[0];
        // Each pick counts: 6 and 7 of ten are less than 80 %.
        assert_eq!([one(), one(), one()], [0, 0, 1]);
        for _ in 0..2 {
            members.endpoints()[0].set_load(Some(&report(5)), members.dial());
        }
        members.refresh(0);
        assert_eq!(one(), 0);
    }

    #[test]
    fn who_does_not_say_where_it_is_has_the_balancers_place_and_else_no_preference() {
        let known = [(0, 5), (1, 0), (2, 4)];
        let own: Labels = [("zone".to_owned(), "c".to_owned())].into();
        let one = |zone, own: &Labels| ports(&members(Policy::LeastLoad, &known), zone, own, 1);
        assert_eq!(one(None, &own), [2]);
        assert_eq!(one(Some("a"), &own), [0], "the asker's word counts more");
        assert_eq!(one(None, &Labels::new()), [1]);
        assert_eq!(one(Some("nowhere"), &own), [1]);
    }
}
