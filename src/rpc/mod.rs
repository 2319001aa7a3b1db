//! The gRPC surfaces. [`serve`] is the balancer's: answers come from the view in memory, never from the store
//! or from a worker.
//!
//! - `access`: who calls, and whether it may
//! - `admission`: what every call passes first
//! - `balancer`: the questions of clients of our own
//! - [`client`]: asking a balancer, as any client would; [`worker_client`]: asking a worker to cancel requests
//! - [`connect`]: how all of them connect
//! - `discovery`: the questions of quaestor-mini-cluster's clients
//! - [`agent`]: what an agent serves: `logs` and `units`, tickets for its instances
//! - `reservations`: tickets; [`connections`]: whom a balancer asks for them
//! - [`proof`]: what agents ask a balancer before they stop what it answered with
//! - [`tally`]: how much a balancer has answered
//! - `refusal`: why there is no answer, as gRPC says it
//! - [`trace`]: spans of calls
//! - [`log_client`]: asking it for logs
//! - `xds`: the questions of stock gRPC clients

mod access;
mod admission;
pub mod agent;
mod balancer;
pub mod client;
pub mod connect;
pub mod connections;
mod discovery;
pub mod log_client;
mod logs;
pub mod proof;
mod refusal;
mod reservations;
pub mod tally;
pub mod trace;
mod units;
pub mod worker_client;
mod xds;

use std::{convert::Infallible, sync::Arc};

use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use admission::Admitted;

use crate::{
    balancer::{answers::Answers, reservations::Reservations, witness::Witness, xds::Xds},
    grpc,
    host::{Host, Listener},
    proto::{
        DESCRIPTORS, service_discovery::service_discovery_grpc_server::SERVICE_NAME,
        v1::balancer_server::SERVICE_NAME as BALANCER,
    },
};

/// The names under which the balancer's health is asked: the empty one, the services' own, and the
/// one that quaestor-mini-cluster used.
const HEALTH_NAMES: [&str; 4] = ["", BALANCER, SERVICE_NAME, "ServiceDiscoveryGrpc"];

/// The service of tickets.
const RESERVATIONS: &str = crate::proto::v1::reservations_server::SERVICE_NAME;

/// The service that agents ask.
const DRAIN_PROOF: &str = crate::proto::v1::drain_proof_server::SERVICE_NAME;

/// The service that tells who asks by xDS.
const XDS_STATUS: &str = crate::proto::v1::xds_status_server::SERVICE_NAME;

/// The service that tells how much was answered.
const TALLY: &str = crate::proto::v1::tally_server::SERVICE_NAME;

/// Why the surface cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptors for reflection cannot be read: a fault of the build.
    #[error("cannot describe the services: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
    /// The server ended.
    #[error(transparent)]
    Server(#[from] grpc::Error),
}

/// Serves `answers` on `listener` until `stop`. Health is SERVING from the first full sync on,
/// and NOT_SERVING again before anything else ends. Without `reservations` it gives no tickets.
///
/// # Errors
/// When the server cannot run.
pub async fn serve(
    listener: Box<dyn Listener>,
    answers: Answers,
    reservations: Option<Reservations>,
    host: Host,
    stop: CancellationToken,
) -> Result<(), Error> {
    let directory = Arc::clone(answers.directory());
    let (mut health, health_service) = tonic_health::server::health_reporter();
    report(&health, ServingStatus::NotServing).await;

    let bounds = answers.limits();
    let (most, grace) = (bounds.message, bounds.drain);
    let limits = grpc::Limits {
        connections: bounds.connections,
        closed: answers.counters().connections(),
        streams: bounds.streams,
        headers: bounds.head,
    };
    let discovery = discovery::service(Arc::clone(&directory), host.clone(), most);
    let witness = reservations.as_ref().map(|reservations| {
        let witness = Witness::new(answers.clone(), reservations.clone(), host.clone());
        Admitted::new(proof::service(witness), &answers)
    });
    let reservations = reservations.map(|reservations| {
        let known = Arc::clone(&directory);
        let service = reservations::service(reservations, known, host.clone(), most);
        Admitted::new(service, &answers)
    });
    let balancer = balancer::service(answers.clone(), stop.clone());
    let (told, publisher) = Xds::new(Arc::clone(&directory), host.clone());
    answers.join(told.clone());
    let xds = xds::service(told.clone(), answers.clone(), stop.clone());
    let router = grpc::server_within(&limits)
        .add_service(Admitted::new(xds, &answers))
        .add_service(Admitted::new(xds::status::service(told), &answers))
        .add_service(Admitted::new(tally::service(answers.clone()), &answers))
        .add_service(Admitted::new(balancer, &answers))
        .add_service(Admitted::new(discovery, &answers))
        .add_optional_service(reservations)
        .add_optional_service(witness)
        .add_service(Admitted::new(health_service, &answers))
        .add_service(Admitted::new(reflection().build_v1()?, &answers))
        .add_service(Admitted::new(reflection().build_v1alpha()?, &answers));

    let drain = CancellationToken::new();
    let tell = async {
        tokio::select! {
            () = directory.synced() => report(&health, ServingStatus::Serving).await,
            () = stop.cancelled() => {}
        }
        stop.cancelled().await;
        report(&health, ServingStatus::NotServing).await;
        drain.cancel();
        // Ends the watches, which would hold up the end.
        for name in HEALTH_NAMES {
            health.clear_service_status(name).await;
        }
        std::future::pending::<Infallible>().await
    };
    let clock = host.clock;
    let served = grpc::serve_within(&limits, router, listener, clock, drain.clone(), grace);
    tokio::select! {
        outcome = served => Ok(outcome?),
        never = tell => match never {},
        never = publisher.run() => match never {},
    }
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}

/// What is told about the services: those that this server has.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE_NAME)
        .with_service_name(RESERVATIONS)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME)
        .with_service_name(BALANCER)
        .with_service_name(XDS_STATUS)
        .with_service_name(TALLY)
        .with_service_name(DRAIN_PROOF)
}

#[cfg(test)]
mod tests;
