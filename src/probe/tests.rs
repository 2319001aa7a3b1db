//! Against real listeners: what each check takes for healthy, and what it says when it does not.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic_health::ServingStatus;

use super::*;

/// Long enough for a slow machine; only `Silent` waits for a time-out, and that one is short.
const PATIENT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn prober(port: u16) -> Prober {
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port,
    };
    Prober::new(target, &Host::system()).unwrap()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port that nobody listens on.
async fn closed_port() -> u16 {
    listener().await.1
}

fn grpc(names: &[&str]) -> Check {
    Check::Grpc {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn http(path: &str) -> Check {
    Check::Http {
        path: path.to_owned(),
    }
}

/// Answers every HTTP request with `status` while it is polled.
async fn serve_http(listener: TcpListener, status: &str) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        assert!(
            request.starts_with("GET /healthz HTTP/1.1\r\n"),
            "{request}"
        );
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn http_is_healthy_with_2xx_and_3xx() {
    for (status, expected) in [
        ("200 OK", None),
        ("302 Found", None),
        ("404 Not Found", Some("status 404 Not Found")),
        ("503 Service Unavailable", Some("status 503")),
    ] {
        let (listener, port) = listener().await;
        let outcome = tokio::select! {
            outcome = prober(port).check(http("/healthz"), PATIENT) => outcome,
            () = serve_http(listener, status) => unreachable!(),
        };
        match (outcome, expected) {
            (Ok(()), None) => {}
            (Err(why @ Unhealthy::Answered { .. }), Some(text)) => {
                let why = why.to_string();
                assert!(why.contains(text), "{why}");
                assert!(why.starts_with(&format!("GET http://127.0.0.1:{port}/healthz")));
            }
            (outcome, _) => panic!("{status}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable_and_says_so() {
    let port = closed_port().await;
    for check in [Check::Tcp, http("/"), grpc(&[]), grpc(&["Worker"])] {
        let why = prober(port)
            .check(check.clone(), PATIENT)
            .await
            .unwrap_err();
        assert!(matches!(why, Unhealthy::Unreachable { .. }), "{why:?}");
        assert!(why.to_string().contains("Connection refused"), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_silent_yet_connectable() {
    let (_listener, port) = listener().await;
    assert_eq!(prober(port).check(Check::Tcp, PATIENT).await, Ok(()));
    for check in [http("/"), grpc(&[])] {
        let why = prober(port).check(check, SHORT).await.unwrap_err();
        assert!(matches!(why, Unhealthy::Silent { .. }), "{why:?}");
        assert!(why.to_string().ends_with("no answer within 50ms"), "{why}");
    }
}

#[tokio::test]
async fn every_asked_name_must_be_serving() {
    let (listener, port) = listener().await;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("Good", ServingStatus::Serving)
        .await;
    reporter
        .set_service_status("Bad", ServingStatus::NotServing)
        .await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .add_service(health)
        .serve_with_incoming(incoming);
    let asking = async {
        let prober = prober(port);
        for (names, expected) in [
            (&[][..], None),
            (&["Good"], None),
            (&["Good", "Bad"], Some("Bad is NOT_SERVING")),
            (&["Other"], Some("NotFound")),
        ] {
            let outcome = prober.check(grpc(names), PATIENT).await;
            match (outcome, expected) {
                (Ok(()), None) => {}
                (Err(why @ Unhealthy::Answered { .. }), Some(text)) => {
                    assert!(why.to_string().contains(text), "{why}");
                }
                (outcome, _) => panic!("{names:?}: {outcome:?}"),
            }
        }
        // The server does not report load: that is an answer too.
        let why = prober.report_load(Vec::new(), PATIENT).await.unwrap_err();
        assert!(why.to_string().contains("Unimplemented"), "{why}");
    };
    tokio::select! {
        () = asking => {}
        result = server => panic!("the server ended: {result:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again() {
    let (first, port) = listener().await;
    let (_reporter, health) = tonic_health::server::health_reporter();
    let serve = |listener| {
        tonic::transport::Server::builder()
            .add_service(health.clone())
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener))
    };
    let prober = prober(port);
    tokio::select! {
        outcome = prober.check(grpc(&[]), PATIENT) => assert_eq!(outcome, Ok(())),
        result = serve(first) => panic!("the server ended: {result:?}"),
    }
    // The first server and its connections are gone. A new one takes its port.
    let second = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let healthy_again = async {
        while prober.check(grpc(&[]), SHORT).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = tokio::time::timeout(PATIENT, healthy_again) => outcome.unwrap(),
        result = serve(second) => panic!("the server ended: {result:?}"),
    }
}
