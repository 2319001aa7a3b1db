//! Workers that report their load by the standard (`load: {orca: {}}`), asked by a real agent.

use std::time::{Duration, Instant};

use quaestor::proto::demo::{WorkRequest, demo_worker_client::DemoWorkerClient};

use crate::{
    backend::Backend,
    client::{PATIENCE, together},
    setting::Setting,
    support::{cluster::demo_workers, eventually},
};

#[test]
fn calls_are_shared_out_by_what_workers_of_any_make_report() {
    // They are busy to 0.2, 0.4 and 0.8.
    let backends: Vec<Backend> = (0..3).map(|slot| Backend::start(slot, None)).collect();
    let addresses: Vec<String> = (backends.iter())
        .map(|backend| backend.address.to_string())
        .collect();
    let manifest = format!(
        "
apiVersion: quaestor/v1
kind: Service
metadata: {{name: worker}}
spec:
  external: {addresses:?}
  serviceNames: [Worker]
  health: {{tcp: {{}}, interval: 1s}}
  load: {{orca: {{}}, interval: 1s}}
"
    );
    let setting = Setting::cluster(1, &manifest);
    let mut clients = setting.clients();
    together(&mut clients, |client| {
        assert_eq!(client.calls("Worker", 1, PATIENCE, true).errors, [""; 0]);
        eventually("calls follow the reports", || {
            const CALLS: u32 = 800;
            let seen = client.calls("Worker", CALLS, 10, false);
            assert_eq!(seen.errors, [""; 0], "{}", client.kind);
            let parts = [(0, 0.5), (1, 0.375), (2, 0.125)];
            parts.into_iter().all(|(slot, part)| {
                let got = seen.by.get(&format!("worker-{slot}")).copied();
                let got = got.unwrap_or_default() as f64 / f64::from(CALLS);
                (got - part).abs() < 0.03
            })
        });
    });
}

#[test]
fn a_stop_waits_for_the_work_that_the_report_tells_of_and_no_longer() {
    let manifest = demo_workers(1, "  stop: {drain: 50s, grace: 1s}\n")
        .replace("reportLoad: {}, interval: 1s", "orca: {}, interval: 200ms");
    let setting = Setting::cluster(1, &manifest);
    // What is in the store reaches the balancer a moment later.
    let mut picked = String::new();
    eventually("it is answered", || {
        let output = setting.run(&["pick", "Worker", "--balancer", &setting.balancer(0)]);
        picked = String::from_utf8(output.stdout).unwrap();
        !picked.is_empty()
    });
    let address = format!("http://{}", picked.trim());
    // Much longer than it takes until the report tells of it.
    let work = Duration::from_secs(10);
    let working = setting.runtime.spawn(async move {
        let mut client = DemoWorkerClient::connect(address).await.unwrap();
        let request = WorkRequest {
            millis: u32::try_from(work.as_millis()).unwrap(),
            ..WorkRequest::default()
        };
        client.work(request).await
    });
    eventually("the report tells of the work", || {
        let pick = [
            "pick",
            "Worker",
            "--balancer",
            &setting.balancer(0),
            "-o",
            "json",
        ];
        let picked = setting.ok(&pick);
        let picked: serde_json::Value = serde_json::from_str(&picked).unwrap();
        picked[0]["currentRequests"] == 1
    });
    let began = Instant::now();
    setting.ok(&["restart", "worker", "--wait"]);
    let took = began.elapsed();
    println!("restarted in {took:?}");
    let answer = setting.runtime.block_on(working).unwrap();
    assert!(answer.is_ok(), "it was not waited for: {answer:?}");
    assert!(
        took < Duration::from_secs(40),
        "it waited for more: {took:?}"
    );
}
