//! What holds whatever happens: every plan passes the independent checker and leaves nothing to
//! plan (both in `World::lead`). Once faults stop, the world settles after few writes in what is
//! wanted, and a node that goes and comes back moves nothing.

use proptest::prelude::*;
use serde_json::json;

use super::world::{World, instance, name};
use crate::{keys::Key, model::ConditionStatus};

/// What may happen. Nodes, services and pools are given by their number.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Node {
        node: usize,
        pool: usize,
    },
    Lose {
        node: usize,
    },
    Crash {
        node: usize,
    },
    Wish {
        node: usize,
        wish: usize,
    },
    Busy {
        node: usize,
        service: usize,
        slot: u32,
    },
    Pass {
        seconds: u64,
    },
    Spec {
        service: usize,
        replicas: u32,
        version: u8,
        pool: usize,
        kind: u8,
    },
    Restart {
        service: usize,
        slot: Option<u32>,
    },
    Delete {
        service: usize,
    },
    Vanish {
        service: usize,
    },
    Garbage {
        service: usize,
    },
    Break {
        service: usize,
        slot: u32,
    },
    Mend,
    LoseAssignments {
        service: usize,
    },
    /// Somebody writes garbage over one of the keys that are about a service.
    Spoil {
        service: usize,
        nth: usize,
    },
    Lead,
    Act,
}

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const SERVICES: [&str; 3] = ["x", "y", "z"];
const POOLS: [&str; 2] = ["qa", "prod"];

/// What operators want of nodes.
const WISHES: [&str; 5] = [
    "null",
    r#"{"cordoned": true}"#,
    r#"{"draining": true}"#,
    r#"{"labels": {"pool": "prod"}}"#,
    r#"{"deletedAt": "2026-01-01T00:00:00Z"}"#,
];

/// Writes until rest: the ten instances that are wanted and as many that are not are each touched a
/// few times, and each time their service and their node may be reported.
const MOST_WRITES: usize = 200;

fn event() -> impl Strategy<Value = Event> {
    let service = 0..SERVICES.len();
    let node = 0..NODES.len();
    let spec = (service.clone(), 1..5_u32, 0..3_u8, 0..3_usize, 0..9_u8);
    prop_oneof![
        2 => (node.clone(), 0..2_usize).prop_map(|(node, pool)| Event::Node { node, pool }),
        1 => node.clone().prop_map(|node| Event::Lose { node }),
        1 => node.clone().prop_map(|node| Event::Crash { node }),
        2 => (node.clone(), 0..WISHES.len()).prop_map(|(node, wish)| Event::Wish { node, wish }),
        1 => (node, service.clone(), 0..4_u32)
            .prop_map(|(node, service, slot)| Event::Busy { node, service, slot }),
        2 => (1..80_u64).prop_map(|seconds| Event::Pass { seconds }),
        4 => spec.prop_map(|(service, replicas, version, pool, kind)| Event::Spec {
            service, replicas, version, pool, kind
        }),
        2 => (service.clone(), prop::option::of(0..4_u32))
            .prop_map(|(service, slot)| Event::Restart { service, slot }),
        1 => service.clone().prop_map(|service| Event::Delete { service }),
        1 => service.clone().prop_map(|service| Event::Vanish { service }),
        1 => service.clone().prop_map(|service| Event::Garbage { service }),
        1 => (service.clone(), 0..4_u32).prop_map(|(service, slot)| Event::Break { service, slot }),
        1 => Just(Event::Mend),
        1 => service.clone().prop_map(|service| Event::LoseAssignments { service }),
        1 => (service, 0..8_usize).prop_map(|(service, nth)| Event::Spoil { service, nth }),
        6 => Just(Event::Lead),
        6 => Just(Event::Act),
    ]
}

fn spec(replicas: u32, version: u8, pool: usize, kind: u8) -> serde_json::Value {
    let command = json!(["program", version.to_string()]);
    let mut spec = match kind {
        0 => json!({"command": command, "replicas": replicas,
            "ports": [{"name": "grpc", "range": "5000-5005"}]}),
        1 => json!({"command": command, "replicas": replicas,
            "ports": [{"name": "grpc", "range": "5003-5009"}, {"name": "http"}]}),
        2 => json!({"command": command, "ports": [{"name": "grpc", "port": 5004}]}),
        3 => json!({"command": command, "onePerNode": true,
            "ports": [{"name": "grpc", "port": 5012}]}),
        6 => json!({"command": command, "replicas": replicas, "singleton": true,
            "requests": {"cpu": 1, "memory": "1GiB"}, "ports": [{"name": "grpc"}]}),
        8 => json!({"command": command, "replicas": replicas, "singleton": true,
            "onPartition": "stop", "stop": {"grace": "5s"}, "ports": [{"name": "grpc"}]}),
        7 => json!({"command": command, "replicas": replicas, "ports": [{"name": "grpc"}],
            "placement": {"spreadBy": "pool", "maxPerNode": 1, "replaceAfter": "20s"}}),
        4 => json!({"external": ["one:1", "two:2"]}),
        _ => json!({"command": command, "replicas": replicas,
            "ports": [{"name": "grpc", "range": "5002-5007"}]}),
    };
    if let Some(pool) = POOLS.get(pool) {
        spec["placement"]["nodeSelector"] = json!({"pool": pool});
    }
    if version == 2 {
        spec["health"] = json!({"tcp": {}});
    }
    spec
}

