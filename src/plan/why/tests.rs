//! Staged problems: the true cause of each is at the end of the chain, and the answer is as kept in `tests/why`.
//!
//! `RENEW=1 cargo test --lib plan::why` writes the kept answers anew; read what changed.

mod problems;
mod processes;
mod whereabouts;

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value as Json, json};

use super::{Cause, Seen, named, text, why};
use crate::{
    keys::Key,
    model::{Edit, Name, Timestamp, event::Event},
    plan::controller::tests::world::{World, instance, name},
};

/// The time of every answer.
fn now() -> Timestamp {
    Timestamp::from_millis(900_000)
}

/// What is asked about a world.
struct Stage {
    world: World,
    led: bool,
    full: bool,
    events: Vec<Event>,
    pauses: BTreeMap<Name, Edit>,
}

impl From<World> for Stage {
    fn from(world: World) -> Self {
        Self {
            world,
            led: true,
            full: false,
            events: Vec::new(),
            pauses: BTreeMap::new(),
        }
    }
}

impl Stage {
    fn seen(&self) -> Seen<'_> {
        Seen {
            cluster: &self.world.cluster,
            led: self.led,
            full: self.full,
            events: &self.events,
            pauses: &self.pauses,
            now: now(),
        }
    }

    /// Asks why `what` is as it is: the chains end in `roots`, objects and reasons.
    #[track_caller]
    fn tells(&self, kept: &str, what: &str, roots: &[(&str, &str)]) {
        let objects = named(&self.world.cluster, what);
        let [object] = objects.as_slice() else {
            panic!("{what} is {objects:?}")
        };
        let cause = why(&self.seen(), object).unwrap();
        assert_roots(&cause, roots);
        assert_kept(kept, &cause);
    }
}

#[track_caller]
fn assert_roots(cause: &Cause, expected: &[(&str, &str)]) {
    let roots: Vec<(String, &str)> = (cause.roots().iter())
        .map(|root| (root.object.to_string(), root.reason.as_str()))
        .collect();
    let roots: Vec<(&str, &str)> = roots
        .iter()
        .map(|(object, reason)| (object.as_str(), *reason))
        .collect();
    let shown = text::tree(cause, now(), 80, text::plain);
    assert_eq!(roots, expected, "\n{shown}");
}

#[track_caller]
fn assert_kept(kept: &str, cause: &Cause) {
    let shown = text::tree(cause, now(), 80, text::plain);
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/why");
    let path = path.join(format!("{kept}.txt"));
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        before == shown,
        "{} is not current; `RENEW=1 cargo test --lib plan::why` renews it. Now it is:\n{shown}",
        path.display()
    );
    let json = serde_json::to_value(cause).unwrap();
    assert_eq!(&serde_json::from_value::<Cause>(json).unwrap(), cause);
}

/// A cluster that has come to rest, with one service.
fn settled(nodes: &[&str], service: &str, spec: Json) -> World {
    let mut world = World::with_nodes(nodes);
    world.spec(service, 1, spec);
    world.settle();
    world
}

/// A service of so many, with `more` in its spec.
fn service(replicas: u32, more: &Json) -> Json {
    let mut spec = json!({"replicas": replicas, "command": ["/opt/app"]});
    merge(&mut spec, more);
    spec
}

fn merge(into: &mut Json, more: &Json) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

/// The agent of `node` says so of an instance.
fn says(world: &mut World, node: &str, who: &str, what: &Json) {
    let (node, who) = (name(node), instance(who));
    let service = &world.cluster.services()[&who.service];
    let seat = &service.seats[&(who.slot, node.clone())];
    let mut state = serde_json::to_value(seat.observed().unwrap()).unwrap();
    merge(&mut state, what);
    world.put(Key::State(node, who), &state);
}

#[test]
fn what_is_as_it_should_be_is_fine_and_says_what_runs() {
    let world = settled(&["a"], "worker", service(2, &json!({})));
    let stage = Stage::from(world);
    stage.tells("fine-service", "worker", &[("service/worker", "Ready")]);
    stage.tells(
        "fine-instance",
        "worker-0",
        &[("instance/worker-0", "Ready")],
    );
    stage.tells("fine-node", "a", &[("node/a", "Connected")]);
    stage.tells("fine-cluster", "cluster", &[("cluster", "Fine")]);
}

#[test]
fn a_name_means_what_there_is_and_its_kind_can_be_said() {
    let world = settled(&["worker"], "worker", service(1, &json!({})));
    let names = |text: &str| {
        let objects = named(&world.cluster, text);
        objects.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names("worker"), ["service/worker", "node/worker"]);
    assert_eq!(names("node/worker"), ["node/worker"]);
    assert_eq!(names("worker-0"), ["instance/worker-0"]);
    for unknown in ["worker-1", "nobody", "service/nobody", "Upper", ""] {
        assert!(names(unknown).is_empty(), "{unknown}");
    }
}

#[test]
fn what_others_wrote_does_not_steer_a_terminal() {
    let mut world = settled(&["a"], "worker", service(1, &json!({})));
    let hostile = json!({"phase": "CrashLoop", "ready": false, "reason": "CrashLoop",
        "message": "\u{1b}[2J\u{7} exited with code 1"});
    says(&mut world, "a", "worker-0", &hostile);
    let stage = Stage::from(world);
    let cause = why(&stage.seen(), &named(&stage.world.cluster, "worker-0")[0]).unwrap();
    let shown = text::tree(&cause, now(), 80, text::plain);
    assert!(
        !shown.replace('\n', "").chars().any(char::is_control),
        "{shown:?}"
    );
}
