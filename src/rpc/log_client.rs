//! Asking an agent for logs.

use std::{sync::Arc, time::Duration};

use tonic::Streaming;

use super::connect::{self, Timeouts};
use crate::{
    host::Network,
    model::{Instance, LogBatch, LogLine, LogPosition, LogQuery, LogSource, Name, Timestamp},
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
    /// The answer broke off.
    #[error("the connection to its agent broke: {0}")]
    Broken(String),
    /// It answered that it has none: the instance has printed nothing on that node.
    #[error("{0}")]
    Nothing(String),
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(String),
}

/// The lines of one instance, on a connection of their own: on a shared one, lines that nobody has read yet
/// would hold up those of others.
pub struct LogStream {
    answers: Streaming<wire::ReadLogsResponse>,
    position: Option<LogPosition>,
}

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
        after: query.after.map(|after| wire::LogPosition {
            file: after.file,
            offset: after.offset,
            at_millis: after.at,
        }),
    };
    let answer = AgentLogsClient::new(channel).read(request).await;
    Ok(LogStream {
        answers: answer.map_err(refused)?.into_inner(),
        position: query.after,
    })
}

impl LogStream {
    /// What comes next; none after the last line. Cancel-safe.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn next(&mut self) -> Result<Option<LogBatch>, Error> {
        let Some(batch) = self.answers.message().await.map_err(refused)? else {
            return Ok(None);
        };
        self.position = batch.position.map(|position| LogPosition {
            file: position.file,
            offset: position.offset,
            at: position.at_millis,
        });
        Ok(Some(match batch.caught_up {
            true => LogBatch::CaughtUp,
            false => LogBatch::Lines(batch.lines.into_iter().map(line).collect()),
        }))
    }

    /// Behind what has come so far; none before anything has, and from an agent that knows no positions.
    pub fn position(&self) -> Option<LogPosition> {
        self.position
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
    let words = connect::words(&status);
    if std::error::Error::source(&status).is_some() {
        // No agent says such a thing.
        return Error::Broken(words);
    }
    match status.code() {
        tonic::Code::NotFound => Error::Nothing(words),
        _ => Error::Refused(words),
    }
}
