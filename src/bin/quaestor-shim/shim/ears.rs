//! Waiting for everything at once, in one thread.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::Shim;
use crate::{
    children,
    clock::{self, Alarm},
    connection::Connection,
    raw,
    workload::Workload,
};

/// What is waited for besides clients and output.
pub(crate) struct Ears {
    listener: UnixListener,
    /// Rings when a child has ended or the shim was asked to end.
    signals: OwnedFd,
    alarm: Alarm,
    /// Whether the end of standard input is the end of all.
    tethered: bool,
    /// How many clients there were.
    count: u64,
}

/// What can be done something about.
struct Ready {
    signals: bool,
    alarm: bool,
    listener: bool,
    tether: bool,
    streams: bool,
    /// By the index of the connection.
    connections: Vec<bool>,
}

impl Ears {
    pub(crate) fn new(listener: UnixListener, tethered: bool) -> io::Result<Self> {
        Ok(Self {
            listener,
            signals: raw::handle_signals()?,
            alarm: Alarm::new()?,
            tethered,
            count: 0,
        })
    }

    /// Whether it is to leave as soon as nothing lives.
    pub(super) fn asked_to_end() -> bool {
        raw::asked_to_end()
    }
}

impl Shim {
    /// Waits until something can be done, and does it.
    pub(super) fn hear(&mut self) -> io::Result<()> {
        self.ears.alarm.set(self.next_moment())?;
        let ready = self.wait()?;
        if ready.alarm {
            self.ears.alarm.rang();
        }
        if ready.streams {
            self.read_output();
        }
        if ready.signals {
            // Before the look, so that an end behind it rings again.
            let _ = rustix::io::read(&self.ears.signals, &mut [0; 8]);
            self.look_after_children();
            if self.workload.is_none() {
                children::reap_orphans(&self.errands.pids());
            }
        }
        self.on_time();
        self.pass_on_news();
        self.hear_clients(&ready.connections);
        if ready.tether {
            self.feel_tether();
        }
        if ready.listener {
            self.accept();
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Ready> {
        let stdin = io::stdin();
        // A descriptor that is asked for nothing may still say that its other end is closed.
        let tether = if self.ears.tethered {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut waiting = vec![
            PollFd::new(&self.ears.signals, PollFlags::IN),
            PollFd::new(&self.ears.alarm, PollFlags::IN),
            PollFd::new(&self.ears.listener, PollFlags::IN),
            PollFd::new(&stdin, tether),
        ];
        for connection in &self.connections {
            let output = if connection.has_output() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            waiting.push(PollFd::new(connection, PollFlags::IN | output));
        }
        let ears = self.workload.iter().flat_map(Workload::ears);
        let ears = ears.chain(self.errands.pipes());
        waiting.extend(ears.map(|ear| PollFd::new(ear, PollFlags::IN)));
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| !waiting[at].revents().is_empty();
        let connections = 4..4 + self.connections.len();
        Ok(Ready {
            signals: is_ready(0),
            alarm: is_ready(1),
            listener: is_ready(2),
            tether: self.ears.tethered && is_ready(3),
            streams: (connections.end..waiting.len()).any(is_ready),
            connections: connections.map(is_ready).collect(),
        })
    }

    fn read_output(&mut self) {
        self.errands.read(&mut self.sink);
        if let Some(workload) = &mut self.workload {
            for stream in &mut workload.streams {
                stream.read(&mut self.sink);
            }
            workload.was_read(clock::now());
            workload.listen(clock::now());
        }
    }

    /// Tells clients what the process has newly said of itself.
    fn pass_on_news(&mut self) {
        let workload = self.workload.as_mut();
        if let Some(news) = workload.and_then(|it| it.news(clock::now())) {
            self.tell(&news);
        }
    }

    fn hear_clients(&mut self, ready: &[bool]) {
        for (at, _) in ready.iter().enumerate().filter(|(_, is_ready)| **is_ready) {
            self.connections[at].flush();
            for line in self.connections[at].receive() {
                self.obey(at, &line);
            }
        }
    }

    fn feel_tether(&mut self) {
        let read = rustix::io::read(io::stdin(), &mut [0; 8]);
        if !read.is_ok_and(|length| length > 0) {
            self.ears.tethered = false;
            self.feel_cut();
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.ears.listener.accept() {
            self.ears.count += 1;
            if let Ok(connection) = Connection::new(stream, self.ears.count) {
                self.welcome(connection);
            }
        }
    }
}
