//! One client: lines in, lines out, and never a wait for it.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use crate::wire::message::LONGEST;

/// How much may wait for a client that does not read, in bytes. It is then given up.
const MOST_WAITING: usize = 64 * 1024;

pub(crate) struct Connection {
    /// Its number: what it asked for is told to it alone.
    pub(crate) id: u64,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Whether the client said hello; before that it is told no events.
    pub(crate) greeted: bool,
    open: bool,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, id: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            id,
            stream,
            input: Vec::new(),
            output: Vec::new(),
            greeted: false,
            open: true,
        })
    }

    /// Whether it is of further use.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether something waits to be written.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Reads what has arrived, once; the whole lines of it.
    pub(crate) fn receive(&mut self) -> Vec<String> {
        let mut buffer = [0; LONGEST];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.open = false,
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(error) => self.give_up_on(&error),
        }
        let end = self.input.iter().rposition(|byte| *byte == b'\n');
        let whole = self.input.drain(..end.map_or(0, |end| end + 1));
        let lines = whole.collect::<Vec<u8>>();
        if self.input.len() >= LONGEST {
            // It is no client of ours.
            self.open = false;
        }
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        lines
            .map(|line| String::from_utf8_lossy(line).trim_ascii_end().to_owned())
            .collect()
    }

    /// Sends a line, or keeps it until the client reads.
    pub(crate) fn send(&mut self, line: &impl fmt::Display) {
        self.output
            .extend_from_slice(format!("{line}\n").as_bytes());
        self.flush();
        if self.output.len() > MOST_WAITING {
            self.open = false;
        }
    }

    /// Writes what waits, as much of it as the client has room for.
    pub(crate) fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) => return self.give_up_on(&error),
            }
        }
    }

    fn give_up_on(&mut self, error: &io::Error) {
        let again = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
        self.open &= again.contains(&error.kind());
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
