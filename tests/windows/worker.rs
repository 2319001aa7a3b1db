//! The demo worker, as an agent starts and stops it.

use std::net::TcpStream;

use quaestor::model::service::StopSignal;

use super::{
    ports::free_port,
    world::{PATIENCE, World, beside, eventually},
};

#[tokio::test]
async fn the_demo_worker_ends_by_its_event() {
    let world = World::new();
    let quaestor = beside("quaestor.exe");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let program = world.program(&[
        quaestor.to_str().unwrap(),
        "demo-worker",
        "--listen",
        &listen,
    ]);
    let started = world.start(1, &program).await;
    eventually("it listens", || TcpStream::connect(&listen).is_ok()).await;
    started.process.signal(StopSignal::SigTerm).unwrap();
    let end = tokio::time::timeout(PATIENCE, started.ended).await.unwrap();
    assert_eq!(end.code, Some(0), "{}", world.log());
    world.end().await;
}
