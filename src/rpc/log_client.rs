//! Asking an agent for logs.

use std::{sync::Arc, time::Duration};

use tonic::{Streaming, transport::Endpoint as Target};

use super::client::root_cause;
use crate::{
    host::{Network, network::connector},
    model::{Instance, LogBatch, LogLine, LogQuery, LogSource, Name, Timestamp},
    proto::v1::{self as wire, agent_logs_client::AgentLogsClient},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an agent may take to find the first line: it may have to count all there are.
const FIRST: Duration = Duration::from_secs(60);

/// A connection is asked for a sign of life this often ...
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// ... and has so long for it.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why logs were not read, or no further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("`{0}`, which it announces, is no address")]
    Address(String),
    /// Nobody answers there.
    #[error("nobody answers at {address}: {cause}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the connection said.
        cause: String,
    },
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(String),
}

/// The lines of one instance, on a connection of their own: on a shared one, lines that nobody has read yet
/// would hold up those of others.
pub struct LogStream(Streaming<wire::ReadLogsResponse>);

/// Asks the agent of `node` at `address` (`host:port`) for lines of `instance`.
///
/// # Errors
/// See [`Error`].
pub async fn read(
    network: Arc<dyn Network>,
    address: &str,
    node: &Name,
    instance: &Instance,
    query: LogQuery,
) -> Result<LogStream, Error> {
    let channel = Target::try_from(format!("http://{address}"))
        .ok()
        .filter(|target| target.uri().port().is_some())
        .ok_or_else(|| Error::Address(address.to_owned()))?
        .connect_timeout(CONNECT)
        .timeout(FIRST)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .connect_with_connector(connector(network))
        .await
        .map_err(|error| Error::Unreachable {
            address: address.to_owned(),
            cause: root_cause(&error),
        })?;
    let request = wire::ReadLogsRequest {
        node: node.to_string(),
        instance: instance.to_string(),
        max_age_millis: (query.max_age)
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        tail: query.tail,
        follow: query.follow,
        previous: query.previous,
    };
    let answer = AgentLogsClient::new(channel).read(request).await;
    Ok(LogStream(answer.map_err(refused)?.into_inner()))
}

impl LogStream {
    /// What comes next; none after the last line.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn next(&mut self) -> Result<Option<LogBatch>, Error> {
        let batch = self.0.message().await.map_err(refused)?;
        Ok(batch.map(|batch| match batch.caught_up {
            true => LogBatch::CaughtUp,
            false => LogBatch::Lines(batch.lines.into_iter().map(line).collect()),
        }))
    }
}

fn line(line: wire::LogLine) -> LogLine {
    LogLine {
        at: Timestamp::from_millis(line.at_millis),
        source: match line.source() {
            wire::LogSource::Out | wire::LogSource::Unspecified => LogSource::Out,
            wire::LogSource::Err => LogSource::Err,
            wire::LogSource::Quaestor => LogSource::Quaestor,
        },
        continues: line.continues,
        text: line.text,
    }
}

fn refused(status: tonic::Status) -> Error {
    let text = match status.message() {
        "" => status.code().description().to_owned(),
        text => text.to_owned(),
    };
    Error::Refused(text)
}
