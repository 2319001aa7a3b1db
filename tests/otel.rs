//! Traces of picks and tickets (feature `otel`): what a collector of OpenTelemetry is told, from the balancer to the agent.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests run programs as they like"
)]

mod support;

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use quaestor::proto::v1::{
    AcquireRequest, PickRequest, acquire_response::Progress, balancer_client::BalancerClient,
    reservations_client::ReservationsClient,
};
use support::{
    cluster::{QUAESTOR, demo_workers},
    eventually_async,
    ports::free_port,
    signal,
};
use tonic::{Request, Response, Status, transport::Server};

/// What has come, by the service that sent it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for batch in request.into_inner().resource_spans {
            let resource = format!("{:?}", batch.resource);
            let spans = batch.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let mut known = self.0.lock().unwrap();
            known.extend(spans.map(|span| (resource.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// The span of that name in that trace.
    fn find(&self, trace: &str, name: &str) -> Option<(String, Span)> {
        let known = self.0.lock().unwrap();
        let mut known = known.iter();
        known
            .find(|(_, span)| hex(&span.trace_id) == trace && span.name == name)
            .cloned()
    }
}

/// Ended when it is dropped.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traced<T>(message: T, trace: &str, parent: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("00-{trace}-{parent}-01").parse().unwrap();
    request.metadata_mut().insert("traceparent", value);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pick_and_a_ticket_are_traced_from_who_asks_to_the_agent() {
    let collector = Collector::default();
    let port = free_port();
    let at: SocketAddr = ([127, 0, 0, 1], port).into();
    let receiver = TraceServiceServer::new(collector.clone());
    tokio::spawn(Server::builder().add_service(receiver).serve(at));

    let directory = tempfile::tempdir().unwrap();
    let shared = demo_workers(1, "");
    let alone = demo_workers(1, "  balance: {exclusive: true}\n")
        .replace("{name: worker}", "{name: alone}")
        .replace("[Worker]", "[Alone]")
        .replace("demo-worker,", "demo-worker, --service-name, Alone,");
    let file = directory.path().join("manifests.yaml");
    std::fs::write(&file, format!("{shared}\n---{alone}")).unwrap();
    let [store, balancer] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let dev = Command::new(QUAESTOR)
        .args(["dev", "-f", file.to_str().unwrap(), "--state-dir"])
        .arg(directory.path().join("state"))
        .args(["--store-listen", &store, "--balancer-listen", &balancer])
        .args(["--otlp-endpoint", &format!("http://{at}")])
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _dev = Dev(dev);

    let (pick, ticket) = (
        "0af7651916cd43dd8448eb211c80319c",
        "11111111111111111111111111111111",
    );
    let parent = "b7ad6b7169203331";
    let address = format!("http://{balancer}");
    eventually_async("a pick is answered", async || {
        let Ok(mut client) = BalancerClient::connect(address.clone()).await else {
            return false;
        };
        let request = PickRequest {
            service: "Worker".to_owned(),
            ..Default::default()
        };
        client.pick(traced(request, pick, parent)).await.is_ok()
    })
    .await;
    eventually_async("a ticket is given", async || {
        let Ok(mut client) = ReservationsClient::connect(address.clone()).await else {
            return false;
        };
        let request = AcquireRequest {
            service: "Alone".to_owned(),
            ..Default::default()
        };
        let Ok(answer) = client.acquire(traced(request, ticket, parent)).await else {
            return false;
        };
        let mut steps = answer.into_inner();
        while let Ok(Some(step)) = steps.message().await {
            if matches!(step.progress, Some(Progress::Ticket(_))) {
                return true;
            }
        }
        false
    })
    .await;

    eventually_async("the spans have come", async || {
        collector.find(pick, "quaestor.v1.Balancer/Pick").is_some()
            && collector
                .find(ticket, "quaestor.v1.AgentReservations/Grant")
                .is_some()
            && collector
                .find(ticket, "quaestor.v1.Reservations/Acquire")
                .is_some()
    })
    .await;
    let (sender, span) = collector.find(pick, "quaestor.v1.Balancer/Pick").unwrap();
    assert!(sender.contains("quaestor-dev"), "{sender}");
    assert_eq!(hex(&span.parent_span_id), parent);
    let (_, acquire) = collector
        .find(ticket, "quaestor.v1.Reservations/Acquire")
        .unwrap();
    assert_eq!(hex(&acquire.parent_span_id), parent);
    let (_, grant) = collector
        .find(ticket, "quaestor.v1.AgentReservations/Grant")
        .unwrap();
    assert_eq!(
        grant.parent_span_id, acquire.span_id,
        "the agent's is its child"
    );
}
