//! Many clients of many services, whose loads change every second: what that costs a balancer, and how soon a change
//! of who serves reaches them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use prost::Message as _;
use quaestor::proto::standard::envoy::config::endpoint::v3::ClusterLoadAssignment;
use serde_json::json;
use tonic::transport::Channel;

use crate::{
    idle::Idle,
    setting::Setting,
    support::{
        eventually,
        figures::{self, Bar},
        number,
    },
};

/// Endpoints of each service.
const ENDPOINTS: usize = 20;

/// How many endpoints a client was told of last, and when.
type Told = Arc<Mutex<(usize, Instant)>>;

fn say(setting: &Setting, service: usize, slot: usize, ready: bool) -> Instant {
    let instance = format!("s{service}-{slot}");
    let state = json!({
        "instance": instance, "node": "n", "phase": "Running", "ready": ready,
        "endpoint": {"host": format!("10.0.{service}.{slot}"), "port": 1},
        "observedGeneration": 1, "epoch": 1,
    });
    setting.put(&format!("state/n/{instance}"), &state)
}

async fn keep(mut idle: Idle, told: Told) {
    while let Some(response) = idle.take().await {
        let any = prost_types::Any::decode(&response.resources[0][..]).unwrap();
        let assignment = ClusterLoadAssignment::decode(&any.value[..]).unwrap();
        *told.lock().unwrap() = (assignment.endpoints.len(), Instant::now());
    }
}

#[test]
fn changes_reach_many_clients_of_many_services_while_all_loads_change() {
    let services = number("QUAESTOR_TEST_XDS_SERVICES", 4);
    let clients = number("QUAESTOR_TEST_XDS_CLIENTS", 40);
    let rounds = number("QUAESTOR_TEST_XDS_ROUNDS", 3);
    let mut setting = Setting::new(1);
    for service in 0..services {
        setting.route(&format!("s{service}"), &format!("S{service}"), json!({}));
        for slot in 0..ENDPOINTS {
            say(&setting, service, slot, true);
        }
    }
    setting.start_balancer(0);
    setting.bootstrap();
    let address = format!("http://{}", setting.balancer(0));
    let told: Vec<Told> = (0..clients)
        .map(|_| Arc::new(Mutex::new((0, Instant::now()))))
        .collect();
    for (index, told) in told.iter().enumerate() {
        let channel = Channel::from_shared(address.clone()).unwrap();
        let name = format!("S{}", index % services);
        let told = Arc::clone(told);
        setting.runtime.spawn(async move {
            let idle = Idle::subscribe(channel.connect_lazy(), &name).await;
            keep(idle, told).await;
        });
    }
    let all_know = |service: usize, count: usize| {
        let mut own = told.iter().skip(service).step_by(services);
        own.all(|told| told.lock().unwrap().0 == count)
    };
    eventually("all clients know all endpoints", || {
        (0..services).all(|service| all_know(service, ENDPOINTS))
    });

    let (began, used) = (Instant::now(), setting.balancer_time(0));
    let mut late = Vec::new();
    for round in 0..rounds {
        let next = Instant::now() + Duration::from_secs(1);
        let load = |number: usize| {
            let rate = ((number * 7919 + round * 104_729) % 100) as f64 / 100.0;
            let instance = format!("s{}-{}", number / ENDPOINTS, number % ENDPOINTS);
            (instance, json!({"knownRate": rate}))
        };
        let loads: serde_json::Map<_, _> = (0..services * ENDPOINTS).map(load).collect();
        let record = json!({"at": "2026-01-01T00:00:00Z", "instances": loads});
        setting.put("load/n", &record);
        let service = round % services;
        for (ready, count) in [(false, ENDPOINTS - 1), (true, ENDPOINTS)] {
            let said = say(&setting, service, 0, ready);
            eventually("the change has come", || all_know(service, count));
            let own = told.iter().skip(service).step_by(services);
            late.extend(own.map(|told| told.lock().unwrap().1.saturating_duration_since(said)));
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let took = began.elapsed();
    let part = (setting.balancer_time(0) - used).as_secs_f64() / took.as_secs_f64();
    late.sort();
    let p99 = late[(late.len() * 99 / 100).min(late.len() - 1)];
    println!(
        "{clients} clients of {services} services x {ENDPOINTS} endpoints, {rounds} s: {:.1} % of a core, {} MiB, \
         from commit to the clients: median {:?}, p99 {p99:?}",
        part * 100.0,
        setting.balancer_memory(0) >> 20,
        late[late.len() / 2],
    );
    let name =
        |what| format!("xDS, {clients} clients of {services} services whose loads change: {what}");
    let share = name("share of a core");
    figures::bar(&share, part * 100.0, "%", Bar::AtMost(25.0));
    let memory = (setting.balancer_memory(0) >> 20) as f64;
    figures::bar(&name("memory"), memory, "MiB", Bar::AtMost(200.0));
    let late = name("commit to client, p99");
    figures::bar(&late, p99.as_secs_f64() * 1e3, "ms", Bar::AtMost(50.0));
    if std::env::var_os("QUAESTOR_TEST_XDS_BARS").is_some() {
        assert!(part <= 0.25 && setting.balancer_memory(0) <= 200 << 20);
        assert!(p99 <= Duration::from_millis(50));
    }
}
