//! Asking an agent for logs.

use std::{sync::Arc, time::Duration};

use tonic::Streaming;

use super::connect::{self, Timeouts};
use crate::{
    host::Network,
    model::{Instance, LogBatch, LogLine, LogQuery, LogSource, Name, Timestamp},
    proto::v1::{self as wire, agent_logs_client::AgentLogsClient},
};

/// How long an agent may take.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    // To find the first line: it may have to count all there are.
    answer: Some(Duration::from_secs(60)),
    keep_alive: Some(Duration::from_secs(10)),
};

/// Why logs were not read, or no further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not asked.
    #[error(transparent)]
    Connection(#[from] connect::Error),
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
    let channel = connect::connect(network, address, TIMEOUTS).await?;
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
    Error::Refused(connect::words(&status))
}
