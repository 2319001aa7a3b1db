//! One output of a process: a pipe that the loop reads when there is something in it.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with},
};

use super::{lines::Lines, queue::Queue};
use crate::wire::log::Source;

/// How much a pipe holds, in bytes, where the system lets us: what a busy worker writes while the shim
/// waits for a processor.
const PIPE: usize = 256 * 1024;
/// How much is read at once, in bytes. Room of this size is the system's until it is
/// touched, so that quiet workers cost one page of it.
const CHUNK: usize = 128 * 1024;

/// What a process writes to.
pub(crate) type End = OwnedFd;

/// Where all output goes, and what it is read into.
pub(crate) struct Sink {
    pub(crate) queue: Queue,
    chunk: Box<[u8]>,
}

impl Sink {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Queue::new()?,
            chunk: vec![0; CHUNK].into_boxed_slice(),
        })
    }

    /// A new pipe: what is read from, and what the process writes to.
    pub(super) fn stream(&self, source: Source) -> io::Result<(Stream, End)> {
        let (pipe, end) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our side: the worker's writes wait, as it expects.
        fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        // Beyond a user's share the system refuses; a smaller pipe works as well.
        let _ = fcntl_setpipe_size(&pipe, PIPE);
        let stream = Stream {
            source,
            pipe: Some(pipe),
            lines: Lines::default(),
        };
        Ok((stream, end))
    }
}

/// One output of a process.
pub(crate) struct Stream {
    source: Source,
    /// None after its end.
    pipe: Option<OwnedFd>,
    lines: Lines,
}

impl Stream {
    /// What to wait for.
    pub(crate) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Whether the last line has not ended yet.
    pub(crate) fn has_partial_line(&self) -> bool {
        self.lines.has_partial()
    }

    /// Reads once. How much there was, in bytes.
    pub(crate) fn read(&mut self, sink: &mut Sink) -> usize {
        let Some(pipe) = &self.pipe else {
            return 0;
        };
        match rustix::io::read(pipe, &mut *sink.chunk) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                sink.queue
                    .add(self.source, &mut self.lines, &sink.chunk[..length]);
                return length;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pipe = None,
        }
        0
    }

    /// Passes the partial line on. Its rest will be marked as such.
    pub(crate) fn flush(&mut self, queue: &Queue) {
        queue.add_partial(self.source, &mut self.lines);
    }

    /// Reads what is left after the end of the process, and closes. Somebody else may hold the other
    /// side and write for ever, so no more is read than a pipe holds.
    pub(crate) fn finish(mut self, sink: &mut Sink) {
        let holds = self
            .pipe
            .as_ref()
            .and_then(|pipe| fcntl_getpipe_size(pipe).ok());
        let mut left = holds.unwrap_or(PIPE);
        while left > 0 {
            match self.read(sink) {
                0 => break,
                length => left = left.saturating_sub(length),
            }
        }
        self.flush(&sink.queue);
    }
}