fn happen(world: &mut World, event: &Event, generation: u64) {
    match *event {
        Event::Node { node, pool } => world.node(NODES[node], json!({"pool": POOLS[pool]})),
        Event::Lose { node } => world.lose_node(NODES[node]),
        Event::Crash { node } => world.crash_node(NODES[node]),
        Event::Wish { node, wish } => {
            world.wish(NODES[node], &serde_json::from_str(WISHES[wish]).unwrap());
        }
        Event::Busy {
            node,
            service,
            slot,
        } => world.load(NODES[node], &[&format!("{}-{slot}", SERVICES[service])]),
        Event::Pass { seconds } => world.pass(seconds),
        Event::Spec {
            service,
            replicas,
            version,
            pool,
            kind,
        } => {
            let mut spec = spec(replicas, version, pool, kind);
            if let Some(first) = SERVICES.get(service + 1)
                && kind < 2
            {
                spec["after"] = json!([first]);
            }
            world.spec(SERVICES[service], generation, spec);
        }
        Event::Restart { service, slot } => world.restart(SERVICES[service], slot, generation),
        Event::Delete { service } => world.delete(SERVICES[service], generation),
        Event::Vanish { service } => {
            let key = Key::ServiceSpec(name(SERVICES[service]));
            world.cluster.delete(&key);
        }
        Event::Garbage { service } => {
            world.put_text(Key::ServiceSpec(name(SERVICES[service])), "garbage");
        }
        Event::Break { service, slot } => {
            let who = format!("{}-{slot}", SERVICES[service]);
            world.broken.insert(instance(&who));
        }
        Event::Mend => world.broken.clear(),
        Event::LoseAssignments { service } => {
            for (node, asked) in world.assignments() {
                if asked.instance.service.as_str() == SERVICES[service] {
                    world.cluster.delete(&Key::Assignment(node, asked.instance));
                }
            }
        }
        Event::Spoil { service, nth } => {
            let keys = world.keys_of(SERVICES[service]);
            if let Some(key) = keys.get(nth % keys.len().max(1)) {
                world.put_text(key.clone(), "garbage");
            }
        }
        Event::Lead => {
            world.lead();
        }
        Event::Act => {
            world.act();
        }
    }
}

/// Lives through `events`, then through the end of all trouble.
pub(super) fn live(events: &[Event]) {
    let mut world = World::new();
    for (index, event) in events.iter().enumerate() {
        happen(&mut world, event, index as u64 + 1);
    }
    world.broken.clear();
    for node in NODES {
        world.node(node, json!({"pool": "qa"}));
        world.wish(node, &json!(null));
    }
    for (service, kind) in SERVICES.iter().zip([0, 1, 3]) {
        world.spec(service, 1000, spec(3, 9, 0, kind));
    }
    let written = world.settle();
    // Agents that are back have said how their instances are.
    world.pass(10);
    let written = written + world.settle();
    assert!(written <= MOST_WRITES, "{written} writes until rest");
    for service in SERVICES {
        let status = world.status(service);
        let holds = (status.conditions.iter()).all(|c| c.status == ConditionStatus::True);
        assert!(holds && status.observed_generation == 1000, "{status:#?}");
    }
    let settled = world.assignments();
    for node in NODES {
        world.lose_node(node);
        world.settle();
        world.node(node, json!({"pool": "qa"}));
        world.settle();
        assert_eq!(world.assignments(), settled, "node {node} came back");
    }
    for node in NODES {
        world.lose_node(node);
        world.settle();
        world.pass(60);
        world.settle();
        let left = world.assignments().into_iter();
        let left = left.filter(|(on, asked)| on.as_str() == node && !asked.replaced);
        assert!(
            left.count() <= 1,
            "only what is wanted once per node waits for its node"
        );
        world.node(node, json!({"pool": "qa"}));
        world.settle();
        world.pass(10);
        world.settle();
        let moved = world.assignments();
        assert_eq!(
            moved.len(),
            settled.len(),
            "node {node} came back: {moved:#?}"
        );
    }
    for service in SERVICES {
        world.delete(service, 1001);
    }
    world.settle();
    assert!(world.assignments().is_empty());
}

/// How many histories are lived through: PROPTEST_CASES, else enough for every day.
fn chances() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES");
    wanted.ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig {
        // A history that fails is printed at its shortest, to be kept in `histories`.
        cases: chances(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn plans_keep_the_rules_and_the_world_settles(events in prop::collection::vec(event(), 1..60)) {
        live(&events);
    }
}
