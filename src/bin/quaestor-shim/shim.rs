//! The loop: waits for clients, output, children and moments, and does what they call for. What it waits by is another
//! on each system ([`ears`]).

#[cfg_attr(windows, path = "windows/ears.rs")]
mod ears;

use std::{io, time::Duration};

use crate::{
    clock,
    connection::Connection,
    errand::{Errands, describe},
    log::Sink,
    records::{self, Reserved},
    wire::{
        LEVEL, VERSION,
        errand::Kind,
        message::{Command, Message, Phase, Refusal, Status},
        names,
        record::{Cause, End, Exit, Running},
    },
    workload::Workload,
};

pub(crate) use ears::Ears;
#[cfg(windows)]
pub(crate) use ears::Event;

/// How many clients there may be: an agent, those before it whose end was not noticed yet, and a
/// person. One more takes the place of the oldest.
const MOST_CONNECTIONS: usize = 8;
/// How long until an exit record that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a shim that leaves waits for the last lines to be written.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) struct Shim {
    ears: Ears,
    connections: Vec<Connection>,
    sink: Sink,
    boot_id: String,
    workload: Option<Workload>,
    errands: Errands,
    /// The highest number of a start so far.
    incarnation: u64,
    last: Option<Exit>,
    /// Room for the record of how the living process will have ended.
    room_for_exit: Option<Reserved>,
    /// When the record of `last` is tried again; none once it is written.
    write_at: Option<Duration>,
    deadline: Option<Duration>,
    deadline_has_passed: bool,
    released: bool,
}

type Done = Result<(), (Refusal, String)>;

impl Shim {
    pub(crate) fn new(ears: Ears, sink: Sink) -> io::Result<Self> {
        let last = records::exit();
        let before = records::running().map_or(0, |running| running.incarnation);
        Ok(Self {
            ears,
            connections: Vec::new(),
            sink,
            boot_id: clock::boot_id()?,
            workload: None,
            errands: Errands::default(),
            incarnation: last.as_ref().map_or(0, |exit| exit.incarnation).max(before),
            last,
            room_for_exit: None,
            write_at: None,
            deadline: None,
            deadline_has_passed: false,
            released: false,
        })
    }

