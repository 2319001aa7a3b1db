use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{Caller, Identity, Moment, Phase, ServerStats, Timestamp, state};

mod followed;
mod reports;

const START: Moment = Moment::new(Duration::from_secs(100));

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn instance(text: &str) -> Instance {
    text.parse().unwrap()
}

fn route(service: &str, names: &[&str], published: bool) -> Fact {
    let route = Route {
        service: name(service),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        published,
        balance: Default::default(),
        generation: 1,
    };
    Fact::Route(name(service), Some(route))
}

/// The instance at `h-<node>:<port>`.
fn state(node: &str, instance_name: &str, port: u16, ready: bool) -> Fact {
    let state = InstanceState {
        instance: instance(instance_name),
        node: name(node),
        phase: Phase::Running,
        ready,
        settling: false,
        pid: Some(1),
        endpoint: Some(state::Endpoint {
            host: format!("h-{node}"),
            port,
        }),
        ports: BTreeMap::new(),
        restarts: 0,
        reason: String::new(),
        message: String::new(),
        status_text: String::new(),
        last_exit: None,
        pre_stop_failure: None,
        recycle_due: false,
        started_at: None,
        next_start_at: None,
        observed_generation: 1,
        revision: String::new(),
        self_stop: None,
        epoch: 1,
    };
    Fact::State(name(node), instance(instance_name), Some(Box::new(state)))
}

fn gone(node: &str, instance_name: &str) -> Fact {
    Fact::State(name(node), instance(instance_name), None)
}

fn session(node: &str, reconciled: bool) -> Fact {
    let session = Session {
        uuid: "u".to_owned(),
        node_uuid: "n".to_owned(),
        address: "a".to_owned(),
        agent_address: None,
        capacity: Default::default(),
        seen_revision: 0,
        fell_from: 0,
        labels: BTreeMap::new(),
        version: "0".to_owned(),
        started_at: Timestamp::from_millis(0),
        reconciled,
    };
    Fact::Session(name(node), Some(session))
}

/// Each instance with its current requests, out of ten.
fn load(node: &str, instances: &[(&str, i32)]) -> Fact {
    let report = |(text, current_requests): &(&str, i32)| {
        let stats = ServerStats {
            request_capacity: 10,
            current_requests: *current_requests,
            ..ServerStats::default()
        };
        (
            instance(text),
            LoadReport {
                known_rate: None,
                stats: Some(stats),
            },
        )
    };
    let instances = instances.iter().map(report).collect();
    Fact::Load(
        name(node),
        Some(NodeLoad {
            at: Timestamp::from_millis(0),
            instances,
            usage: Default::default(),
        }),
    )
}

fn index(facts: impl IntoIterator<Item = Fact>) -> Index {
    let mut index = Index::new(Arc::new(Directory::default()));
    index.apply(facts, START);
    index
}

/// The ports of a name: those in normal use, then the suspects.
fn ports(index: &Index, name: &str) -> (Vec<u16>, Vec<u16>) {
    let members = index.directory.members(name).unwrap();
    let ports: Vec<u16> = members
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.port())
        .collect();
    let (normal, suspect) = ports.split_at(members.normal());
    (normal.to_vec(), suspect.to_vec())
}

/// Two workers on one trusted node.
fn two_workers() -> Vec<Fact> {
    vec![
        session("n", true),
        route("worker", &["Worker"], true),
        state("n", "worker-0", 1, true),
        state("n", "worker-1", 2, true),
    ]
}

#[test]
fn a_name_finds_the_ready_endpoints_of_its_service_only() {
    let mut index = index(two_workers());
    index.apply(
        [
            route("other", &["WorkerX"], true),
            state("n", "other-0", 9, true),
            state("n", "worker-2", 3, false),
        ],
        START,
    );
    assert_eq!(ports(&index, "Worker").0, [1, 2]);
    assert_eq!(ports(&index, "WorkerX").0, [9]);
    assert!(index.directory.members("worker").is_none());
    assert!(index.directory.members("Work").is_none());
}

#[test]
fn an_endpoint_comes_and_goes_with_its_readiness() {
    let mut index = index(two_workers());
    index.apply([state("n", "worker-0", 1, false)], START);
    assert_eq!(ports(&index, "Worker").0, [2]);
    index.apply(
        [state("n", "worker-0", 1, true), gone("n", "worker-1")],
        START,
    );
    assert_eq!(ports(&index, "Worker").0, [1]);
}

#[test]
fn a_service_that_is_not_published_is_not_found() {
    let mut index = index(two_workers());
    index.apply([route("worker", &["Worker"], false)], START);
    assert!(index.directory.members("Worker").is_none());
    assert!(index.directory.random("Worker", 9, 0).unwrap().is_empty());
}

