use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::{document::OPENAPI, problem::PROBLEM, routes};
use crate::{
    balancer::{answers::Answers, limits::Limits},
    host::Host,
    model::{Instance, InstanceState, Moment},
    view::{Directory, Fact, Index},
};
use tokio_util::sync::CancellationToken;

struct World {
    index: Index,
    router: Router,
    stop: CancellationToken,
}

impl World {
    fn new() -> Self {
        let directory = Arc::new(Directory::default());
        let (host, stop) = (Host::system(), CancellationToken::new());
        let router = routes::router(routes::Surface {
            answers: Answers::new(
                Arc::clone(&directory),
                host.clone(),
                Limits {
                    watches: 2,
                    ..Limits::default()
                },
            ),
            clock: host.clock,
            stop: stop.clone(),
        });
        let index = Index::new(directory);
        Self {
            index,
            router,
            stop,
        }
    }

    /// One service `worker`, found as `Worker`, and an exclusive one, `Scanner`.
    fn synced() -> Self {
        let mut world = Self::new();
        let worker = r#"{"service":"worker","names":["Worker"],"published":true,"generation":1}"#;
        let scanner = r#"{"service":"scanner","names":["Scanner"],"published":true,"generation":1,
            "balance":{"exclusive":true}}"#;
        let route = |service: &str, json| {
            Fact::Route(
                service.parse().unwrap(),
                serde_json::from_str(json).unwrap(),
            )
        };
        let facts = [route("worker", worker), route("scanner", scanner)];
        world.index.apply(facts, Moment::default());
        world
    }

    fn set(&mut self, slot: u16, ready: bool) {
        let instance: Instance = format!("worker-{slot}").parse().unwrap();
        let state: InstanceState = serde_json::from_value(serde_json::json!({
            "instance": instance, "node": "n", "phase": "Running", "ready": ready,
            "endpoint": {"host": "n.test", "port": slot}, "observedGeneration": 1, "epoch": 1,
        }))
        .unwrap();
        let fact = Fact::State("n".parse().unwrap(), instance, Some(Box::new(state)));
        self.index.apply([fact], Moment::default());
    }

    async fn ask(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let media = answer.headers().get("content-type").unwrap();
        let (status, media) = (answer.status(), media.to_str().unwrap().to_owned());
        let json = match media.as_str() {
            "text/event-stream" => Value::Null,
            _ => {
                let bytes = answer.into_body().collect().await.unwrap().to_bytes();
                serde_json::from_slice(&bytes).unwrap()
            }
        };
        Answer {
            status,
            media,
            json,
        }
    }
}

