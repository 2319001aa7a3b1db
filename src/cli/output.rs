//! Printing: lines, columns, JSON, YAML, ages.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::args::OutputFormat;
use crate::model::{Timestamp, manifest::closest};

/// What is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Prints a line of results. That nobody reads on, as behind `| head -1`, is no failure.
pub(super) fn say(line: impl Display) -> anyhow::Result<()> {
    match writeln!(anstream::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Columns and lines of the terminal that standard output is; none where it is none.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let (columns, lines) = crossterm::terminal::size().ok()?;
    // Some say that they have none.
    (columns > 0 && lines > 0).then(|| (columns.into(), lines.into()))
}

/// Prints a line about what goes on. Nothing depends on whether somebody reads it.
pub(super) fn note(line: impl Display) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Many lines, of results and beside them, printed in their order and in few writes.
#[derive(Default)]
pub(super) struct Lines {
    waiting: Vec<u8>,
    /// Whether those that wait are none of the results.
    is_aside: bool,
}

impl Lines {
    /// So much may wait to be printed, in bytes.
    const MOST: usize = 64 * 1024;

    /// A line of results. False: nobody reads on.
    pub(super) fn result(&mut self, line: impl Display) -> anyhow::Result<bool> {
        self.add(line, false)
    }

    /// A line for standard error. False: nobody reads on.
    pub(super) fn aside(&mut self, line: impl Display) -> anyhow::Result<bool> {
        self.add(line, true)
    }

    /// What went wrong; whether anybody reads it is no matter.
    pub(super) fn failure(&mut self, line: impl Display) {
        let _ = self.flush();
        note(format_args!("{BAD}error:{BAD:#} {line}"));
    }

    fn add(&mut self, line: impl Display, is_aside: bool) -> anyhow::Result<bool> {
        let is_full = self.waiting.len() >= Self::MOST || is_aside != self.is_aside;
        let goes_on = !is_full || self.flush()?;
        self.is_aside = is_aside;
        // Writing to memory cannot fail.
        let _ = writeln!(self.waiting, "{line}");
        Ok(goes_on)
    }

    /// Prints what waits. False: nobody reads on.
    pub(super) fn flush(&mut self) -> anyhow::Result<bool> {
        let write = |mut to: Box<dyn io::Write>| {
            to.write_all(&self.waiting)?;
            to.flush()
        };
        let written = match self.is_aside {
            true => write(Box::new(io::stderr().lock())),
            false => write(Box::new(io::stdout().lock())),
        };
        self.waiting.clear();
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).context("cannot write the lines"),
        }
    }
}

/// Prints `items` as a list for programs, or as `table` for people.
pub(super) fn print<T: Serialize>(
    format: OutputFormat,
    items: &[T],
    table: impl FnOnce(&[T]) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        OutputFormat::Table => table(items),
        OutputFormat::Json => {
            serde_json::to_string_pretty(items).context("cannot print as JSON")?
        }
        OutputFormat::Yaml => serde_yaml::to_string(items).context("cannot print as YAML")?,
    };
    say(text.trim_end())
}

/// Columns under upper-case headers, or `empty` when there are no rows.
pub(super) fn table<const N: usize>(
    headers: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    empty: &str,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headers);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| clean(&cell))));
    if table.is_empty() {
        return empty.to_owned();
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The text without control characters: what others wrote must not steer a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Failures as one error, each on a line of its own.
pub(super) fn failure(parts: &[String]) -> anyhow::Error {
    // Under the first, which stands behind `error: `.
    anyhow::Error::msg(parts.join("\n       "))
}

/// There is no `name` of this `noun` among those `known`, which `listing` shows.
pub(super) fn unknown<'a>(
    noun: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    listing: &str,
) -> String {
    let hint = match closest(name, known) {
        Some(close) => format!("did you mean {close}?"),
        None => format!("`quaestor get {listing}` lists them"),
    };
    format!("there is no {noun} {}; {hint}", clean(name))
}

/// `-` for an empty text.
pub(super) fn or_dash(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// How long ago, for people; `-` where nobody knows.
pub(super) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map_or("-".to_owned(), |since| now.age(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_keep_the_units_that_matter() {
        let age = |secs: i64| {
            age(
                Some(Timestamp::from_millis(0)),
                Timestamp::from_millis(secs * 1_000),
            )
        };
        assert_eq!(
            [age(5), age(119), age(125), age(12_345)],
            ["5s", "1m59s", "2m", "3h20m"]
        );
        assert_eq!(age(5 * 86_400 + 7_000), "5d");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn columns_line_up() {
        let text = table(
            ["A", "LONG"],
            [["x".into(), "1".into()], ["yyyy".into(), "2".into()]],
            "none",
        );
        assert_eq!(text, "A     LONG\nx     1\nyyyy  2");
        assert_eq!(table(["A"], [], "none"), "none");
    }
}
