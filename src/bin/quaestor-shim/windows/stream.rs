//! One output of a process: read by a thread of its own, as nothing else waits for such a pipe.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use super::{lines::Lines, queue::Queue};
use crate::{clock, connection::thread, shim::Event, wire::log::Source};

/// How much is read at once, in bytes.
const CHUNK: usize = 32 * 1024;
/// Somebody else may hold the other side of a pipe and write for ever: so long its end is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// A line that has not ended for so long is written as far as it goes.
const UNENDED: Duration = Duration::from_millis(500);

/// What a process writes to.
pub(crate) type End = PipeWriter;

/// Where all output goes, and who is told of it.
pub(crate) struct Sink {
    pub(crate) queue: Queue,
    pub(crate) events: Sender<Event>,
}

impl Sink {
    pub(crate) fn new(events: Sender<Event>) -> io::Result<Self> {
        let queue = Queue::new()?;
        Ok(Self { queue, events })
    }
}

/// One output of a process.
pub(crate) struct Stream {
    source: Source,
    lines: Arc<Mutex<Unended>>,
    /// At its end once the pipe is.
    end: Receiver<()>,
}

/// What was read.
#[derive(Default)]
struct Unended {
    lines: Lines,
    /// Since when the last line has not ended; none: it has.
    since: Option<Duration>,
}

impl Sink {
    /// A new pipe: what is read from, and what the process writes to.
    pub(super) fn stream(&self, source: Source) -> io::Result<(Stream, End)> {
        let (mut pipe, end_of_process) = io::pipe()?;
        let lines = Arc::new(Mutex::new(Unended::default()));
        let (queue, events, theirs) = (self.queue.clone(), self.events.clone(), Arc::clone(&lines));
        let (told, end) = channel();
        let reading = move || {
            read(&mut pipe, |chunk| {
                let mut unended = lock(&theirs);
                queue.add(source, &mut unended.lines, chunk);
                let before = unended.since.filter(|_| !chunk.contains(&b'\n'));
                let is_partial = unended.lines.has_partial();
                unended.since = is_partial.then(|| before.unwrap_or_else(clock::now));
                if is_partial && before.is_none() {
                    let _ = events.send(Event::Partial);
                }
            });
            drop(told);
        };
        thread("output").spawn(reading)?;
        let stream = Stream { source, lines, end };
        Ok((stream, end_of_process))
    }
}

impl Stream {
    /// When the last line is written as far as it goes; none: it has ended.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        Some(lock(&self.lines).since? + UNENDED)
    }

    /// Does that, if it is due. The rest of the line will be marked as such.
    pub(crate) fn on_time(&self, now: Duration, queue: &Queue) {
        if self.next_moment().is_some_and(|moment| moment <= now) {
            self.flush(queue);
        }
    }

    fn flush(&self, queue: &Queue) {
        let mut unended = lock(&self.lines);
        queue.add_partial(self.source, &mut unended.lines);
        unended.since = None;
    }

    /// Waits for what is left after the end of the process.
    pub(crate) fn finish(self, sink: &Sink) {
        let _ = self.end.recv_timeout(PATIENCE);
        self.flush(&sink.queue);
    }
}

fn lock(lines: &Mutex<Unended>) -> MutexGuard<'_, Unended> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a pipe to its end.
fn read(pipe: &mut PipeReader, mut take: impl FnMut(&[u8])) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => take(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What somebody prints, of which only the last is of interest.
pub(crate) struct Tail {
    text: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Tail {
    /// A new pipe, of which the last `most` bytes are kept.
    pub(crate) fn new(most: usize) -> io::Result<(Self, PipeWriter)> {
        let (mut pipe, end_of_process) = io::pipe()?;
        let text = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&text);
        let (told, end) = channel();
        let reading = move || {
            read(&mut pipe, |chunk| {
                let mut text = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                text.extend_from_slice(chunk);
                let length = text.len();
                text.drain(..length.saturating_sub(most));
            });
            drop(told);
        };
        thread("check").spawn(reading)?;
        Ok((Self { text, end }, end_of_process))
    }

    /// Waits for what is left after the end of the process.
    pub(crate) fn finish(self) -> Vec<u8> {
        let _ = self.end.recv_timeout(PATIENCE);
        std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
