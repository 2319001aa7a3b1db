//! `quaestor get --watch`: on a terminal the table is drawn anew in its place whenever something changes; elsewhere
//! what changed is appended.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use tokio::select;

use super::{
    super::{
        args::{GetArgs, GetFormat},
        output::{failure, say, terminal_size},
    },
    Listed, listed,
};
use crate::{host::Host, model::Timestamp, operator::Operator};

/// A terminal is drawn no more often, and at least so often, as ages grow.
const DRAWN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// Fields that change all the time and that tables do not show: alone they are no change.
const RESTLESS: [&str; 2] = ["load", "usage"];

pub(super) async fn run(
    operator: &Operator,
    host: &Host,
    args: &GetArgs,
) -> anyhow::Result<ExitCode> {
    let is_terminal = io::stdout().is_terminal();
    let mut changes = operator.changes();
    let mut shown = Shown::default();
    let ended = tokio::signal::ctrl_c();
    tokio::pin!(ended);
    let mut is_first = true;
    loop {
        let next = async {
            match is_terminal {
                // Ages grow while nothing changes.
                true => select! {
                    () = changes.next() => {}
                    () = host.clock.sleep(DRAWN.1) => {}
                },
                false => changes.next().await,
            }
            host.clock.sleep(DRAWN.0).await;
        };
        if !is_first {
            select! {
                () = next => {}
                _ = &mut ended => return Ok(ExitCode::SUCCESS),
            }
        }
        let inventory = match operator.inventory().await {
            Ok(inventory) => inventory,
            Err(error) if is_first => return Err(error.into()),
            // The follower waits the outage out; so does who watches.
            Err(_) => continue,
        };
        let (listed, missing) = listed(&inventory, args)?;
        if is_first && !missing.is_empty() {
            return Err(failure(&missing));
        }
        is_first = false;
        let now = host.clock.timestamp();
        match is_terminal && matches!(args.output, GetFormat::Table | GetFormat::Wide) {
            true => shown.redraw(&listed, args.output, now)?,
            false => shown.append(&listed, args.output, now)?,
        }
    }
}

/// What was shown last.
#[derive(Default)]
struct Shown {
    /// Lines on the terminal.
    lines: usize,
    /// What was there, without what changes all the time.
    before: BTreeSet<String>,
    /// Whether the headers were shown.
    began: bool,
}

impl Shown {
    fn redraw(&mut self, listed: &Listed, format: GetFormat, now: Timestamp) -> anyhow::Result<()> {
        let text = listed.shown(format, now)?;
        let text = fitted(text.trim_end(), terminal_size());
        let back = match self.lines {
            0 => String::new(),
            // Up to where it began, and from there nothing is left.
            lines => format!("\u{1b}[{lines}A\u{1b}[J"),
        };
        self.lines = text.lines().count();
        say(format_args!("{back}{text}"))
    }

    /// Prints those that are new or have changed, and the names of those that are gone.
    fn append(&mut self, listed: &Listed, format: GetFormat, now: Timestamp) -> anyhow::Result<()> {
        let values = listed.values()?;
        let keys: Vec<String> = values.iter().map(essence).collect();
        let names = listed.names();
        let text = listed.shown(format, now)?;
        let mut rows = text.lines();
        let is_table = matches!(format, GetFormat::Table | GetFormat::Wide);
        if is_table && !values.is_empty() {
            let headers = rows.next().unwrap_or_default();
            if !self.began {
                say(headers)?;
            }
            self.began = true;
        }
        for ((key, name), value) in keys.iter().zip(&names).zip(&values) {
            let row = rows.next().unwrap_or_default();
            if self.before.contains(&format!("{name} {key}")) {
                continue;
            }
            match format {
                GetFormat::Table | GetFormat::Wide => say(row)?,
                GetFormat::Name => say(name)?,
                GetFormat::Json => say(value)?,
                GetFormat::Yaml => {
                    let text = serde_yaml::to_string(value).context("cannot print as YAML")?;
                    say(format_args!("---\n{}", text.trim_end()))?;
                }
            }
        }
        let now_there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let gone = self
            .before
            .iter()
            .filter_map(|before| before.split_once(' '));
        let gone: BTreeSet<&str> = gone
            .map(|(name, _)| name)
            .filter(|name| !now_there.contains(name))
            .collect();
        for name in gone {
            match format {
                GetFormat::Json => say(serde_json::json!({"gone": name}))?,
                _ => say(format_args!("{name} is gone"))?,
            }
        }
        let all = names.iter().zip(&keys);
        self.before = all.map(|(name, key)| format!("{name} {key}")).collect();
        Ok(())
    }
}

/// What of `text` a terminal of so many columns and lines shows: a line that goes on in the next one, or one that has
/// left at the top, could not be drawn over.
fn fitted(text: &str, size: Option<(usize, usize)>) -> String {
    let Some((columns, lines)) = size else {
        return text.to_owned();
    };
    let all: Vec<&str> = text.lines().collect();
    // The last line is the cursor's.
    let room = lines.saturating_sub(1).max(2);
    let shown = if all.len() > room {
        room - 1
    } else {
        all.len()
    };
    let mut kept: Vec<String> = (all.iter().take(shown))
        .map(|line| line.chars().take(columns).collect())
        .collect();
    if shown < all.len() {
        let rest = format!("and {} more: a larger window shows them", all.len() - shown);
        kept.push(rest.chars().take(columns).collect());
    }
    kept.join("\n")
}

/// A thing without what changes all the time.
fn essence(value: &Value) -> String {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        for field in RESTLESS {
            object.remove(field);
        }
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_again_never_leaves_the_window() {
        let text = "NAME  NODE\nworker-0  a\nworker-1  b\nworker-2  c";
        assert_eq!(fitted(text, None), text);
        assert_eq!(fitted(text, Some((80, 24))), text);
        assert_eq!(fitted(text, Some((8, 4))), "NAME  NO\nworker-0\nand 2 mo");
    }
}
