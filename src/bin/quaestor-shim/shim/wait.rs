//! Waiting for everything at once.

use std::io;

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::Shim;
use crate::workload::Workload;

/// What can be done something about.
pub(super) struct Ready {
    pub(super) signals: bool,
    pub(super) alarm: bool,
    pub(super) listener: bool,
    pub(super) tether: bool,
    pub(super) streams: bool,
    /// By the index of the connection.
    pub(super) connections: Vec<bool>,
}

impl Shim {
    /// Waits until something can be done.
    pub(super) fn wait(&self) -> io::Result<Ready> {
        let stdin = io::stdin();
        // A descriptor that is asked for nothing may still say that its other end is closed.
        let tether = if self.tethered {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut waiting = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.alarm, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
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
            tether: self.tethered && is_ready(3),
            streams: (connections.end..waiting.len()).any(is_ready),
            connections: connections.map(is_ready).collect(),
        })
    }
}
