//! Clients: each is heard by a thread of its own, and answered by the loop.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::Sender,
    thread::Builder,
    time::Duration,
};

use crate::{shim::Event, wire::message::LONGEST};

/// Whoever connects has so long to say the token.
const PATIENCE: Duration = Duration::from_secs(5);
/// A client that has not read for so long while its connection is full is given up.
const FULL: Duration = Duration::from_millis(100);
/// The stack of a thread, in bytes. They call little.
const STACK: usize = 64 * 1024;

pub(crate) struct Connection {
    /// Its number: what it asked for is told to it alone.
    pub(crate) id: u64,
    stream: TcpStream,
    /// Whether the client said hello; before that it is told no events.
    pub(crate) greeted: bool,
    is_open: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, id: u64) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(FULL))?;
        Ok(Self {
            id,
            stream,
            greeted: false,
            is_open: true,
        })
    }

    /// Whether it is of further use.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Sends a line.
    pub(crate) fn send(&mut self, line: &impl fmt::Display) {
        let line = format!("{line}\n");
        self.is_open &= self.stream.write_all(line.as_bytes()).is_ok();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Its thread hears of it, too.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Lets everybody in who says `token` first, and passes on what they say.
pub(crate) fn accept(
    listener: TcpListener,
    token: String,
    events: Sender<Event>,
) -> io::Result<()> {
    let accepting = move || {
        for (id, stream) in listener.incoming().flatten().enumerate() {
            let (token, events) = (token.clone(), events.clone());
            let hearing = move || {
                let id = id as u64;
                if hear(stream, id, &token, &events).is_ok() {
                    let _ = events.send(Event::Gone(id));
                }
            };
            // Out of threads: whoever came tries again.
            let _ = thread("client").spawn(hearing);
        }
    };
    thread("clients").spawn(accepting).map(drop)
}

/// Passes on what a client says, until it says no more.
fn hear(stream: TcpStream, id: u64, token: &str, events: &Sender<Event>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut input = BufReader::with_capacity(LONGEST, stream.try_clone()?);
    if line(&mut input)?.as_deref() != Some(token) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(None)?;
    let connection = Connection::new(stream, id)?;
    let _ = events.send(Event::Client(connection));
    while let Ok(Some(line)) = line(&mut input) {
        let _ = events.send(Event::Line(id, line));
    }
    Ok(())
}

/// The next line; none at the end, and where it is longer than any of ours.
fn line(input: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    input.take(LONGEST as u64).read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\n");
    Ok(line.map(|line| String::from_utf8_lossy(line).trim_ascii_end().to_owned()))
}

/// A thread of this program.
pub(crate) fn thread(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK)
}
