//! What an agent serves: the logs of its instances, and tickets for them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{logs, units};
use crate::{
    agent::{logs::Logs, reservations::Reservations},
    grpc,
    host::{Host, Listener},
    model::Name,
};

/// How long answers that are being sent may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves the `logs` and `reservations` of `node` on `listener` until `stop`.
///
/// # Errors
/// When the server ends by itself.
pub async fn serve(
    listener: Box<dyn Listener>,
    node: Name,
    logs: Logs,
    reservations: Reservations,
    host: Host,
    stop: CancellationToken,
) -> Result<(), grpc::Error> {
    let router = grpc::server()
        .add_service(logs::service(node.clone(), logs, stop.clone()))
        .add_service(units::service(node, reservations, stop.clone()));
    grpc::serve(router, listener, host.clock, stop, DRAIN).await
}