struct Answer {
    status: StatusCode,
    media: String,
    json: Value,
}

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[tokio::test]
async fn a_pick_answers_endpoints_and_the_next_asker_gets_another() {
    let mut world = World::synced();
    world.set(1, true);
    world.set(2, true);
    let mut ports = Vec::new();
    for _ in 0..2 {
        let answer = world.ask("/v1/services/Worker/pick").await;
        assert_eq!(answer.status, 200);
        let endpoint = &answer.json["endpoints"][0];
        assert_eq!(endpoint["host"], "n.test");
        assert_eq!(endpoint["node"], "n");
        ports.push(endpoint["port"].as_u64().unwrap());
    }
    ports.sort_unstable();
    assert_eq!(ports, [1, 2]);
    let one = world
        .ask("/v1/services/Worker/pick?n=9&exclude=N.test:1")
        .await;
    assert_eq!(one.json["endpoints"].as_array().unwrap().len(), 1);
    assert_eq!(one.json["endpoints"][0]["instance"], "worker-2");

    let all = world.ask("/v1/services/Worker/endpoints").await;
    assert_eq!(all.json["endpoints"].as_array().unwrap().len(), 2);
    let services = world.ask("/v1/services").await.json;
    let listed = serde_json::json!([
        {"name": "Scanner", "endpoints": 0, "exclusive": true},
        {"name": "Worker", "endpoints": 2, "exclusive": false},
    ]);
    assert_eq!(services["services"], listed);
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_the_reason_that_grpc_gives() {
    let mut world = World::synced();
    world.set(1, false);
    let check = async |world: &World, path: &str, status: u16, reason: &str| {
        let answer = world.ask(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.json);
        assert_eq!(answer.media, PROBLEM);
        assert_eq!(answer.json["reason"], reason, "{path}");
        assert_eq!(answer.json["status"], status);
        assert!(!answer.json["title"].as_str().unwrap().is_empty());
    };
    check(&world, "/v1/services/Wroker/pick", 404, "NotFound").await;
    check(&world, "/v1/services/Wroker/watch", 404, "NotFound").await;
    check(&world, "/v1/services/Worker/pick", 503, "NothingHealthy").await;
    check(&world, "/v1/services/Scanner/pick", 409, "Exclusive").await;
    check(&world, "/v1/services/Scanner/endpoints", 409, "Exclusive").await;
    check(&world, "/v1/services/Worker/pick?n=x", 400, "BadRequest").await;
    let key = format!("/v1/services/Worker/pick?key={}", "k".repeat(1025));
    check(&world, &key, 400, "TooLarge").await;
    check(&world, "/v2", 404, "NoSuchPath").await;
    world.set(1, true);
    let excluded = "/v1/services/Worker/pick?exclude=n.test:1";
    check(&world, excluded, 503, "AllExcluded").await;
    check(&World::new(), "/healthz", 503, "NotSynced").await;
    check(&World::new(), "/v1/services", 503, "NotSynced").await;

    assert_eq!(world.ask("/healthz").await.status, 200);
    world.stop.cancel();
    check(&world, "/healthz", 503, "Stopping").await;
}

#[tokio::test]
async fn a_watch_tells_everything_then_changes_and_a_slow_reader_the_newest() {
    let mut world = World::synced();
    world.set(1, true);
    let request = || Request::get("/v1/services/Worker/watch").body(Body::empty());
    let answer = world.router.clone().oneshot(request().unwrap()).await;
    let mut body = answer.unwrap().into_body();
    let mut event = async || {
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        let (name, data) = text.trim_end().split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        Some((name.strip_prefix("event: ").unwrap().to_owned(), data))
    };
    let (name, data) = event().await.unwrap();
    assert_eq!(
        (name.as_str(), &data["changed"][0]["port"]),
        ("full", &1.into())
    );
    for slot in 2..50 {
        world.set(slot, true);
    }
    for slot in 1..49 {
        world.set(slot, false);
    }
    let (name, data) = event().await.unwrap();
    assert_eq!(
        (name.as_str(), &data["complete"]),
        ("change", &false.into())
    );
    assert_eq!(data["changed"].as_array().unwrap().len(), 1);
    assert_eq!(data["changed"][0]["port"], 49);
    assert_eq!(
        data["removed"],
        serde_json::json!([{"host": "n.test", "port": 1}])
    );

    let gone = Fact::Route("worker".parse().unwrap(), None);
    world.index.apply([gone], Moment::default());
    let (name, data) = event().await.unwrap();
    assert_eq!(
        (name.as_str(), &data["reason"]),
        ("problem", &"NotFound".into())
    );
    assert!(event().await.is_none());
}

#[tokio::test]
async fn the_document_tells_of_what_is_served_and_of_nothing_else() {
    let document = document();
    let described: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let mut served = routes::routes().map(|(path, _)| path.to_owned());
    served.sort();
    let mut described: Vec<String> = described.into_iter().cloned().collect();
    described.sort();
    assert_eq!(described, served);

    let mut world = World::synced();
    world.set(1, true);
    let worlds = [World::new(), world];
    let queries = ["", "?n=x", "?exclude=n.test:1"];
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (world, name) in worlds
            .iter()
            .flat_map(|world| ["Worker", "Nobody", "Scanner"].map(|name| (world, name)))
        {
            for query in queries {
                let asked = format!("{}{query}", path.replace("{name}", name));
                let answer = world.ask(&asked).await;
                let responses = &operations["get"]["responses"];
                let described = &responses[answer.status.as_str()]["content"];
                let content = described.get(&answer.media);
                let content = content.unwrap_or_else(|| {
                    panic!(
                        "{asked}: {} {} is not described",
                        answer.status, answer.media
                    )
                });
                conforms(&document, &content["schema"], &answer.json, &asked);
                *seen.entry(answer.status.to_string()).or_default() += 1;
            }
        }
    }
    assert!(seen.len() >= 5, "{seen:?}");
}

/// Whether a value has the fields of a schema, and no others.
fn conforms(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    if let Some(items) = schema.get("items") {
        for item in value.as_array().unwrap() {
            conforms(document, items, item, place);
        }
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for required in schema["required"].as_array().unwrap() {
        assert!(
            value.get(required.as_str().unwrap()).is_some(),
            "{place}: no {required}"
        );
    }
    for (name, value) in value.as_object().unwrap() {
        let property = properties.get(name);
        let property = property.unwrap_or_else(|| panic!("{place}: {name} is not described"));
        conforms(document, property, value, place);
    }
}
