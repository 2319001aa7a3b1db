//! A connection to a shim: commands out, answers and events in.

use std::{collections::VecDeque, io, path::Path, sync::Arc};

use futures::future::{Either, select};

use super::{
    PATIENCE,
    socket::{self, Stream},
    wire::{
        VERSION,
        message::{Command, LONGEST, Message, Status},
    },
};
use crate::host::Clock;

/// A connection to a shim. Hello is said together with the first command, as waking a shim and being woken by it is most
/// of what a restart costs.
pub(super) struct Link {
    stream: Arc<Stream>,
    clock: Arc<dyn Clock>,
    /// What the shim has learnt; none before hello.
    level: Option<u32>,
    input: Vec<u8>,
    /// What was told while an answer was awaited.
    events: VecDeque<Message>,
}

impl Link {
    /// Connects to the shim that serves `directory`.
    ///
    /// # Errors
    /// See [`is_absence`]; any other means that a shim may be there.
    pub(super) async fn connect(directory: &Path, clock: &Arc<dyn Clock>) -> io::Result<Self> {
        let stream = socket::connect(directory).await?;
        Ok(Self {
            stream: Arc::new(stream),
            clock: Arc::clone(clock),
            level: None,
            input: Vec::new(),
            events: VecDeque::new(),
        })
    }

    /// What commands can be sent by while this is listened to.
    pub(super) fn sender(&self) -> Arc<Stream> {
        Arc::clone(&self.stream)
    }

    /// Says hello by itself, for those who have to know the level before their first command.
    ///
    /// # Errors
    /// As for [`Link::ask`].
    pub(super) async fn greet(&mut self) -> io::Result<()> {
        self.say(&[])?;
        self.greeted().await
    }

    /// What the shim has learnt within its version; 0 before hello.
    pub(super) fn level(&self) -> u32 {
        self.level.unwrap_or(0)
    }

    /// The clock that its patience is measured by.
    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Sends a command and returns its answer.
    ///
    /// # Errors
    /// When the connection is lost, or the shim says nothing for [`PATIENCE`].
    pub(super) async fn ask(&mut self, command: Command) -> io::Result<Message> {
        self.say(&[command])?;
        self.greeted().await?;
        self.answer().await
    }

    /// Sends two commands together and returns the answer to the second: a shim does one after the other.
    ///
    /// # Errors
    /// As for [`Link::ask`].
    pub(super) async fn ask_after(
        &mut self,
        first: Command,
        second: Command,
    ) -> io::Result<Message> {
        self.say(&[first, second])?;
        self.greeted().await?;
        self.answer().await?;
        self.answer().await
    }

    /// Sends commands, after hello.
    fn say(&self, commands: &[Command]) -> io::Result<()> {
        let hello = self.level.is_none();
        let hello = hello.then_some(&Command::Hello { version: VERSION });
        let lines = hello.into_iter().chain(commands);
        write(
            &self.stream,
            &lines.map(|line| format!("{line}\n")).collect::<String>(),
        )
    }

    /// Takes the answer to hello, if that was not done before.
    async fn greeted(&mut self) -> io::Result<()> {
        if self.level.is_none() {
            match self.answer().await? {
                Message::Hello { level, .. } => self.level = Some(level),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    /// The next answer. What is told meanwhile is kept.
    async fn answer(&mut self) -> io::Result<Message> {
        let patience = self.clock.sleep(PATIENCE);
        let answer = std::pin::pin!(async {
            loop {
                let message = self.receive().await?;
                if message.is_answer() {
                    return Ok(message);
                }
                self.events.push_back(message);
            }
        });
        match select(answer, patience).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the shim does not answer",
            )),
        }
    }

    /// What the shim knows.
    pub(super) async fn status(&mut self) -> io::Result<Status> {
        match self.ask(Command::Status).await? {
            Message::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// The next event; an answer that nobody waited for is none.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) async fn event(&mut self) -> io::Result<Message> {
        loop {
            let kept = self.events.pop_front();
            let message = match kept {
                Some(event) => event,
                None => self.receive().await?,
            };
            match message {
                Message::Error { text, .. } => {
                    tracing::warn!(text, "a shim did not do what it was told");
                }
                answer if answer.is_answer() => {}
                event => return Ok(event),
            }
        }
    }

    /// The next message. Cancel-safe.
    async fn receive(&mut self) -> io::Result<Message> {
        loop {
            while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match Message::read(line.trim_end()) {
                    Ok(Some(message)) => return Ok(message),
                    // Only younger shims say it: nothing that this agent needs to know.
                    Ok(None) => {}
                    Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                }
            }
            self.stream.readable().await?;
            let mut buffer = [0; LONGEST];
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Sends a command without waiting: a line is short, and a shim that has not read hundreds of them is frozen.
pub(super) fn send(stream: &Stream, command: Command) -> io::Result<()> {
    write(stream, &format!("{command}\n"))
}

fn write(stream: &Stream, lines: &str) -> io::Result<()> {
    match stream.try_write(lines.as_bytes())? {
        written if written == lines.len() => Ok(()),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Whether a failed connection proves that no shim listens.
pub(super) fn is_absence(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind())
}

/// Whether a failed connection shows a shim that is just leaving, or dying: a killed one's socket may be open for
/// a moment longer than its process lives.
pub(super) fn is_departure(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
    ];
    kinds.contains(&error.kind())
}

fn unexpected(message: &Message) -> io::Error {
    let text = format!("the shim said `{message}`, which is no answer to what it was asked");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
