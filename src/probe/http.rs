//! Health and load over HTTP/1.1.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;

use super::{Target, Trouble};
use crate::host::Network;

/// The largest document that is read, in bytes: load is a few numbers.
const LARGEST: usize = 256 * 1024;

/// Asks `target` for `path`; any 2xx or 3xx status is good.
pub(super) async fn get(network: &dyn Network, target: &Target, path: &str) -> Result<(), Trouble> {
    ask(network, target, path, async |answer| {
        let status = answer.status();
        match status.is_success() || status.is_redirection() {
            true => Ok(()),
            false => Err(Trouble::Answer(format!("status {status}"))),
        }
    })
    .await
}

/// The document at `path` of `target`.
pub(super) async fn get_body(
    network: &dyn Network,
    target: &Target,
    path: &str,
) -> Result<Bytes, Trouble> {
    ask(network, target, path, async |answer| {
        let status = answer.status();
        if !status.is_success() {
            return Err(Trouble::Answer(format!("status {status}")));
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        body.map(|body| body.to_bytes())
            .map_err(|error| Trouble::Answer(format!("the document cannot be read: {error}")))
    })
    .await
}

/// Asks `target` for `path` on a connection of its own: servers close idle ones when they like, and a
/// check must not fail for that.
async fn ask<T>(
    network: &dyn Network,
    target: &Target,
    path: &str,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let stream = network.connect(&target.host, target.port).await;
    let stream = TokioIo::new(stream.map_err(Trouble::unreachable)?);
    let (mut sender, connection) = http1::handshake(stream)
        .await
        .map_err(Trouble::unreachable)?;
    let request = Request::get(path)
        .header(header::HOST, target.to_string())
        .header(header::USER_AGENT, "quaestor-probe")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Trouble::Answer(format!("cannot be asked: {error}")))?;
    let answer = async {
        let answer = sender.send_request(request).await;
        read(answer.map_err(Trouble::unreachable)?).await
    };
    // The connection does the work; it may end together with the answer, or just before.
    tokio::select! {
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(Trouble::unreachable(error)),
    }
}
