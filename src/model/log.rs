//! What instances print.

use std::time::Duration;

use super::Timestamp;

/// Which lines of an instance are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only lines that are at most this old, by the clock of their node.
    pub max_age: Option<Duration>,
    /// Only so many of those that are there, the last ones.
    pub tail: Option<u64>,
    /// Whether new ones are wanted as they come, without end.
    pub follow: bool,
    /// Only lines of the process before the last start.
    pub previous: bool,
    /// All lines behind this position, whatever else is said of their age and number.
    pub after: Option<LogPosition>,
}

/// A place behind a line in the logs of an instance on its node; the default is before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The number that the file has, or gets when it is full.
    pub file: u64,
    /// Where the line ends in it, in bytes.
    pub offset: u64,
    /// When the line was read from the process, in milliseconds since 1970: what tells the file from another
    /// one that got its number.
    pub at: i64,
}

/// A line, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the process.
    pub at: Timestamp,
    /// Who wrote it.
    pub source: LogSource,
    /// Whether it continues the line before it of the same source.
    pub continues: bool,
    /// As it was printed, any bytes, without its end.
    pub text: Vec<u8>,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// The process, to its standard output.
    Out,
    /// The process, to its standard error.
    Err,
    /// Quaestor: starts, ends, lines that are missing.
    Quaestor,
}

/// What a reader of logs gets at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogBatch {
    /// Lines, the oldest first.
    Lines(Vec<LogLine>),
    /// A follower has got all that was there: what comes now is new.
    CaughtUp,
}
