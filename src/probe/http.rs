//! Health over HTTP/1.1.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;

use super::{Target, Trouble};
use crate::host::Network;

/// Asks `target` for `path` on a connection of its own: servers close idle ones when they like, and a
/// check must not fail for that.
pub(super) async fn get(network: &dyn Network, target: &Target, path: &str) -> Result<(), Trouble> {
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
    let answer = sender.send_request(request);
    // The connection does the work; it may end together with the answer, or just before.
    let answer = tokio::select! {
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(error),
    };
    let status = answer.map_err(Trouble::unreachable)?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(Trouble::Answer(format!("status {status}")))
    }
}
