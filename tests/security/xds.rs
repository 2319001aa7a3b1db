//! Stock gRPC clients of a cluster that lets nobody in without a certificate.

use std::path::PathBuf;

use crate::{
    ground::Ground,
    stock::{Client, PATIENCE},
    support::{cluster::demo_workers, eventually, ports::free_port},
};

/// The bootstrap file that `client.billing` gets with these arguments, once there is one.
fn bootstrap(ground: &Ground, arguments: &[&str]) -> PathBuf {
    let path = PathBuf::from(ground.path("bootstrap.json"));
    let arguments = [&["xds", "bootstrap"], arguments].concat();
    eventually("a balancer says where it is", || {
        let output = ground.run_as("client.billing", &arguments);
        output.status.success() && std::fs::write(&path, output.stdout).is_ok()
    });
    path
}

#[test]
fn stock_clients_are_balanced_with_certificates_and_those_that_know_none_without() {
    let mut ground = Ground::with_etcd(1);
    let plain = format!("127.0.0.1:{}", free_port());
    ground.start_roles(&["--plain", &plain]);
    ground.issue(&["client", "billing"]);
    ground.apply_as("operator.ann", &demo_workers(2, ""));

    let secured = bootstrap(&ground, &[]);
    let text = std::fs::read_to_string(&secured).unwrap();
    assert!(text.contains("client.billing.key"), "{text}");
    let mut clients = vec![Client::grpcio(&secured)];
    // Its library of xDS takes no file with TLS.
    let plain = bootstrap(&ground, &["--plain", &plain]);
    clients.push(Client::node(&plain));
    for client in &mut clients {
        let seen = client.calls("Worker", 40, PATIENCE, true);
        assert_eq!(seen.errors, [""; 0], "{}", client.kind);
        assert_eq!(seen.by.len(), 2, "{}: {seen:?}", client.kind);
    }
}
