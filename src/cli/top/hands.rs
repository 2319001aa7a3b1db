//! What is done for the screen: restarts, drains, questions why, logs that are followed.

use std::time::Duration;

use futures::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};

use super::{
    super::{logs::printable, site::Agents},
    state::{News, Printed, Wish},
};
use crate::{
    host::Host,
    http::dashboard::logs::{Logs as _, Piece},
    model::{
        Instance, LogBatch, LogLine, LogPosition, LogQuery, LogSource, Name, Timestamp,
        event::Object,
    },
    operator::{Error, Operator},
    plan::why,
};

/// A log that broke off is asked for again after this long.
const AGAIN: Duration = Duration::from_secs(1);

/// Lines of a log that are there already, and shown first.
const TAIL: u64 = 200;

/// Does what is wished for, where that is done once.
pub(super) fn carry_out(
    operator: &Operator,
    wish: Wish,
    now: Timestamp,
) -> Option<BoxFuture<'static, News>> {
    let operator = operator.clone();
    Some(match wish {
        Wish::Restart(target) => {
            async move { News::Done(restart(&operator, &target).await.map_err(told)) }.boxed()
        }
        Wish::Drain(node) => change(operator, node, true),
        Wish::Uncordon(node) => change(operator, node, false),
        Wish::Why(object) => async move {
            let answer = answer(&operator, &object, now).await.map_err(told);
            News::Why(object, answer)
        }
        .boxed(),
        Wish::Quit | Wish::Follow(..) | Wish::Unfollow => return None,
    })
}

fn told(error: Error) -> String {
    error.to_string()
}

async fn restart(operator: &Operator, target: &str) -> Result<String, Error> {
    let asked = operator.restart(target).await?;
    Ok(format!(
        "{target} restarts (generation {})",
        asked.generation
    ))
}

fn change(operator: Operator, node: Name, drains: bool) -> BoxFuture<'static, News> {
    let changing = async move {
        let changed = operator.change_node(&node, |spec| {
            spec.draining = drains;
            spec.cordoned &= drains;
        });
        let word = match (changed.await.map_err(told)?, drains) {
            (true, true) => "drains",
            (true, false) => "takes instances again",
            (false, true) => "drains already",
            (false, false) => "takes instances",
        };
        Ok(format!("node {node} {word}"))
    };
    changing.map(News::Done).boxed()
}

async fn answer(
    operator: &Operator,
    object: &Object,
    now: Timestamp,
) -> Result<Option<why::Cause>, Error> {
    let observed = operator.observe().await?;
    Ok(why::why(&observed.seen(now), object))
}

/// Whether the store answers, or why it does not.
pub(super) fn probe(operator: &Operator) -> BoxFuture<'static, News> {
    let operator = operator.clone();
    async move { News::Store(operator.is_led().await.map(drop).map_err(told)) }.boxed()
}

/// What an instance prints, for as long as it is read: it is asked for again when it breaks off, and goes on where it
/// was.
pub(super) fn follow(
    agents: Agents,
    host: Host,
    node: Name,
    instance: Instance,
) -> BoxStream<'static, News> {
    let reading = Reading {
        agents,
        host,
        node,
        instance,
        position: None,
        lines: None,
        complaint: None,
    };
    stream::unfold(reading, async |mut reading| {
        let lines = reading.next().await;
        Some((News::Printed(lines), reading))
    })
    .boxed()
}

/// A line as it is shown; those of ours are told apart as `quaestor logs` does.
fn printed(line: &LogLine) -> Printed {
    let is_ours = line.source == LogSource::Quaestor;
    let mark = if is_ours { "[quaestor] " } else { "" };
    Printed {
        text: format!("{mark}{}", printable(&line.text).replace('\t', "    ")),
        is_ours,
    }
}

struct Reading {
    agents: Agents,
    host: Host,
    node: Name,
    instance: Instance,
    /// Behind what was read, as far as the agent tells.
    position: Option<LogPosition>,
    lines: Option<BoxStream<'static, Piece>>,
    /// What was said last about a log that cannot be read.
    complaint: Option<String>,
}

impl Reading {
    async fn next(&mut self) -> Vec<Printed> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                none => {
                    let query = LogQuery {
                        tail: self.position.is_none().then_some(TAIL),
                        follow: true,
                        after: self.position,
                        ..LogQuery::default()
                    };
                    let (node, instance) = (self.node.clone(), self.instance.clone());
                    none.insert(self.agents.read(node, instance, query))
                }
            };
            let piece = lines.next().await;
            match piece {
                Some(Ok((LogBatch::Lines(batch), position))) => {
                    self.position = position.or(self.position);
                    self.complaint = None;
                    return batch.iter().map(printed).collect();
                }
                Some(Ok((LogBatch::CaughtUp, _))) => continue,
                Some(Err(why)) => {
                    if let Some(complaint) = self.pause(why).await {
                        return complaint;
                    }
                }
                None => {
                    let why = "the log ended".to_owned();
                    if let Some(complaint) = self.pause(why).await {
                        return complaint;
                    }
                }
            }
        }
    }

    /// Says why it cannot be read, once, else waits before the next attempt.
    async fn pause(&mut self, why: String) -> Option<Vec<Printed>> {
        self.lines = None;
        if self.complaint.as_ref() != Some(&why) {
            let text = format!("[quaestor] {why}; asked again until that works");
            self.complaint = Some(why);
            return Some(vec![Printed {
                text: printable(text.as_bytes()),
                is_ours: true,
            }]);
        }
        self.host.clock.sleep(AGAIN).await;
        None
    }
}