#[test]
fn services_that_share_a_name_are_merged() {
    let mut index = index(two_workers());
    index.apply(
        [
            route("more", &["Worker", "More"], true),
            state("n", "more-0", 3, true),
        ],
        START,
    );
    assert_eq!(ports(&index, "Worker").0, [1, 2, 3]);
    assert_eq!(ports(&index, "More").0, [3]);
    index.apply([Fact::Route(name("more"), None)], START);
    assert_eq!(ports(&index, "Worker").0, [1, 2]);
    assert!(index.directory.members("More").is_none());
}

#[test]
fn endpoints_of_a_node_without_a_reconciled_session_are_suspect() {
    let mut index = index(two_workers());
    index.apply([session("m", true), state("m", "worker-2", 3, true)], START);
    assert_eq!(
        ports(&index, "Worker"),
        (vec![3, 1, 2], vec![]),
        "m sorts before n"
    );
    index.apply([Fact::Session(name("m"), None)], START);
    assert_eq!(ports(&index, "Worker"), (vec![1, 2], vec![3]));
    index.apply([session("m", false)], START);
    assert_eq!(ports(&index, "Worker"), (vec![1, 2], vec![3]));
    index.apply([session("m", true)], START);
    assert_eq!(ports(&index, "Worker"), (vec![3, 1, 2], vec![]));
    index.apply([Fact::Session(name("n"), None)], START);
    assert_eq!(
        ports(&index, "Worker"),
        (vec![3, 1, 2], vec![]),
        "two of three are suspect"
    );
}

#[test]
fn a_load_record_changes_the_endpoints_and_nothing_else() {
    let mut index = index(two_workers());
    let before = index.directory.members("Worker").unwrap();
    index.apply([load("n", &[("worker-0", 7), ("worker-1", 3)])], START);
    let after = index.directory.members("Worker").unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    let current = || {
        let current =
            |endpoint: &Arc<Endpoint>| endpoint.load().counts.map(|counts| counts.current);
        after.endpoints().iter().map(current).collect::<Vec<_>>()
    };
    assert_eq!(current(), [Some(7), Some(3)]);
    index.apply([load("n", &[("worker-1", 4)])], START);
    assert_eq!(current(), [None, Some(4)]);
    index.apply([Fact::Load(name("n"), None)], START);
    assert_eq!(current(), [None, None]);
}

#[test]
fn a_change_of_one_service_leaves_the_others_members_as_they_are() {
    let mut index = index(two_workers());
    index.apply(
        [
            route("other", &["Other"], true),
            state("n", "other-0", 9, true),
        ],
        START,
    );
    let before = index.directory.members("Worker").unwrap();
    index.apply([state("n", "other-0", 9, false)], START);
    assert!(Arc::ptr_eq(
        &before,
        &index.directory.members("Worker").unwrap()
    ));
}

#[test]
fn an_endpoint_remembers_that_it_was_handed_out_while_it_is_not_ready() {
    let mut index = index(two_workers());
    let now = Moment::new(Duration::from_secs(1));
    assert_eq!(index.directory.top("Worker", 1, now).unwrap()[0].port(), 1);
    index.apply([state("n", "worker-0", 1, false)], START);
    index.apply([state("n", "worker-0", 1, true)], START);
    assert_eq!(index.directory.top("Worker", 1, now).unwrap()[0].port(), 2);
}

#[test]
fn a_new_index_forgets_what_the_directory_knew() {
    let directory = index(two_workers()).directory;
    Index::new(Arc::clone(&directory)).apply([], START);
    assert!(directory.members("Worker").is_none());
}

#[test]
fn a_new_endpoint_gets_less_than_its_share_until_its_slow_start_is_over() {
    let mut index = index(two_workers());
    let Fact::Route(service, Some(mut route)) = route("worker", &["Worker"], true) else {
        unreachable!()
    };
    route.balance.slow_start = Some("10s".parse().unwrap());
    let full = [load(
        "n",
        &[("worker-0", 5), ("worker-1", 5), ("worker-2", 0)],
    )];
    index.apply(
        [
            Fact::Route(service, Some(route)),
            state("n", "worker-2", 3, true),
        ],
        START,
    );
    index.apply(full, START);
    let mut pick = |seconds: u64| {
        let now = START + Duration::from_secs(seconds);
        index.directory.heard(now);
        index.settle(now);
        let question = super::super::Question::new("Worker", seconds, now);
        index.directory.pick(&question).unwrap()[0].port()
    };
    assert_ne!(pick(0), 3, "it counts as nearly busy");
    assert_eq!(pick(6), 3, "it counts as 0.4, the others as 0.5");
}

