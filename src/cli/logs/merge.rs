//! The lines of several logs as one sequence, by their times.
//!
//! As long as a log may still have older lines than others, those wait for it. Once a follower has caught
//! up, its next line may come in an hour: nothing waits for it any more.

use std::collections::{BTreeMap, VecDeque};

use crate::model::LogLine;

/// Several logs on their way to become one, each known by a number.
#[derive(Default)]
pub(super) struct Merge {
    logs: BTreeMap<usize, Log>,
}

struct Log {
    lines: VecDeque<LogLine>,
    /// Whether others have to wait for lines of this one.
    is_awaited: bool,
}

impl Merge {
    /// One more log, which the others wait for if it `is_awaited`.
    pub(super) fn add(&mut self, log: usize, is_awaited: bool) {
        let lines = VecDeque::new();
        self.logs.insert(log, Log { lines, is_awaited });
    }

    /// More lines of a log.
    pub(super) fn push(&mut self, log: usize, lines: Vec<LogLine>) {
        if let Some(log) = self.logs.get_mut(&log) {
            log.lines.extend(lines);
        }
    }

    /// Nothing waits for a log any more: what comes of it from now on is new.
    pub(super) fn release(&mut self, log: usize) {
        if let Some(log) = self.logs.get_mut(&log) {
            log.is_awaited = false;
        }
    }

    /// A log has ended, and all its lines are taken.
    pub(super) fn remove(&mut self, log: usize) {
        self.logs.remove(&log);
    }

    /// Whether all lines of a log are taken.
    pub(super) fn wants(&self, log: usize) -> bool {
        self.logs.get(&log).is_none_or(|log| log.lines.is_empty())
    }

    /// The next line, and of which log; none before it is known which.
    pub(super) fn pop(&mut self) -> Option<(usize, LogLine)> {
        let is_open = |log: &Log| log.is_awaited && log.lines.is_empty();
        if self.logs.values().any(is_open) {
            return None;
        }
        let heads = self.logs.iter();
        let heads = heads.filter_map(|(log, it)| Some((it.lines.front()?.at, *log)));
        let (_, first) = heads.min()?;
        let line = self.logs.get_mut(&first)?.lines.pop_front()?;
        Some((first, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogSource, Timestamp};

    fn lines(times: &[i64]) -> Vec<LogLine> {
        let line = |at: &i64| LogLine {
            at: Timestamp::from_millis(*at),
            source: LogSource::Out,
            continues: false,
            text: Vec::new(),
        };
        times.iter().map(line).collect()
    }

    fn merge(logs: usize) -> Merge {
        let mut merge = Merge::default();
        (0..logs).for_each(|log| merge.add(log, true));
        merge
    }

    /// The lines that are known to be next.
    fn popped(merge: &mut Merge) -> Vec<(usize, i64)> {
        let next = || merge.pop().map(|(log, line)| (log, line.at.as_millis()));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn lines_come_by_their_times_and_wait_for_older_ones() {
        let mut merge = merge(2);
        merge.push(0, lines(&[1, 4, 9]));
        assert_eq!(popped(&mut merge), [], "the other may have older ones");
        merge.push(1, lines(&[2, 4]));
        assert_eq!(popped(&mut merge), [(0, 1), (1, 2), (0, 4), (1, 4)]);
        merge.release(1);
        assert_eq!(popped(&mut merge), [(0, 9)]);
    }

    #[test]
    fn within_a_log_the_order_stands_whatever_the_clock_did() {
        let mut merge = merge(1);
        merge.push(0, lines(&[5, 3, 4]));
        assert_eq!(popped(&mut merge), [(0, 5), (0, 3), (0, 4)]);
    }

    #[test]
    fn nothing_waits_for_a_log_that_has_caught_up() {
        let mut merge = merge(2);
        merge.push(0, lines(&[1]));
        merge.release(1);
        assert_eq!(popped(&mut merge), [(0, 1)]);
        merge.release(0);
        merge.push(1, lines(&[7]));
        assert_eq!(popped(&mut merge), [(1, 7)]);
    }
}
