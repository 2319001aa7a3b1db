//! Waiting for everything: threads wait for one thing each, and tell the loop of it.

use std::{
    io,
    net::TcpListener,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use super::Shim;
use crate::{
    clock,
    connection::{self, Connection, thread},
};

/// Waiting stands still while the machine is suspended, moments do not: so often they are compared.
const LOOK: Duration = Duration::from_secs(1);

/// What threads tell.
pub(crate) enum Event {
    /// Somebody has come who knows the token.
    Client(Connection),
    /// A client says this.
    Line(u64, String),
    /// A client says no more.
    Gone(u64),
    /// Output was read that does not end a line.
    Partial,
    /// A child has ended.
    Ended,
    /// Whoever started this has ended.
    Cut,
}

/// Where threads tell what happens.
pub(crate) struct Ears {
    events: Receiver<Event>,
    /// Kept, so that waiting ends with an event only.
    teller: Sender<Event>,
}

impl Ears {
    pub(crate) fn new(listener: TcpListener, token: String, tethered: bool) -> io::Result<Self> {
        let (teller, events) = channel();
        connection::accept(listener, token, teller.clone())?;
        if tethered {
            let teller = teller.clone();
            let feeling = move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                let _ = teller.send(Event::Cut);
            };
            thread("tether").spawn(feeling)?;
        }
        Ok(Self { events, teller })
    }

    /// For further threads.
    pub(crate) fn teller(&self) -> Sender<Event> {
        self.teller.clone()
    }

    /// Whether it is to leave as soon as nothing lives: the system asks nobody without a window.
    pub(super) fn asked_to_end() -> bool {
        false
    }
}

impl Shim {
    /// Waits until something can be done, and does it.
    pub(super) fn hear(&mut self) -> io::Result<()> {
        let event = match self.next_moment() {
            Some(moment) => {
                let left = moment.saturating_sub(clock::now());
                self.ears.events.recv_timeout(left.min(LOOK)).ok()
            }
            None => self.ears.events.recv().ok(),
        };
        if let Some(event) = event {
            self.take(event);
        }
        self.look_after_children();
        self.on_time();
        Ok(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Client(connection) => self.welcome(connection),
            Event::Line(client, line) => {
                let is_its = |connection: &Connection| connection.id == client;
                if let Some(at) = self.connections.iter().position(is_its) {
                    self.obey(at, &line);
                }
            }
            Event::Gone(client) => self.connections.retain(|open| open.id != client),
            // Looked at after every event.
            Event::Partial | Event::Ended => {}
            Event::Cut => self.feel_cut(),
        }
    }
}