#[test]
fn a_pick_prefers_what_is_near_the_balancer_by_the_labels_of_nodes() {
    let directory = Directory::default().on_host([("zone".to_owned(), "b".to_owned())].into());
    let mut index = Index::new(Arc::new(directory));
    let Fact::Route(service, Some(mut route)) = route("worker", &["Worker"], true) else {
        unreachable!()
    };
    route.balance.prefer =
        serde_json::from_str(r#"{"label": "zone", "spillOver": "60%"}"#).unwrap();
    let near = |node: &str, zone: &str| {
        let Fact::Session(name, Some(mut session)) = session(node, true) else {
            unreachable!()
        };
        session.labels.insert("zone".to_owned(), zone.to_owned());
        Fact::Session(name, Some(session))
    };
    let facts = [
        Fact::Route(service, Some(route)),
        near("m", "a"),
        near("n", "b"),
        state("m", "worker-0", 1, true),
        state("n", "worker-1", 2, true),
        load("m", &[("worker-0", 0)]),
        load("n", &[("worker-1", 5)]),
    ];
    index.apply(facts, START);
    let pick = |seed| {
        let question = super::super::Question::new("Worker", seed, START);
        index.directory.pick(&question).unwrap()[0].port()
    };
    assert_eq!([pick(0), pick(1)], [2, 1], "6 of ten are no room");
}

#[test]
fn an_endpoint_to_which_calls_fail_comes_last_and_comes_back() {
    let mut index = index(
        (0..3_u16)
            .map(|slot| state("n", &format!("worker-{slot}"), slot, true))
            .chain([session("n", true), route("worker", &["Worker"], true)]),
    );
    let directory = Arc::clone(&index.directory);
    let tell = |client, failures| {
        let outcome = |host: &str| super::super::Outcome {
            host: host.to_owned(),
            port: 1,
            client,
            successes: 0,
            failures,
        };
        let outcomes = [outcome("H-N"), outcome("elsewhere")];
        directory.report("Worker", &outcomes, START).unwrap();
    };
    tell(1, 5);
    tell(2, 1);
    let mut last = |seconds: u64| {
        let now = START + Duration::from_secs(seconds);
        index.directory.heard(now);
        index.settle(now);
        let question = super::super::Question {
            count: 3,
            ..super::super::Question::new("Worker", seconds, now)
        };
        let picked = index.directory.pick(&question).unwrap();
        assert_eq!(picked.len(), 3, "it is answered, if nothing else is left");
        let ejected = picked.iter().filter(|endpoint| endpoint.is_ejected());
        (picked[2].port(), ejected.count())
    };
    assert_eq!(last(1), (1, 1));
    assert_eq!(last(29), (1, 1));
    assert_eq!(last(31).1, 0);
    let unknown = directory.report("Nobody", &[], START);
    assert!(matches!(unknown, Err(super::super::Refusal::Unknown(_))));
}

#[test]
fn with_many_endpoints_the_kept_order_answers_as_looking_at_all_of_them_does() {
    let facts = || {
        let states = (0..200_u16).map(|slot| state("n", &format!("worker-{slot}"), slot, true));
        let names: Vec<String> = (0..200).map(|slot| format!("worker-{slot}")).collect();
        let loads = names
            .iter()
            .zip(0..)
            .map(|(name, at)| (name.as_str(), at * 7 % 11));
        let loads = load("n", &loads.collect::<Vec<_>>());
        let known = [
            session("n", true),
            route("worker", &["Worker"], true),
            loads,
        ];
        states.chain(known).collect::<Vec<_>>()
    };
    let (mut kept, plain) = (index(facts()), index(facts()));
    let mut now = START;
    for step in 0..700_u64 {
        // One of them is asked for two, which looks at all; the other keeps an order after the first question.
        let one = kept.directory.top("Worker", 1, now).unwrap()[0].port();
        let members = plain.directory.members("Worker").unwrap();
        let recently = Duration::from_secs(5);
        let other = super::super::top::choose(&members, 1, |_| true, recently, now)[0].port();
        assert_eq!(one, other, "question {step}");
        now = now + Duration::from_millis(20);
        kept.settle(now);
    }
}

#[test]
fn who_asks_for_a_name_must_be_allowed_by_all_services_that_have_it() {
    let allowing = |service: &str, allow: Option<&[&str]>| {
        let Fact::Route(_, Some(mut it)) = route(service, &["Worker"], true) else {
            unreachable!()
        };
        it.balance.allow = allow.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Fact::Route(name(service), Some(it))
    };
    let mut index = index([route("worker", &["Worker"], true)]);
    let client = |name: &str| Caller::Known(Identity::of(format!("client.{name}")));
    let admits = |index: &Index, caller: &Caller| index.directory.admit("Worker", caller).is_ok();
    assert!(admits(&index, &Caller::Unasked));

    index.apply([allowing("another", Some(&["x", "y"]))], START);
    assert!(admits(&index, &client("x")) && admits(&index, &client("y")));
    assert!(!admits(&index, &client("z")) && !admits(&index, &Caller::Unasked));

    index.apply([allowing("worker", Some(&["y", "z"]))], START);
    let refusal = index.directory.admit("Worker", &client("x")).unwrap_err();
    let text = refusal.to_string();
    assert!(
        text.contains("client.x") && text.contains("`Worker`"),
        "{text}"
    );
    assert!(admits(&index, &client("y")) && !admits(&index, &client("z")));

    index.apply([allowing("worker", None), allowing("another", None)], START);
    assert!(admits(&index, &Caller::Anonymous));
    assert!(index.directory.admit("Nobody", &Caller::Anonymous).is_ok());
}
