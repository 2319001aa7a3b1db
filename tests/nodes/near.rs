//! Who is preferred: agents and a balancer with labels, and workers that really are busy.

use quaestor::proto::demo::{WorkRequest, demo_worker_client::DemoWorkerClient};
use serde_json::Value as Json;

use crate::support::{
    balancer::Balancer, cluster::QUAESTOR, eventually, hosts::Hosts, ports::free_range,
};

/// One worker on each node; one that has 50 of 100 requests has no room.
fn manifest() -> String {
    let (first, last) = free_range(3);
    format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: near}}
spec:
  replicas: 3
  placement: {{spreadBy: zone}}
  command: ["{{quaestor}}", demo-worker, --listen, "{{host}}:{{port}}", --service-name, Near, --capacity, "100"]
  ports: [{{name: grpc, range: {first}-{last}}}]
  serviceNames: [Near]
  health: {{grpc: {{}}, interval: 1s}}
  load: {{reportLoad: {{}}, interval: 1s}}
  balance: {{prefer: {{label: zone, spillOver: 50%}}}}
"#
    )
}

/// What the balancer says of the worker on a node.
fn worker(balancer: &Balancer, node: &str) -> Option<Json> {
    let (_, json) = balancer.ask("/v1/services/Near/endpoints")?;
    let endpoints = json["endpoints"].as_array()?;
    endpoints.iter().find(|one| one["node"] == node).cloned()
}

/// The node of the next request of an asker in `zone`, or of one who does not say where it is.
fn pick(balancer: &Balancer, zone: Option<&str>) -> String {
    let asked = zone.map_or(String::new(), |zone| format!("?attribute=zone={zone}"));
    let (status, json) = (balancer.ask(&format!("/v1/services/Near/pick{asked}"))).unwrap();
    assert_eq!(status, 200, "{json}");
    json["endpoints"][0]["node"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_stay_in_the_zone_of_their_asker_until_its_workers_have_no_room() {
    let mut hosts = Hosts::empty();
    hosts.role("controller", &["controller"]);
    for node in ["a", "b", "c"] {
        hosts.agent_of(QUAESTOR, node, &["--label", &format!("zone={node}")]);
    }
    hosts.until_ready(3);
    let file = hosts.manifest("near", &manifest());
    hosts.ok(&["apply", "-f", &file, "--wait", "--timeout", "60s"]);
    let balancer = Balancer::start(&["--etcd", &hosts.etcd.endpoint(), "--label", "zone=b"]);
    let has = |node: &str, current: i64| {
        worker(&balancer, node).is_some_and(|one| one["load"]["currentRequests"] == current)
    };
    eventually("the load of all is known", || {
        ["a", "b", "c"].iter().all(|node| has(node, 0))
    });
    for _ in 0..5 {
        for zone in ["a", "b", "c"] {
            assert_eq!(pick(&balancer, Some(zone)), zone);
        }
        assert_eq!(pick(&balancer, None), "b", "where the balancer is");
    }

    let a = worker(&balancer, "a").unwrap();
    let address = format!("http://{}:{}", a["host"].as_str().unwrap(), a["port"]);
    let client = DemoWorkerClient::connect(address).await.unwrap();
    let work = (0..60).map(|_| {
        let mut client = client.clone();
        let request = WorkRequest {
            millis: 600_000,
            ..Default::default()
        };
        tokio::spawn(async move { client.work(request).await })
    });
    let work: Vec<_> = work.collect();
    eventually("it is known to be busy", || has("a", 60));
    assert_ne!(pick(&balancer, Some("a")), "a", "there is no room");
    assert_eq!(pick(&balancer, Some("c")), "c");

    work.iter().for_each(|call| call.abort());
    eventually("it is known to be idle", || has("a", 0));
    assert_eq!(pick(&balancer, Some("a")), "a");
}
