//! Serving: the services on the listener's connections, the timer of leases, and the end.

use std::{sync::Arc, time::Duration};

use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer,
};
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    core::Core,
    service::{Auth, Services},
};
use crate::{grpc, host::Listener};

/// How long clients may take to close their connections at the end. They have been told that the
/// server goes, and nothing is in flight any more.
const CLOSING: Duration = Duration::from_secs(1);

/// Serves until `stop`.
pub(super) async fn serve(
    core: Arc<Core>,
    listener: Box<dyn Listener>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_address().map_err(Error::Listener)?;
    let services = Services::new(core.clone(), address, stop.clone());
    let router = grpc::server()
        .add_service(PbKvServer::new(services.clone()))
        .add_service(PbWatchServer::new(services.clone()))
        .add_service(PbLeaseServer::new(services.clone()))
        .add_service(PbMaintenanceServer::new(services.clone()))
        .add_service(PbClusterServer::new(services))
        .add_service(Auth);
    tokio::select! {
        served = grpc::serve(router, listener, core.clock.clone(), stop, CLOSING) => Ok(served?),
        never = core.expire_leases() => match never {},
    }
}
