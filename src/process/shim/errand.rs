//! Running a short program beside a process, by the shim of that.

use std::{io, path::Path, sync::Arc, time::Duration};

use futures::future::{Either, select};

use super::{
    PATIENCE,
    link::Link,
    wire::{
        errand,
        message::{Command, Message, Refusal},
        record,
    },
};
use crate::{
    host::{Clock, Disk},
    process::{Errand, ErrandKind, Outcome},
};

/// One that is being killed, of an agent before this one, is gone after a turn or two.
const TURN: Duration = Duration::from_millis(10);

/// Runs `errand` by the shim of `directory`, over a connection of its own: whatever ends that ends the errand.
pub(super) async fn run(
    directory: &Path,
    errand: Errand,
    clock: &Arc<dyn Clock>,
    disk: &dyn Disk,
) -> Result<Outcome, String> {
    let running = std::pin::pin!(converse(directory, &errand, clock, disk));
    match select(running, clock.sleep(errand.timeout + PATIENCE)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err("its shim does not say how it ended".to_owned()),
    }
}

async fn converse(
    directory: &Path,
    errand: &Errand,
    clock: &Arc<dyn Clock>,
    disk: &dyn Disk,
) -> Result<Outcome, String> {
    let failed = |error: io::Error| format!("its shim cannot be asked: {error}");
    let kind = match errand.kind {
        ErrandKind::Check => errand::Kind::Check,
        ErrandKind::PreStop => errand::Kind::PreStop,
    };
    let record = errand::Errand {
        arguments: errand.arguments.iter().map(Into::into).collect(),
    };
    let path = directory.join(kind.name());
    let written = disk.write(&path, record.seal().as_bytes(), false);
    written.map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    let mut link = Link::connect(directory, clock).await.map_err(failed)?;
    loop {
        match link
            .ask(Command::Run(kind, errand.timeout))
            .await
            .map_err(failed)?
        {
            Message::Ok => break,
            Message::Error {
                refusal: Refusal::Busy,
                ..
            } => clock.sleep(TURN).await,
            Message::Error {
                refusal: Refusal::Unknown,
                ..
            } => return Err("its shim is of an older version: restart the instance".to_owned()),
            Message::Error { text, .. } => return Err(text),
            other => return Err(format!("its shim said `{other}`")),
        }
    }
    loop {
        if let Message::Ran(outcome) = link.event().await.map_err(failed)? {
            return Ok(told(outcome));
        }
    }
}

fn told(outcome: errand::Outcome) -> Outcome {
    let (code, signal) = match outcome.end {
        Some(record::End::Code(code)) => (Some(code), None),
        Some(record::End::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    Outcome {
        code,
        signal,
        text: outcome.text,
    }
}
