//! What instances use up, and where their load comes from.

use quaestor::model::{
    LoadReport,
    service::{HttpLoad, ProcessLoad},
};

use super::*;

impl World {
    /// The load record of the node, once it is as `condition` says.
    async fn load_when(&self, what: &str, condition: impl Fn(&NodeLoad) -> bool) -> NodeLoad {
        let found = std::cell::RefCell::new(None);
        eventually_async(what, async || {
            let Some(entry) = self.get(Key::Load(self.node.clone())).await else {
                return false;
            };
            let load: NodeLoad = serde_json::from_slice(&entry.value).unwrap();
            let holds = condition(&load);
            *found.borrow_mut() = Some(load);
            holds
        })
        .await;
        found.into_inner().unwrap()
    }
}

fn loaded(load: LoadSpec, assignment: Assignment) -> Assignment {
    Assignment { load, ..assignment }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_whole_tree_uses_is_measured_and_can_be_its_load() {
    let world = World::new();
    let _agent = world.agent("a");
    let by_process = LoadSpec {
        process: Some(ProcessLoad { cores: Some(0.5) }),
        ..LoadSpec::default()
    };
    // The one that works is a child in a session of its own.
    let busy = loaded(
        by_process,
        script("setsid sh -c 'while :; do :; done' & exec sleep 1000"),
    );
    let idle = Assignment {
        instance: instance("idle-0"),
        ..script("exec sleep 1000")
    };
    world.assign(&busy).await;
    world.assign(&idle).await;
    let load = world
        .load_when("it is measured", |load| {
            let rate = load.instances.get(&busy.instance);
            load.usage.contains_key(&idle.instance)
                && rate.and_then(|report| report.known_rate) > Some(0.1)
        })
        .await;
    let (works, rests) = (load.usage[&busy.instance], load.usage[&idle.instance]);
    assert!(works.cpu > 0.05 && works.cpu < 1.5, "{works:?}");
    assert_eq!((works.processes, rests.processes), (2, 1));
    assert!(rests.cpu < 0.05, "{rests:?}");
    assert!(rests.memory > 100_000 && rests.memory < 50_000_000);
    let rate = load.instances[&busy.instance].known_rate.unwrap();
    assert!(
        (rate - works.cpu * 2.0).abs() < 0.01,
        "{rate} for {works:?}"
    );
    assert!(!load.instances.contains_key(&idle.instance));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_tells_the_load_until_it_has_been_missing_for_three_intervals() {
    let world = World::new();
    let _agent = world.agent("a");
    let by_document = LoadSpec {
        http: Some(HttpLoad {
            port: None,
            path: "/load.json".to_owned(),
            pointer: "/queue/depth".to_owned(),
            capacity: Some(8),
        }),
        interval: Period::from_millis(500),
        ..LoadSpec::default()
    };
    let wanted = loaded(by_document, web_server());
    world.assign(&wanted).await;
    world.ready(&wanted.instance).await;
    let document = world.path("a/run/worker-0/load.json");
    std::fs::write(&document, r#"{"queue": {"depth": 3}}"#).unwrap();
    let load = world
        .load_when("it is reported", |load| !load.instances.is_empty())
        .await;
    let stats = load.instances[&wanted.instance].stats.unwrap();
    assert_eq!((stats.current_requests, stats.request_capacity), (3, 8));
    std::fs::remove_file(&document).unwrap();
    world
        .load_when("it is unknown", |load| load.instances.is_empty())
        .await;
    assert!(world.state(&wanted.instance).await.unwrap().ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constant_load_is_reported_while_the_instance_is_ready() {
    let world = World::new();
    let _agent = world.agent("a");
    let constant = LoadSpec {
        constant: Some(0.5),
        ..LoadSpec::default()
    };
    let wanted = loaded(constant, script("exec sleep 1000"));
    world.assign(&wanted).await;
    let load = world
        .load_when("it is reported", |load| !load.instances.is_empty())
        .await;
    let half = LoadReport {
        known_rate: Some(0.5),
        stats: None,
    };
    assert_eq!(load.instances[&wanted.instance], half);
}
