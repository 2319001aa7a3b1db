//! Serving: the listener's connections, the services on them, the timer of leases, and the end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer,
};
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::Connected};

use super::{
    Error,
    core::Core,
    service::{Auth, Services},
};
use crate::host::{Listener, Stream, network};

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
    let connections = network::incoming(listener).map(|stream| stream.map(Connection));
    let server = Server::builder()
        .add_service(PbKvServer::new(services.clone()))
        .add_service(PbWatchServer::new(services.clone()))
        .add_service(PbLeaseServer::new(services.clone()))
        .add_service(PbMaintenanceServer::new(services.clone()))
        .add_service(PbClusterServer::new(services))
        .add_service(Auth)
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let closed = async {
        stop.cancelled().await;
        core.clock.sleep(CLOSING).await;
    };
    tokio::select! {
        served = server => served.map_err(Error::Server),
        () = closed => Ok(()),
        never = core.expire_leases() => match never {},
    }
}

/// A connection as the gRPC server wants it.
struct Connection(Stream);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
