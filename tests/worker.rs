//! Workers of one's own, built with the kit on a plain tonic server, and the real program beside them.
//!
//! - checked and balanced: `a_server_with_the_kit_...`
//! - cancelled: `cancel_...`
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which starts programs and tasks of its own"
)]

mod support;

use std::{net::SocketAddr, time::Duration};

use quaestor::{
    proto::demo::{
        WorkRequest, WorkResponse,
        demo_worker_client::DemoWorkerClient,
        demo_worker_server::{DemoWorker, DemoWorkerServer},
    },
    worker::{Call, Kit, Requests},
};
use support::{
    cluster::{Cluster, Kind, demo_workers},
    eventually,
    ports::free_port,
};
use tokio::task::JoinHandle;
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint, Server},
};

/// Works for ever on what has an even number of milliseconds; else until it is cancelled, which it answers.
struct Patient;

#[tonic::async_trait]
impl DemoWorker for Patient {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        if request.get_ref().millis.is_multiple_of(2) {
            std::future::pending::<()>().await;
        }
        Call::of(&request).unwrap().token().cancelled().await;
        Ok(Response::new(WorkResponse {
            instance: "in good order".to_owned(),
            pid: 0,
        }))
    }
}

/// A tonic server with the kit, as somebody else runs it.
struct Theirs {
    address: SocketAddr,
    requests: Requests,
    health: quaestor::worker::Health,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

impl Theirs {
    async fn start(kit: Kit) -> Self {
        let address: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
        let (requests, health) = (kit.requests(), kit.health());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = Server::builder()
            .layer(kit.layer())
            .add_routes(kit.routes().await)
            .add_service(DemoWorkerServer::new(Patient));
        let until = kit.until(async move { drop(stopped.await) });
        let ended = tokio::spawn(async move {
            router.serve_with_shutdown(address, until).await.unwrap();
        });
        Self {
            address,
            requests,
            health,
            stop: Some(stop),
            ended,
        }
    }

