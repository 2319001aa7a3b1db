use proptest::prelude::*;

use super::*;

/// Versions of endpoints by name; listeners and clusters of these names have version 1.
#[derive(Clone, Debug, Default)]
struct World(BTreeMap<&'static str, u64>);

impl Versions for World {
    fn version(&self, kind: Kind, name: &str) -> Option<u64> {
        let version = self.0.get(name).copied()?;
        Some(if kind.is_whole() { 1 } else { version })
    }
}

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn request(kind: Kind, nonce: &str, names: &[&str]) -> Request {
    Request {
        kind,
        nonce: nonce.to_owned(),
        names: names.iter().map(|name| Arc::from(*name)).collect(),
        refusal: None,
    }
}

fn refusal(kind: Kind, nonce: &str, names: &[&str]) -> Request {
    Request {
        refusal: Some("no".to_owned()),
        ..request(kind, nonce, names)
    }
}

fn texts(push: &Push) -> Vec<&str> {
    push.names.iter().map(|name| &**name).collect()
}

#[test]
fn nothing_is_said_before_anything_is_known() {
    let mut stream = Stream::default();
    let mut world = World::default();
    for kind in Kind::ALL {
        stream.hear(request(kind, "", &["a"])).unwrap();
    }
    assert_eq!(stream.next(&world, at(0)), None);
    world.0.insert("a", 7);
    let kinds: Vec<_> = std::iter::from_fn(|| stream.next(&world, at(0))).collect();
    let told: Vec<_> = kinds.iter().map(|push| (push.kind, push.version)).collect();
    let expected = [
        (Kind::Cluster, 1),
        (Kind::Endpoints, 7),
        (Kind::Listener, 1),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_change_is_sent_once_the_last_push_was_answered_and_only_what_changed() {
    let mut stream = Stream::default();
    let mut world = World([("a", 1), ("b", 2)].into());
    let kind = Kind::Endpoints;
    stream.hear(request(kind, "", &["a", "b"])).unwrap();
    assert_eq!(texts(&stream.next(&world, at(0)).unwrap()), ["a", "b"]);
    for version in 3..9 {
        world.0.insert("a", version);
        assert_eq!(stream.next(&world, at(0)), None, "one is under way");
    }
    let answer = request(kind, "1", &["a", "b"]);
    assert_eq!(stream.hear(answer), Ok(Heard::Acknowledged));
    let push = stream.next(&world, at(0)).unwrap();
    assert_eq!((texts(&push), push.version), (vec!["a"], 8));
    let known = stream.subscriptions();
    assert_eq!((known[0].sent, known[0].acknowledged), (Some(8), Some(1)));
    assert_eq!((known[1].sent, known[1].acknowledged), (Some(2), Some(2)));
}

#[test]
fn a_silent_client_is_sent_what_is_new_after_a_while_and_has_taken_nothing() {
    let mut stream = Stream::default();
    let mut world = World([("a", 1)].into());
    stream.hear(request(Kind::Endpoints, "", &["a"])).unwrap();
    stream.next(&world, at(0)).unwrap();
    world.0.insert("a", 2);
    assert_eq!(stream.wake_at(), Some(at(5)));
    assert_eq!(stream.next(&world, at(4)), None);
    assert_eq!(stream.next(&world, at(5)).unwrap().version, 2);
    // The answer to the first comes too late to mean the second.
    let late = request(Kind::Endpoints, "1", &["a"]);
    assert_eq!(stream.hear(late), Ok(Heard::Stale));
    assert_eq!(stream.subscriptions()[0].acknowledged, None);
}

#[test]
fn a_client_that_never_answers_is_told_a_few_things_and_then_nothing_until_it_does() {
    let mut stream = Stream::default();
    let mut world = World::default();
    stream.hear(request(Kind::Endpoints, "", &["a"])).unwrap();
    let mut told = 0;
    for version in 1..100 {
        world.0.insert("a", version);
        told += u64::from(stream.next(&world, at(version * 60)).is_some());
    }
    assert_eq!((told, stream.wake_at()), (u64::from(MOST_OPEN), None));
    let answer = request(Kind::Endpoints, &told.to_string(), &["a"]);
    assert_eq!(stream.hear(answer), Ok(Heard::Acknowledged));
    assert_eq!(stream.next(&world, at(9000)).unwrap().version, 99);
}

#[test]
fn what_was_refused_is_not_sent_again_before_it_changes() {
    let mut stream = Stream::default();
    let mut world = World([("a", 1)].into());
    stream.hear(request(Kind::Endpoints, "", &["a"])).unwrap();
    stream.next(&world, at(0)).unwrap();
    for is_new in [true, false, false] {
        let refused = refusal(Kind::Endpoints, "1", &["a"]);
        assert_eq!(stream.hear(refused), Ok(Heard::Refused(is_new)));
        assert_eq!(stream.next(&world, at(9)), None);
    }
    assert_eq!(stream.refusals(), (3, "no"));
    // A later word about the subscription takes nothing back.
    let more = request(Kind::Endpoints, "1", &["a"]);
    assert_eq!(stream.hear(more), Ok(Heard::Subscribed));
    assert_eq!(stream.subscriptions()[0].acknowledged, None);
    world.0.insert("a", 2);
    assert_eq!(stream.next(&world, at(9)).unwrap().version, 2);
}

#[test]
fn listeners_and_clusters_are_told_all_together_when_one_is_added_and_not_when_one_goes() {
    let mut stream = Stream::default();
    let world = World([("a", 1), ("b", 2)].into());
    let kind = Kind::Cluster;
    stream.hear(request(kind, "", &["a"])).unwrap();
    stream.next(&world, at(0)).unwrap();
    stream.hear(request(kind, "1", &["a", "b"])).unwrap();
    assert_eq!(texts(&stream.next(&world, at(0)).unwrap()), ["a", "b"]);
    stream.hear(request(kind, "2", &["b"])).unwrap();
    assert_eq!(stream.next(&world, at(0)), None);
    stream.hear(request(kind, "2", &["b", "c"])).unwrap();
    assert_eq!(stream.next(&world, at(0)), None, "c is not known yet");
}

#[test]
fn what_is_given_up_and_wanted_again_is_sent_again() {
    let mut stream = Stream::default();
    let world = World([("a", 1)].into());
    stream.hear(request(Kind::Endpoints, "", &["a"])).unwrap();
    stream.next(&world, at(0)).unwrap();
    stream.hear(request(Kind::Endpoints, "1", &[])).unwrap();
    assert!(stream.names().is_empty());
    stream.hear(request(Kind::Endpoints, "1", &["a"])).unwrap();
    assert_eq!(texts(&stream.next(&world, at(0)).unwrap()), ["a"]);
}

#[test]
fn who_asks_for_everything_gets_an_empty_answer_once() {
    let mut stream = Stream::default();
    let world = World([("a", 1)].into());
    stream.hear(request(Kind::Cluster, "", &[])).unwrap();
    stream.hear(request(Kind::Endpoints, "", &[])).unwrap();
    let push = stream.next(&world, at(0)).unwrap();
    assert_eq!((push.kind, push.names.len()), (Kind::Cluster, 0));
    assert_eq!(stream.next(&world, at(9)), None);
}

#[test]
fn what_a_client_knows_from_another_stream_means_nothing() {
    let mut stream = Stream::default();
    let world = World([("a", 1)].into());
    stream.hear(request(Kind::Endpoints, "41", &["a"])).unwrap();
    assert!(stream.next(&world, at(0)).is_some());
    assert_eq!(stream.subscriptions()[0].acknowledged, None);
}

#[test]
fn huge_subscriptions_are_refused_and_large_ones_told_in_parts() {
    let mut stream = Stream::default();
    let many: Vec<Arc<str>> = (0..1001).map(|number| number.to_string().into()).collect();
    let mut all = request(Kind::Endpoints, "", &[]);
    all.names = many.clone();
    assert_eq!(stream.hear(all.clone()), Err(TooMuch::Alone));
    all.names = vec!["x".repeat(257).into()];
    assert_eq!(stream.hear(all.clone()), Err(TooMuch::Alone));

    struct Any;
    impl Versions for Any {
        fn version(&self, _: Kind, _: &str) -> Option<u64> {
            Some(1)
        }
    }
    all.names = many[..120].to_vec();
    stream.hear(all.clone()).unwrap();
    let mut told = Vec::new();
    while let Some(push) = stream.next(&Any, at(0)) {
        told.push(push.names.len());
        all.nonce = push.nonce.to_string();
        stream.hear(all.clone()).unwrap();
    }
    assert_eq!(told, [50, 50, 20]);
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// The client says something: of a kind, with a nonce so many before the last, about some names.
    Says(usize, u64, u8, bool),
    /// It says what no honest client would.
    Lies(usize, String, u8),
    Changes(usize),
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3_usize, 0..3_u64, 0..16_u8, any::<bool>())
            .prop_map(|(kind, behind, names, refuses)| Event::Says(kind, behind, names, refuses)),
        (0..3_usize, "[0-9x-]{0,20}", 0..16_u8)
            .prop_map(|(kind, nonce, names)| Event::Lies(kind, nonce, names)),
        (0..4_usize).prop_map(Event::Changes),
        (0..7_u64).prop_map(Event::Time),
    ]
}

fn chosen(names: u8) -> Vec<&'static str> {
    let is_chosen = |(index, _): &(usize, &&str)| names & (1 << index) != 0;
    let all = NAMES.iter().enumerate().filter(is_chosen);
    all.map(|(_, name)| *name).collect()
}

