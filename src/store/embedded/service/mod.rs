//! The gRPC services: they take the lock, ask the state, and sign the answer.

mod kv;
mod lease;
mod member;
pub(super) mod watch;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Ready, ready};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService};

use super::{core::Core, refusal::Refusal};

/// The largest request that is written, in bytes: etcd's default.
pub(super) const MAX_REQUEST_BYTES: usize = 1_572_864;

/// All services but [`Auth`].
#[derive(Clone)]
pub(super) struct Services {
    core: Arc<Core>,
    /// Where clients reach this server.
    address: SocketAddr,
    /// Ends the streams.
    stop: CancellationToken,
}

impl Services {
    /// The services of a server at `address` that ends with `stop`.
    pub(super) fn new(core: Arc<Core>, address: SocketAddr, stop: CancellationToken) -> Self {
        Self {
            core,
            address,
            stop,
        }
    }
}

/// Refuses a request that is too large to be written.
fn check_size(request: &impl prost::Message) -> Result<(), Refusal> {
    if request.encoded_len() > MAX_REQUEST_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

/// What is answered to a part of the API that makes no sense in memory.
fn not_here(what: &str) -> Status {
    Status::unimplemented(format!(
        "the embedded store has no {what}; use an etcd for that"
    ))
}

/// Answers every request about users and roles: there are none. (The messages of this service are
/// not all public in the client library, so it answers below them.)
#[derive(Clone)]
pub(super) struct Auth;

impl NamedService for Auth {
    const NAME: &'static str = "etcdserverpb.Auth";
}

impl tower::Service<http::Request<Body>> for Auth {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(Status::from(Refusal::AuthNotEnabled).into_http()))
    }
}