    /// Serves until it is released.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        while !self.is_done() {
            self.hear()?;
            self.connections.retain(Connection::is_open);
            let connections = &self.connections;
            self.errands
                .keep_those_of(|client| connections.iter().any(|open| open.id == client));
        }
        // Whoever comes now shall not find an address that nobody listens at.
        records::remove(names::SOCKET);
        self.sink.queue.settle(SETTLE);
        Ok(())
    }

    fn is_done(&self) -> bool {
        // Who releases it knows how the last process ended; others shall find the record.
        let may_leave = self.released || Ears::asked_to_end() && self.write_at.is_none();
        may_leave && self.workload.is_none()
    }

    fn next_moment(&self) -> Option<Duration> {
        let workload = self.workload.as_ref().and_then(Workload::next_moment);
        let deadline = self.deadline.filter(|_| !self.deadline_has_passed);
        let errands = self.errands.next_moment();
        [workload, deadline, self.write_at]
            .into_iter()
            .flatten()
            .chain(errands)
            .min()
    }

    /// Lets nothing live, and leaves: whoever started this shim has ended.
    fn feel_cut(&mut self) {
        self.released = true;
        if let Some(workload) = &mut self.workload {
            let why = "killed: whoever started this shim has ended";
            self.sink.queue.say(why);
            workload.kill(Cause::Kill, &mut self.errands);
        }
    }

    /// Looks after the process and errands, of which some may have ended.
    fn look_after_children(&mut self) {
        self.look_after_errands();
        let Some(workload) = &mut self.workload else {
            return;
        };
        match workload.look(&mut self.errands) {
            Some(end) if workload.fate.is_prepared(end) => self.go_on(end),
            Some(end) => self.finish(end),
            None => {}
        }
    }

    /// Tells those who sent errands how these have ended.
    fn look_after_errands(&mut self) {
        while let Some((client, outcome)) = self.errands.ended(&mut self.sink) {
            let mut clients = self.connections.iter_mut();
            if let Some(client) = clients.find(|connection| connection.id == client) {
                client.send(&Message::Ran(outcome));
            }
        }
    }

    /// Starts the program itself, after what prepared that has ended with `end`.
    fn go_on(&mut self, end: End) {
        let Some(workload) = &mut self.workload else {
            return;
        };
        if let Err(text) = workload.go_on(&mut self.sink) {
            self.sink
                .queue
                .say(&format!("not started after preStart: {text}"));
            return self.finish(end);
        }
        let running = workload.running.clone();
        let (incarnation, pid) = (running.incarnation, running.pid);
        self.sink
            .queue
            .say(&format!("prepared: incarnation {incarnation}, pid {pid}"));
        self.write_running(Reserved::new(names::RUNNING));
        self.tell(&Message::Started(running));
    }

    /// Writes the record of what runs. Only after an end of this shim will it be missed.
    fn write_running(&self, room: io::Result<Reserved>) {
        let Some(workload) = &self.workload else {
            return;
        };
        if let Err(error) = room.and_then(|room| room.write(&workload.running.seal())) {
            self.sink.queue.say(&format!(
                "cannot write the record `{}`: {error}",
                names::RUNNING
            ));
        }
    }

    /// Keeps and tells how the process ended.
    fn finish(&mut self, end: End) {
        let Some(workload) = self.workload.take() else {
            return;
        };
        let exit = workload.finish(end, &mut self.sink);
        self.sink.queue.say(&format!(
            "ended: incarnation {}, pid {}, {}, cause {}",
            exit.incarnation,
            exit.pid,
            describe(exit.end),
            exit.cause.word()
        ));
        self.last = Some(exit.clone());
        let room = self.room_for_exit.take();
        self.write_exit(room);
        self.tell(&Message::Exited(exit));
    }

    /// Writes the record of the last end, into `room` if there is some.
    fn write_exit(&mut self, room: Option<Reserved>) {
        let Some(exit) = &self.last else {
            return;
        };
        // Whatever the disk says, it is kept here and told to whoever asks.
        let room = room.map_or_else(|| Reserved::new(names::EXIT), Ok);
        let written = room.and_then(|room| room.write(&exit.seal()));
        self.write_at = written.is_err().then(|| clock::now() + RETRY);
        if written.is_ok() && self.workload.is_none() {
            records::remove(names::RUNNING);
        }
    }

    fn on_time(&mut self) {
        let now = clock::now();
        if self.write_at.is_some_and(|moment| moment <= now) {
            self.write_exit(None);
        }
        let is_due = self.deadline.is_some_and(|moment| moment <= now);
        if is_due && !self.deadline_has_passed {
            self.deadline_has_passed = true;
            self.sink
                .queue
                .say("the deadline has passed: no agent has renewed it");
            if let Some(workload) = &mut self.workload {
                workload.stop(Cause::Deadline, now);
            }
            self.tell(&Message::DeadlinePassed);
        }
        if let Some(workload) = &mut self.workload {
            workload.on_time(now, &mut self.errands, &self.sink);
        }
        self.errands.on_time(now);
    }

    fn tell(&mut self, event: &Message) {
        for connection in self
            .connections
            .iter_mut()
            .filter(|connection| connection.greeted)
        {
            connection.send(event);
        }
    }

    /// Takes in a client.
    fn welcome(&mut self, connection: Connection) {
        if self.connections.len() == MOST_CONNECTIONS {
            self.connections.remove(0);
        }
        self.connections.push(connection);
    }

    /// Does what a client says, and tells it so.
    fn obey(&mut self, client: usize, line: &str) {
        let answer = self.answer(client, line);
        self.connections[client].send(&answer);
    }

    fn answer(&mut self, client: usize, line: &str) -> Message {
        let greeted = self.connections[client].greeted;
        let done = match Command::read(line) {
            Ok(Command::Hello { version }) => {
                self.connections[client].greeted = true;
                return Message::Hello {
                    version: version.min(VERSION),
                    pid: std::process::id(),
                    level: LEVEL,
                };
            }
            Ok(_) if !greeted => Err((Refusal::NoHello, "say hello first".to_owned())),
            Ok(Command::Status) => return Message::Status(Box::new(self.status())),
            Ok(Command::Start { incarnation }) => self.start(incarnation),
            Ok(Command::Signal(signal)) => match &mut self.workload {
                Some(workload) => (workload.ask(signal)).map_err(|text| (Refusal::System, text)),
                None => Err((Refusal::Idle, "nothing lives".to_owned())),
            },
            Ok(Command::Kill) => {
                if let Some(workload) = &mut self.workload {
                    workload.kill(Cause::Kill, &mut self.errands);
                }
                Ok(())
            }
            Ok(Command::Run(kind, timeout)) => self.run(client, kind, timeout),
            Ok(Command::Deadline(time)) => {
                self.deadline = time.map(|time| clock::now().saturating_add(time));
                self.deadline_has_passed = false;
                Ok(())
            }
            Ok(Command::Release) => self.idle().map(|()| self.released = true),
            Err(refused) => Err(refused),
        };
        match done {
            Ok(()) => Message::Ok,
            Err((refusal, text)) => Message::Error { refusal, text },
        }
    }

    fn status(&self) -> Status {
        let phase = match &self.workload {
            None => Phase::Idle,
            Some(workload) if workload.fate.has_ended() => Phase::Ending,
            Some(_) => Phase::Running,
        };
        let now = clock::now();
        Status {
            phase,
            incarnation: self.incarnation,
            running: self
                .workload
                .as_ref()
                .map(|workload| workload.running.clone()),
            notice: self.workload.as_ref().and_then(Workload::notice),
            deadline: self.deadline.map(|deadline| deadline.saturating_sub(now)),
            last: self.last.clone(),
        }
    }

    /// Whether nothing lives.
    fn idle(&self) -> Done {
        match &self.workload {
            None => Ok(()),
            Some(workload) => {
                let Running {
                    incarnation, pid, ..
                } = workload.running;
                let text = format!("incarnation {incarnation} lives, with pid {pid}");
                Err((Refusal::Busy, text))
            }
        }
    }

    fn run(&mut self, client: usize, kind: Kind, timeout: Duration) -> Done {
        let Some(workload) = self.workload.as_ref().filter(|it| !it.fate.has_ended()) else {
            return Err((Refusal::Idle, "nothing lives".to_owned()));
        };
        let client = self.connections[client].id;
        let program = &workload.program;
        (self.errands).start(program, (kind, timeout), client, &self.sink)
    }

    fn start(&mut self, incarnation: u64) -> Done {
        self.idle()?;
        if incarnation <= self.incarnation {
            let text = format!("incarnation {} was started already", self.incarnation);
            return Err((Refusal::Stale, text));
        }
        if self.deadline_has_passed {
            let text = "the deadline has passed: set another first".to_owned();
            return Err((Refusal::Deadline, text));
        }
        if let Err(text) = self.try_start(incarnation) {
            self.sink
                .queue
                .say(&format!("not started: incarnation {incarnation}: {text}"));
            let told = text.clone();
            self.tell(&Message::StartFailed {
                incarnation,
                text: told,
            });
            return Err((Refusal::StartFailed, text));
        }
        Ok(())
    }

    fn try_start(&mut self, incarnation: u64) -> Result<(), String> {
        let program = records::program()?;
        self.sink.queue.limit(program.logs);
        // A full disk is found out before something runs, not after.
        let room = |name| {
            let failed = |error| format!("cannot write the record `{name}`: {error}");
            Reserved::new(name).map_err(failed)
        };
        let (room_for_running, room_for_exit) = (room(names::RUNNING)?, room(names::EXIT)?);
        let workload = Workload::start(program, incarnation, &self.boot_id, &self.sink)?;
        self.room_for_exit = Some(room_for_exit);
        // Who starts anew knows how the last process ended.
        self.write_at = None;
        let running = workload.running.clone();
        let pid = running.pid;
        let preparing = if running.preparing { ", preStart" } else { "" };
        self.sink.queue.say(&format!(
            "started: incarnation {incarnation}, pid {pid}{preparing}"
        ));
        self.incarnation = incarnation;
        self.workload = Some(workload);
        self.write_running(Ok(room_for_running));
        self.tell(&Message::Started(running));
        Ok(())
    }
}