proptest! {
    /// Whatever a client says: pushes have only what is wanted, no nonce twice, nothing while one is under way,
    /// and whoever is honest in the end gets the newest of everything and then nothing.
    #[test]
    fn whatever_a_client_says_it_gets_what_it_wants_and_no_more(events in prop::collection::vec(event(), 0..60)) {
        let mut stream = Stream::default();
        let mut world = World::default();
        let mut now = 0;
        let mut last: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
        let mut nonces = BTreeSet::new();
        let mut version = 1;
        let mut answered = BTreeSet::new();
        for event in events {
            match event {
                Event::Says(kind, behind, names, refuses) => {
                    let kind = Kind::ALL[kind];
                    let nonce = last.get(&kind).map(|(nonce, _)| nonce.saturating_sub(behind));
                    let nonce = nonce.filter(|nonce| *nonce > 0);
                    let text = nonce.map(|nonce| nonce.to_string()).unwrap_or_default();
                    let make = if refuses { refusal } else { request };
                    let heard = stream.hear(make(kind, &text, &chosen(names))).unwrap();
                    if heard != Heard::Stale {
                        answered.insert(kind);
                    }
                }
                Event::Lies(kind, nonce, names) => {
                    let kind = Kind::ALL[kind];
                    let heard = stream.hear(request(kind, &nonce, &chosen(names))).unwrap();
                    if heard != Heard::Stale {
                        answered.insert(kind);
                    }
                }
                Event::Changes(index) => {
                    version += 1;
                    world.0.insert(NAMES[index], version);
                }
                Event::Time(seconds) => now += seconds,
            }
            while let Some(push) = stream.next(&world, at(now)) {
                prop_assert!(nonces.insert(push.nonce));
                if let Some((_, sent)) = last.get(&push.kind) {
                    let waited = answered.contains(&push.kind) || now >= sent + 5;
                    prop_assert!(waited, "{push:?} at {now} s, after {last:?}");
                }
                answered.remove(&push.kind);
                last.insert(push.kind, (push.nonce, now));
                let wanted = &stream.topics[&push.kind].names;
                prop_assert!(push.names.iter().all(|name| wanted.contains_key(name)));
                if push.kind.is_whole() {
                    prop_assert_eq!(push.names.len(), wanted.len());
                }
            }
        }
        for name in NAMES {
            world.0.entry(name).or_insert(1);
        }
        for kind in Kind::ALL {
            let nonce = last.get(&kind).map(|(nonce, _)| nonce.to_string());
            stream.hear(request(kind, &nonce.unwrap_or_default(), &NAMES)).unwrap();
        }
        now += 10;
        let mut pushes = 0;
        while let Some(push) = stream.next(&world, at(now)) {
            pushes += 1;
            prop_assert!(pushes <= 6, "it never ends");
            stream.hear(request(push.kind, &push.nonce.to_string(), &NAMES)).unwrap();
        }
        for known in stream.subscriptions() {
            let newest = world.version(Kind::Endpoints, &known.name);
            prop_assert_eq!(known.sent, newest);
        }
    }
}
