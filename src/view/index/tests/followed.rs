//! A view that is changed bit by bit is as if it had been made at once.

use super::*;
use crate::{model::service::PreferSpec, view::numbers::Numbers};

const ZONES: [&str; 2] = ["a", "b"];

/// A fact about a small world, so that facts meet: three nodes, services, names and places.
fn fact() -> impl Strategy<Value = Fact> {
    let pick = |of: [&'static str; 3]| prop::sample::select(of.to_vec());
    let node = move || pick(["n0", "n1", "n2"]);
    let service = move || pick(["a", "b", "a-b"]);
    let member =
        move || (service(), 0..8_u32).prop_map(|(service, slot)| format!("{service}-{slot}"));
    let zone = prop::sample::select(ZONES.to_vec());
    let names = prop::sample::subsequence(vec!["X", "Y", "Z"], 0..=3);
    prop_oneof![
        1 => (service(), names, any::<bool>(), any::<bool>()).prop_map(|(s, names, on, prefer)| preferring(prefer, route(s, &names, on))),
        1 => service().prop_map(|service| Fact::Route(name(service), None)),
        8 => (node(), member(), 1..8_u16, prop::bool::weighted(0.8)).prop_map(|(n, m, port, on)| state(n, &m, port, on)),
        2 => (node(), member()).prop_map(|(n, m)| gone(n, &m)),
        2 => (node(), any::<bool>(), zone).prop_map(|(node, on, zone)| within(zone, session(node, on))),
        1 => node().prop_map(|node| Fact::Session(name(node), None)),
        2 => (node(), prop::collection::vec((member(), 0..9), 0..5)).prop_map(|(node, loads)| {
            let loads: Vec<_> = loads.iter().map(|(m, current)| (m.as_str(), *current)).collect();
            load(node, &loads)
        }),
        1 => node().prop_map(|node| Fact::Load(name(node), None)),
    ]
}

/// The same with a preference, if `prefer`.
fn preferring(prefer: bool, mut fact: Fact) -> Fact {
    if let Fact::Route(_, Some(route)) = &mut fact {
        route.balance.prefer = prefer.then(|| PreferSpec {
            label: "zone".to_owned(),
            spill_over: None,
        });
    }
    fact
}

fn within(zone: &str, mut fact: Fact) -> Fact {
    if let Fact::Session(_, Some(session)) = &mut fact {
        session.labels.insert("zone".to_owned(), zone.to_owned());
    }
    fact
}

/// Everything that the directory says of every name.
fn published(index: &Index) -> Vec<String> {
    let line = |name: &str| {
        let members = index.directory.members(name)?;
        let near = ZONES.map(|zone| members.near()?.with(zone).map(described));
        Some(format!("{name} {} {near:?}", described(&members)))
    };
    ["X", "Y", "Z"].into_iter().filter_map(line).collect()
}

/// Members with the keys that they are chosen by.
fn described(members: &Members) -> String {
    let endpoints = members.endpoints().iter().enumerate();
    let endpoint = |(at, e): (usize, &Arc<Endpoint>)| {
        let key = members.tree().key(at);
        format!("{}:{} {:?} {key}", e.host(), e.port(), e.load())
    };
    let endpoints: Vec<_> = endpoints.map(endpoint).collect();
    let least = members.tree().least(&mut Numbers::new(1));
    format!(
        "{} {:?} {endpoints:?} {:?}",
        members.normal(),
        members.hosts().of,
        least.map(|(_, key)| key)
    )
}

proptest! {
    #[test]
    fn a_view_that_followed_every_change_equals_one_built_from_the_outcome(
        updates in prop::collection::vec(prop::collection::vec(fact(), 0..6), 1..30),
    ) {
        let mut followed = index([]);
        let mut outcome: BTreeMap<String, Fact> = BTreeMap::new();
        for update in updates {
            followed.apply(update.clone(), START);
            for fact in update {
                let key = match &fact {
                    Fact::Route(service, _) => format!("route {service}"),
                    Fact::State(node, instance, _) => format!("state {node} {instance}"),
                    Fact::Load(node, _) => format!("load {node}"),
                    Fact::Report(node, instance, _) => format!("report {node} {instance}"),
                    Fact::Session(node, _) => format!("session {node}"),
                };
                outcome.insert(key, fact);
            }
            prop_assert_eq!(published(&followed), published(&index(outcome.values().cloned())));
        }
    }
}
