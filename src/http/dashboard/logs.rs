//! Where lines come from that the page shows.

use futures::{StreamExt as _, stream, stream::BoxStream};

use crate::{
    agent,
    model::{Instance, LogBatch, LogPosition, LogQuery, Name},
};

/// Lines, and the place behind them; or why there are no more.
pub type Piece = Result<(LogBatch, Option<LogPosition>), String>;

/// Reads what instances print.
pub trait Logs: Send + Sync {
    /// The wanted lines of the instance on that node. Ends after an error.
    fn read(&self, node: Name, instance: Instance, query: LogQuery) -> BoxStream<'static, Piece>;
}

/// Those of the agent's own node.
impl Logs for agent::logs::Logs {
    fn read(&self, _: Name, instance: Instance, query: LogQuery) -> BoxStream<'static, Piece> {
        let logs = self.clone();
        let opening = async move { logs.read(&instance, query).await };
        let read = async |mut reader: agent::logs::Reader| {
            let batch = reader.next().await;
            let position = Some(reader.position());
            match batch {
                Ok(Some(batch)) => Some((Ok((batch, position)), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error.to_string()), None)),
            }
        };
        let lines = stream::once(opening).flat_map(move |opened| match opened {
            Ok(reader) => stream::unfold(
                Some(reader),
                move |reader| async move { read(reader?).await },
            )
            .boxed(),
            Err(error) => stream::iter([Err(error.to_string())]).boxed(),
        });
        lines.boxed()
    }
}
