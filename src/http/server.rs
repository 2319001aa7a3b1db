//! Connections, and their limits.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::problem::Problem;
use crate::{
    balancer::{
        answers::{Answers, Refused},
        limits::Limits,
    },
    host::{Host, Listener, Stream},
};

/// Connections at a time; further ones wait until one ends.
const CONNECTIONS: usize = 1024;

/// Bytes that are kept for a reader that is slower than its answers, beside the answer at hand.
const BUFFER: usize = 64 * 1024;

/// How long a request's head may take, and how long a connection may be idle between two.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// The pause after a connection could not be accepted: without one it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`. The connections are parts of this future: none outlives it.
pub(super) async fn run(
    router: Router,
    door: Door,
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
                Ok((stream, peer)) => {
                    let visitor = Visitor { router: router.clone(), door: door.clone(), peer };
                    connections.push(converse(stream, visitor, stop.clone()));
                }
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
        () = host.clock.sleep(door.limits().drain) => {}
    }
}

/// How much is taken on.
#[derive(Clone)]
pub(super) enum Door {
    /// As much as the balancer does.
    Balancer(Box<Answers>),
    /// Where there is none, what would be its default.
    Plain(Arc<Limits>),
}

impl Door {
    pub(super) fn of(answers: Option<Answers>) -> Self {
        let balancer = |answers| Self::Balancer(Box::new(answers));
        answers.map_or_else(|| Self::Plain(Arc::default()), balancer)
    }

    fn limits(&self) -> &Limits {
        match self {
            Self::Balancer(answers) => answers.limits(),
            Self::Plain(limits) => limits,
        }
    }

    fn admit(&self, peer: IpAddr) -> Result<(), Refused> {
        match self {
            Self::Balancer(answers) => answers.admit_peer(peer),
            Self::Plain(_) => Ok(()),
        }
    }
}

/// One who asks over a connection.
struct Visitor {
    router: Router,
    door: Door,
    peer: SocketAddr,
}

impl Visitor {
    /// Answers one request, unless too many come from there.
    async fn ask(&self, request: http::Request<Incoming>) -> Result<Response, Infallible> {
        match self.door.admit(self.peer.ip()) {
            Ok(()) => self.router.clone().oneshot(request.map(Body::new)).await,
            Err(refused) => Ok(Problem::from(refused).into_response()),
        }
    }
}

/// Answers the requests of one connection until it ends; after `stop`, the one at hand.
async fn converse(stream: Stream, visitor: Visitor, stop: CancellationToken) {
    let head = visitor.door.limits().head as usize;
    let caller = stream.peer().clone();
    let service = service_fn(|mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        visitor.ask(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(head)
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
