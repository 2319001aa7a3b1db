//! Which lines are wanted. Lines of Quaestor stand between those of the process and are not counted.

use crate::{
    model::{LogLine, LogQuery, LogSource, Timestamp},
    process::shim::wire::log::{Line, Source},
};

/// What the shim writes when a process has started.
const STARTED: &[u8] = b"started: ";

/// The lines of a text. What is no line was torn when a shim was killed.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(Line::read)
}

/// When the last line of a text was read, in milliseconds since 1970.
pub(super) fn last_time(text: &[u8]) -> Option<i64> {
    let mut backwards = text.rsplit(|byte| *byte == b'\n');
    backwards.find_map(Line::read).map(|line| millis(&line))
}

/// The line as others read it.
pub(super) fn owned(line: &Line<'_>) -> LogLine {
    LogLine {
        at: Timestamp::from_millis(millis(line)),
        source: match line.source {
            Source::Out => LogSource::Out,
            Source::Err => LogSource::Err,
            Source::Shim => LogSource::Quaestor,
        },
        continues: line.continues,
        text: line.text.to_vec(),
    }
}

fn millis(line: &Line<'_>) -> i64 {
    i64::try_from(line.at).unwrap_or(i64::MAX)
}

fn is_start(line: &Line<'_>) -> bool {
    line.source == Source::Shim && line.text.starts_with(STARTED)
}

fn is_new_enough(line: &Line<'_>, since: Option<i64>) -> bool {
    since.is_none_or(|since| millis(line) >= since)
}

/// How many lines there are, by process.
pub(super) struct Survey {
    since: Option<i64>,
    /// Starts so far.
    starts: u64,
    /// Whether something stands before the first start.
    begins_within: bool,
    /// Lines of the process of the last start, of the one before it, and of all.
    present: u64,
    previous: u64,
    all: u64,
}

impl Survey {
    /// Of lines since `since`, in milliseconds since 1970.
    pub(super) fn new(since: Option<i64>) -> Self {
        Self {
            since,
            starts: 0,
            begins_within: false,
            present: 0,
            previous: 0,
            all: 0,
        }
    }

    /// Counts a line. To be called for all, in their order.
    pub(super) fn count(&mut self, line: &Line<'_>) {
        if is_start(line) {
            self.starts += 1;
            self.previous = std::mem::take(&mut self.present);
            return;
        }
        self.begins_within |= self.starts == 0;
        if line.source != Source::Shim && is_new_enough(line, self.since) {
            self.present += 1;
            self.all += 1;
        }
    }

    /// The choice that `query` means, for the same lines again; none when there is no previous process.
    pub(super) fn choose(&self, since: Option<i64>, query: LogQuery) -> Option<Choice> {
        let (only, available) = if query.previous {
            let previous = self.starts.checked_sub(1)?;
            if previous == 0 && !self.begins_within {
                return None;
            }
            (Some(previous), self.previous)
        } else {
            (None, self.all)
        };
        Some(Choice {
            since,
            only,
            starts: 0,
            skip: query.tail.map_or(0, |tail| available.saturating_sub(tail)),
        })
    }
}

/// Judges lines as they go by.
pub(super) struct Choice {
    since: Option<i64>,
    /// Only those with so many starts before them.
    only: Option<u64>,
    /// Starts so far.
    starts: u64,
    /// How many lines are still to be left out.
    skip: u64,
}

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wanted,
    Unwanted,
    /// Neither this nor any behind it.
    Past,
}

impl Choice {
    /// All lines since then, in milliseconds since 1970.
    pub(super) fn since(since: Option<i64>) -> Self {
        Self {
            since,
            only: None,
            starts: 0,
            skip: 0,
        }
    }

    /// Whether it goes wrong when lines are missing.
    pub(super) fn counts(&self) -> bool {
        self.skip > 0 || self.only.is_some()
    }

    /// To be called for all lines, in their order.
    pub(super) fn judge(&mut self, line: &Line<'_>) -> Verdict {
        self.starts += u64::from(is_start(line));
        match self.only {
            Some(only) if self.starts < only => return Verdict::Unwanted,
            Some(only) if self.starts > only => return Verdict::Past,
            _ => {}
        }
        if !is_new_enough(line, self.since) {
            return Verdict::Unwanted;
        }
        if self.skip > 0 {
            self.skip -= u64::from(line.source != Source::Shim);
            return Verdict::Unwanted;
        }
        Verdict::Wanted
    }
}
