//! What is told while something is waited for: whatever changes, as a line; and on a terminal, below them, for how long
//! it has been waited, drawn anew each second.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use super::output::{note, terminal_size};
use crate::{
    host::{Clock, Host},
    model::{Moment, quantity::Period},
};

/// How often the last line is drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// Tells of one wait. Its last line goes away with it.
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    began: Moment,
    patience: Duration,
    is_terminal: bool,
    /// What is waited for still.
    rest: String,
    is_drawn: bool,
}

impl Progress {
    /// A wait that begins now and lasts for `patience` at most.
    pub(super) fn new(host: &Host, patience: Duration) -> Self {
        Self {
            clock: Arc::clone(&host.clock),
            began: host.clock.now(),
            patience,
            is_terminal: io::stderr().is_terminal(),
            rest: String::new(),
            is_drawn: false,
        }
    }

    /// Says what has changed.
    pub(super) fn say(&mut self, line: impl Display) {
        self.clear();
        note(line);
    }

    /// What is waited for from now on.
    pub(super) fn wait_for(&mut self, rest: String) {
        self.rest = rest;
        self.draw();
    }

    /// Draws the last line anew for good. Cancel-safe.
    pub(super) async fn tick(&mut self) {
        loop {
            if !self.is_terminal {
                return std::future::pending().await;
            }
            self.clock.sleep(TICK).await;
            self.draw();
        }
    }

    fn draw(&mut self) {
        if !self.is_terminal {
            return;
        }
        let waited = self.clock.now().since(self.began).as_secs();
        let line = line(&self.rest, waited, self.patience);
        let columns = terminal_size().map_or(80, |(columns, _)| columns);
        let line: String = line.chars().take(columns.saturating_sub(1)).collect();
        let mut terminal = io::stderr().lock();
        // Nothing depends on whether somebody reads it.
        let _ = write!(terminal, "\r\u{1b}[K{line}").and_then(|()| terminal.flush());
        self.is_drawn = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let mut terminal = io::stderr().lock();
            let _ = write!(terminal, "\r\u{1b}[K").and_then(|()| terminal.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Names, as many as tell enough.
pub(super) fn names(names: impl Iterator<Item = impl Display>) -> String {
    const MOST: usize = 3;
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    match names.len().saturating_sub(MOST) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}

fn line(rest: &str, waited: u64, patience: Duration) -> String {
    let waited = Period::from_secs(waited);
    format!(
        "waiting for {rest}: {waited} of at most {}",
        Period(patience)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_told_and_more_are_counted() {
        assert_eq!(names(["a", "b"].iter()), "a, b");
        assert_eq!(
            names(["a", "b", "c", "d", "e"].iter()),
            "a, b, c and 2 more"
        );
    }

    #[test]
    fn the_line_says_what_is_waited_for_and_how_long() {
        let line = line("worker", 75, Duration::from_secs(300));
        assert_eq!(line, "waiting for worker: 1m15s of at most 5m");
    }
}
