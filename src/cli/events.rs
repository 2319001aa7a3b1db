//! `quaestor get events`, and the timeline of `describe`.

use std::process::ExitCode;

use anyhow::bail;

use super::{
    args::{GetArgs, GetFormat, OutputFormat},
    output::{age, or_dash, print, table},
};
use crate::{
    host::Host,
    model::{Timestamp, event::Event},
    operator::Operator,
};

/// So many events `describe` shows: the last ones.
const SHOWN: usize = 12;

const NONE: &str = "Nothing happened within the last hour.";

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: GetArgs,
) -> anyhow::Result<ExitCode> {
    let wanted: Vec<String> = args.names.into_iter().chain(args.object).collect();
    if let Some(kind) = wanted
        .iter()
        .filter_map(|text| text.split_once('/'))
        .find(|(kind, _)| !["service", "instance", "node"].contains(kind))
    {
        bail!(
            "`{}` is no kind of object: write service/NAME, instance/NAME, node/NAME or cluster",
            kind.0
        );
    }
    let mut events = operator.events().await?;
    events.retain(|event| wanted.is_empty() || wanted.iter().any(|object| event.concerns(object)));
    let now = host.clock.timestamp();
    let format = match args.output {
        GetFormat::Table | GetFormat::Wide => OutputFormat::Table,
        GetFormat::Json => OutputFormat::Json,
        GetFormat::Yaml => OutputFormat::Yaml,
        GetFormat::Name => bail!("events have no names: show them as table, wide, json or yaml"),
    };
    print(format, &events, |events| match args.output {
        _ if events.is_empty() && !wanted.is_empty() => {
            format!(
                "Nothing happened to {} within the last hour.",
                wanted.join(" or ")
            )
        }
        GetFormat::Wide => wide(events, now),
        _ => timeline(events, now),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The last of those events.
pub(super) fn recent(events: &[Event], now: Timestamp) -> String {
    let first = events.len().saturating_sub(SHOWN);
    timeline(&events[first..], now)
}

/// Events by time, those of the last moments at the end.
fn timeline(events: &[Event], now: Timestamp) -> String {
    let headers = ["LAST", "TIMES", "OBJECT", "REASON", "MESSAGE"];
    table(headers, events.iter().map(|event| row(event, now)), NONE)
}

/// The same with all that is known.
fn wide(events: &[Event], now: Timestamp) -> String {
    let headers = [
        "LAST", "TIMES", "OBJECT", "REASON", "FIRST", "NODE", "REVISION", "BY", "MESSAGE",
    ];
    let row = |event: &Event| {
        let [last, times, object, reason, message] = row(event, now);
        let node = event.note.node.as_ref().map(ToString::to_string);
        let first = format!("{} ago", age(Some(event.first_at), now));
        let revision = or_dash(event.note.revision.clone());
        let node = or_dash(node.unwrap_or_default());
        [
            last,
            times,
            object,
            reason,
            first,
            node,
            revision,
            event.by.clone(),
            message,
        ]
    };
    table(headers, events.iter().map(row), NONE)
}

fn row(event: &Event, now: Timestamp) -> [String; 5] {
    let note = &event.note;
    let mark = if note.warning { "! " } else { "" };
    [
        format!("{} ago", age(Some(event.last_at), now)),
        event.count.to_string(),
        note.object.to_string(),
        format!("{mark}{}", note.reason),
        or_dash(note.message.clone()),
    ]
}
