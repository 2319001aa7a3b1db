//! `quaestor.v1.AgentLogs`: what the instances of a node printed.

use std::{fmt::Display, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::access;
use crate::{
    agent::logs::{LogError, Logs, Reader},
    model::{Instance, LogBatch, LogLine, LogPosition, LogQuery, LogSource, Name},
    plan::access::Deed,
    proto::v1 as wire,
    proto::v1::agent_logs_server::{AgentLogs, AgentLogsServer},
};

/// The largest question that is read, in bytes: two names and a few numbers, with room to spare.
const LARGEST_REQUEST: usize = 16 * 1024;

/// The service for the `logs` of `node`, until `stop`.
pub(super) fn service(
    node: Name,
    logs: Logs,
    stop: CancellationToken,
) -> AgentLogsServer<impl AgentLogs> {
    let service = Service { node, logs, stop };
    AgentLogsServer::new(service).max_decoding_message_size(LARGEST_REQUEST)
}

struct Service {
    node: Name,
    logs: Logs,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl AgentLogs for Service {
    type ReadStream = BoxStream<'static, Result<wire::ReadLogsResponse, Status>>;

    async fn read(
        &self,
        request: Request<wire::ReadLogsRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        access::check(&request, Deed::ReadLogs)?;
        let request = request.into_inner();
        if request.node != self.node.as_str() {
            return Err(Status::failed_precondition(format!(
                "this is the agent of node {}, not of {}",
                self.node, request.node
            )));
        }
        let instance: Instance = (request.instance.parse())
            .map_err(|error: <Instance as std::str::FromStr>::Err| invalid(&error))?;
        let query = LogQuery {
            max_age: request.max_age_millis.map(Duration::from_millis),
            tail: request.tail,
            follow: request.follow,
            previous: request.previous,
            after: request.after.map(|after| LogPosition {
                file: after.file,
                offset: after.offset,
                at: after.at_millis,
            }),
        };
        let reader = self.logs.read(&instance, query).await;
        let reader = reader.map_err(|error| refusal(&error))?;
        let batches = batches(reader, self.stop.clone());
        // The library asks for the next batch when the client has room for it.
        Ok(Response::new(batches.boxed()))
    }
}

/// What `reader` reads, until `stop`.
fn batches(
    reader: Reader,
    stop: CancellationToken,
) -> impl futures::Stream<Item = Result<wire::ReadLogsResponse, Status>> + Send {
    stream::unfold(Some((reader, stop)), async |state| {
        let (mut reader, stop) = state?;
        match stop.run_until_cancelled(reader.next()).await {
            Some(Ok(batch)) => {
                let answer = to_wire(batch?, reader.position());
                Some((Ok(answer), Some((reader, stop))))
            }
            Some(Err(error)) => Some((Err(refusal(&error)), None)),
            None => Some((Err(Status::unavailable("the agent is ending")), None)),
        }
    })
}

fn to_wire(batch: LogBatch, position: LogPosition) -> wire::ReadLogsResponse {
    let line = |line: LogLine| wire::LogLine {
        at_millis: line.at.as_millis(),
        source: match line.source {
            LogSource::Out => wire::LogSource::Out,
            LogSource::Err => wire::LogSource::Err,
            LogSource::Quaestor => wire::LogSource::Quaestor,
        }
        .into(),
        continues: line.continues,
        text: line.text,
    };
    let (lines, caught_up) = match batch {
        LogBatch::CaughtUp => (Vec::new(), true),
        LogBatch::Lines(lines) => (lines.into_iter().map(line).collect(), false),
    };
    wire::ReadLogsResponse {
        lines,
        caught_up,
        position: Some(wire::LogPosition {
            file: position.file,
            offset: position.offset,
            at_millis: position.at,
        }),
    }
}

fn invalid(error: &impl Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn refusal(error: &LogError) -> Status {
    let text = error.to_string();
    match error {
        LogError::Unknown(_) | LogError::NoPrevious(_) => Status::not_found(text),
        LogError::TooFast(_) => Status::aborted(text),
        LogError::Disk { .. } => Status::internal(text),
    }
}
