//! Connections, and their limits.

use std::{io, time::Duration};

use axum::Router;
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::host::{Host, Listener, Stream};

/// Connections at a time; further ones wait until one ends.
const CONNECTIONS: usize = 1024;

/// Bytes of a request's head, which is all that is read of it.
const HEAD: usize = 16 * 1024;

/// Bytes that are kept for a reader that is slower than its answers, beside the answer at hand.
const BUFFER: usize = 64 * 1024;

/// How long a request's head may take, and how long a connection may be idle between two.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long requests that are being answered may take once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// The pause after a connection could not be accepted: without one it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`. The connections are parts of this future: none outlives it.
pub(super) async fn run(
    router: Router,
    mut listener: Box<dyn Listener>,
    host: &Host,
    stop: CancellationToken,
) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(()) = connections.next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => connections.push(converse(stream, router.clone(), stop.clone())),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!(%error, "an HTTP connection cannot be accepted");
                    host.clock.sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let ended = async { while connections.next().await.is_some() {} };
    tokio::select! {
        () = ended => {}
        () = host.clock.sleep(DRAIN) => {}
    }
}

/// Answers the requests of one connection until it ends; after `stop`, the one at hand.
async fn converse(stream: Stream, router: Router, stop: CancellationToken) {
    let peer = stream.peer().clone();
    let named = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request
    });
    let service = TowerToHyperService::new(named);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
