//! Connections to others: one way to make them, one error for those that cannot be made.

use std::{error::Error as _, sync::Arc, time::Duration};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint as Target},
};

use crate::host::{Network, network::connector};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("`{0}` is not an address: write host:port")]
    Address(String),
    /// Nobody answers there.
    #[error("nobody answers at {address}: {cause}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the connection said.
        cause: String,
    },
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For the connection.
    pub(super) connect: Duration,
    /// For the beginning of each answer; none: each call says so itself.
    pub(super) answer: Option<Duration>,
    /// A connection is asked for a sign of life this often, and has 5 s for it; none: never.
    pub(super) keep_alive: Option<Duration>,
}

impl Timeouts {
    /// For one question, which is to be answered within `timeout` of the connection.
    pub(super) fn question(timeout: Duration) -> Self {
        Self {
            connect: timeout,
            answer: Some(timeout),
            keep_alive: None,
        }
    }
}

/// How long a connection has for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A connection to `address` (`host:port`, with or without `http://`).
pub(super) async fn connect(
    network: Arc<dyn Network>,
    address: &str,
    timeouts: Timeouts,
) -> Result<Channel, Error> {
    target(address, timeouts)?
        .connect_with_connector(connector(network))
        .await
        .map_err(|error| Error::Unreachable {
            address: address.to_owned(),
            cause: root_cause(&error),
        })
}

/// The same, made when it is first needed, and again after it broke.
pub(super) fn connect_lazily(
    network: Arc<dyn Network>,
    address: &str,
    timeouts: Timeouts,
) -> Result<Channel, Error> {
    Ok(target(address, timeouts)?.connect_with_connector_lazy(connector(network)))
}

fn target(address: &str, timeouts: Timeouts) -> Result<Target, Error> {
    let authority = address.strip_prefix("http://").unwrap_or(address);
    let mut target = Target::try_from(format!("http://{authority}"))
        .ok()
        .filter(|target| target.uri().port().is_some())
        .ok_or_else(|| Error::Address(address.to_owned()))?
        .connect_timeout(timeouts.connect);
    if let Some(answer) = timeouts.answer {
        target = target.timeout(answer);
    }
    if let Some(keep_alive) = timeouts.keep_alive {
        target = target
            .http2_keep_alive_interval(keep_alive)
            .keep_alive_timeout(SIGN_OF_LIFE);
    }
    Ok(target)
}

/// What a refusal means. Servers that know nothing of the question say no more than that: `unknown` says
/// what they are then.
pub(super) fn refusal(status: &Status, unknown: &str) -> String {
    match status.code() {
        Code::Unimplemented => unknown.to_owned(),
        _ => words(status),
    }
}

/// Why there is no answer: what the other end said, or else what became of the connection to it.
pub(super) fn words(status: &Status) -> String {
    match (status.source(), status.message()) {
        (Some(cause), _) => match root_cause(cause) {
            // What one makes of an answer in TLS.
            cause if cause.contains("frame with invalid size") => {
                format!(
                    "{cause}; maybe TLS is spoken there: then name the authorities, with --tls-ca"
                )
            }
            cause => cause,
        },
        (None, "") => status.code().to_string(),
        (None, message) => message.to_owned(),
    }
}

/// The last of an error's causes: the one that says what happened.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::TcpNetwork;

    #[tokio::test]
    async fn an_address_needs_a_port() {
        for address in [
            "localhost",
            "[::1]",
            "",
            "local host:1",
            "https://localhost:1",
        ] {
            let timeouts = Timeouts::question(Duration::from_secs(1));
            let error = connect(Arc::new(TcpNetwork), address, timeouts).await;
            assert!(
                matches!(error, Err(Error::Address(_))),
                "{address}: {error:?}"
            );
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let timeouts = Timeouts::question(Duration::from_secs(5));
        let error = connect(Arc::new(TcpNetwork), &address, timeouts).await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("nobody answers at {address}: ")),
            "{text}"
        );
    }
}