    async fn client(&self) -> DemoWorkerClient<Channel> {
        let target = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        loop {
            match target.connect().await {
                Ok(channel) => return DemoWorkerClient::new(channel),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// A call of `user` in the environment `test`.
    async fn call(
        &self,
        user: &str,
        millis: u32,
    ) -> JoinHandle<Result<Response<WorkResponse>, Status>> {
        let mut client = self.client().await;
        let mut request = Request::new(WorkRequest {
            millis,
            ..Default::default()
        });
        request
            .metadata_mut()
            .insert("user-name", user.parse().unwrap());
        request
            .metadata_mut()
            .insert("environment", "test".parse().unwrap());
        tokio::spawn(async move { client.work(request).await })
    }
}

/// A cluster that knows of it as the service `theirs`, which clients ask for as `Worker`.
fn cluster(theirs: &Theirs) -> Cluster {
    let manifest = format!(
        r#"
apiVersion: quaestor/v1
kind: Service
metadata: {{name: theirs}}
spec:
  external: ["{}"]
  serviceNames: [Worker]
  health: {{grpc: {{}}, interval: 200ms, timeout: 20s}}
  load: {{reportLoad: {{}}, interval: 200ms}}
"#,
        theirs.address
    );
    let cluster = Cluster::start(Kind::Embedded, &manifest);
    is_picked(&cluster, true);
    cluster
}

fn is_picked(cluster: &Cluster, expected: bool) {
    eventually("the balancer has an answer, or none", || {
        cluster.run(&["pick", "Worker"]).status.success() == expected
    });
}

/// What `pick` says of its load.
fn load(cluster: &Cluster) -> (i64, i64) {
    let picked = cluster.run(&["pick", "Worker", "-o", "json"]);
    let picks: serde_json::Value = serde_json::from_slice(&picked.stdout).unwrap_or_default();
    let number = |field: &str| picks[0][field].as_i64().unwrap_or(-1);
    (number("currentRequests"), number("capacity"))
}

const CANCEL: [&str; 6] = ["cancel", "Worker", "--environment", "test", "--user", "ann"];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_the_kit_is_checked_balanced_and_drained() {
    let mut theirs = Theirs::start(Kit::new(["Worker"]).capacity(2).limited()).await;
    let cluster = cluster(&theirs);
    eventually("its capacity is known", || load(&cluster) == (0, 2));
    let first = theirs.call("ann", 2).await;
    eventually("its work is known", || load(&cluster) == (1, 2));
    let second = theirs.call("ann", 2).await;
    eventually("both are worked on", || theirs.requests.current() == 2);
    let refused = theirs.call("ann", 2).await.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    // Clients that go away leave nothing behind.
    first.abort();
    second.abort();
    eventually("its idleness is known", || load(&cluster) == (0, 2));

    theirs.health.set(false).await;
    is_picked(&cluster, false);
    theirs.health.set(true).await;
    is_picked(&cluster, true);

    // The last call is answered before the server ends, and nobody else is sent there.
    let last = theirs.call("ann", 1).await;
    eventually("it is worked on", || theirs.requests.current() == 1);
    drop(theirs.stop.take());
    is_picked(&cluster, false);
    assert!(!theirs.ended.is_finished());
    theirs.requests.cancel(&quaestor::worker::Owner {
        user_name: "ann".to_owned(),
        environment: "test".to_owned(),
    });
    assert!(last.await.unwrap().is_ok());
    theirs.ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_the_requests_of_that_user_and_leaves_others_alone() {
    let theirs = Theirs::start(Kit::new(["Worker"])).await;
    let cluster = cluster(&theirs);
    let cut_off = theirs.call("ann", 2).await;
    let in_order = theirs.call("ann", 1).await;
    let others = theirs.call("bob", 2).await;
    eventually("all are worked on", || theirs.requests.current() == 3);

    let said = cluster.ok(&CANCEL);
    assert_eq!(said, "theirs-0  cancelled\n");
    let cut_off = cut_off.await.unwrap().unwrap_err();
    assert_eq!(cut_off.code(), Code::Cancelled, "{cut_off}");
    let in_order = in_order.await.unwrap().unwrap().into_inner();
    assert_eq!(in_order.instance, "in good order");
    eventually("they are over", || theirs.requests.current() == 1);
    assert!(!others.is_finished());

    let again = cluster.run(&CANCEL);
    assert!(!again.status.success());
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        "theirs-0  nothing to cancel\n"
    );
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(why.contains("ann has no running requests in test"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_gives_workers_the_password_that_they_want() {
    let kit = Kit::new(["Worker"])
        .verify(|owner, password| owner.user_name == "ann" && password == "open sesame");
    let theirs = Theirs::start(kit).await;
    let cluster = cluster(&theirs);
    let running = theirs.call("ann", 2).await;
    eventually("it is worked on", || theirs.requests.current() == 1);

    let refused = cluster.run(&CANCEL);
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("theirs-0: the password is not right"), "{why}");
    assert!(!running.is_finished());

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "open sesame\n").unwrap();
    let path = file.path().to_str().unwrap();
    cluster.ok(&[&CANCEL[..], &["--password-file", path]].concat());
    assert_eq!(running.await.unwrap().unwrap_err().code(), Code::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_asks_every_instance_and_says_who_did_not_answer() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(2, ""));
    let workers = cluster.await_ready("worker", 2);
    let address = format!("http://127.0.0.1:{}", workers[1].ports["grpc"]);
    let channel = Endpoint::from_shared(address).unwrap().connect().await;
    let mut client = DemoWorkerClient::new(channel.unwrap());
    let running = tokio::spawn(async move {
        let request = WorkRequest {
            millis: 3_600_000,
            user_name: "ann".to_owned(),
            environment: "test".to_owned(),
        };
        client.work(request).await
    });
    // By the name of its manifest as well.
    let cancel = [&["cancel", "worker"], &CANCEL[2..]].concat();
    eventually("it is cancelled", || {
        let said = cluster.run(&cancel);
        said.status.success()
            && String::from_utf8_lossy(&said.stdout)
                == "worker-0  nothing to cancel\nworker-1  cancelled\n"
    });
    assert_eq!(running.await.unwrap().unwrap_err().code(), Code::Cancelled);

    support::signal(workers[0].pid.unwrap(), "STOP");
    let cancel = [&cancel[..], &["--timeout", "5s"]].concat();
    let said = cluster.run(&cancel);
    support::signal(workers[0].pid.unwrap(), "CONT");
    assert!(!said.status.success());
    let why = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(why.contains("error: worker-0: "), "{why}");
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "worker-1  nothing to cancel\n"
    );

    let unknown = cluster.run(&["cancel", "wroker", "--user", "a", "--environment", "b"]);
    let why = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(why.contains("no service wroker; did you mean "), "{why}");
}
