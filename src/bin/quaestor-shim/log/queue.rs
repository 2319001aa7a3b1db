//! Lines on their way from the loop to the thread that writes them.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::Builder,
    time::Duration,
};

use super::{
    files::Files,
    lines::{Lines, Piece},
};
use crate::{
    clock,
    wire::{
        log::{LONGEST_HEAD, Source, Time, write_head},
        program::LogLimits,
    },
};

/// How much may wait to be written, in bytes: what a busy worker (20 MB/s) writes in some 300 ms.
/// Beyond that lines are dropped. In peace it is empty and takes no room.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// How much room is kept while nothing waits, in bytes.
const KEPT: usize = 16 * 1024;
/// The stack of the thread, in bytes. It calls little.
const STACK: usize = 64 * 1024;

/// The loop's end of the queue. Adding never waits for a disk.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told when there is something to do for the thread, and when it is done.
    changed: Condvar,
}

struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// How many lines were dropped behind `waiting`.
    dropped: u64,
    limits: LogLimits,
    /// Whether the thread is writing what it took.
    writing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Starts the thread.
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                waiting: Vec::new(),
                dropped: 0,
                // Set before the first process starts.
                limits: LogLimits {
                    max_bytes: u64::MAX,
                    files: 1,
                },
                writing: false,
            }),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = Builder::new().name("log".to_owned()).stack_size(STACK);
        thread.spawn(move || write(&theirs))?;
        Ok(Self(shared))
    }

    /// From now on, keeps that much.
    pub(crate) fn limit(&self, limits: LogLimits) {
        self.0.state().limits = limits;
    }

    /// Adds the lines that end in `chunk`.
    pub(super) fn add(&self, source: Source, lines: &mut Lines, chunk: &[u8]) {
        self.with(source, |give| lines.take(chunk, give));
    }

    /// Adds the line that has not ended.
    pub(super) fn add_partial(&self, source: Source, lines: &mut Lines) {
        self.with(source, |give| lines.flush(give));
    }

    /// Adds a line of the shim.
    pub(crate) fn say(&self, text: &str) {
        let text = [text.as_bytes(), &[]];
        self.with(Source::Shim, |give| {
            give(Piece {
                continues: false,
                text,
            })
        });
    }

    fn with(&self, source: Source, fill: impl FnOnce(&mut dyn FnMut(Piece<'_>))) {
        let at = Time::new(clock::wall());
        let mut state = self.0.state();
        fill(&mut |piece| state.push(&at, source, &piece));
        if !state.waiting.is_empty() {
            self.0.changed.notify_one();
        }
    }

    /// Waits until everything is written, but not for long.
    pub(crate) fn settle(&self, patience: Duration) {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.0.state(), patience, busy);
        drop(waited);
    }
}

impl State {
    fn push(&mut self, at: &Time, source: Source, piece: &Piece<'_>) {
        let length = piece.text[0].len() + piece.text[1].len() + LONGEST_HEAD + 1;
        // Nothing is added behind a gap: the number of lines that are missing is told in their place.
        if self.dropped > 0 || self.waiting.len() + length > MOST_WAITING {
            self.dropped += 1;
            return;
        }
        write_head(at, source, piece.continues, &mut self.waiting);
        self.waiting.extend_from_slice(piece.text[0]);
        self.waiting.extend_from_slice(piece.text[1]);
        self.waiting.push(b'\n');
    }
}

/// The thread: takes all that waits and writes it.
fn write(shared: &Shared) {
    let mut files = Files::default();
    let mut taken = Vec::new();
    loop {
        let mut state = shared.state();
        state.writing = false;
        while state.waiting.is_empty() {
            shared.changed.notify_all();
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut taken, &mut state.waiting);
        let dropped = std::mem::take(&mut state.dropped);
        let limits = state.limits;
        state.writing = true;
        drop(state);

        files.write(&taken, limits);
        files.lost(dropped, limits);
        taken.clear();
        taken.shrink_to(KEPT);
    }
}
