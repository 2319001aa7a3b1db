//! Where balancers ask for tickets: what they ask goes to the supervisor, which alone decides, one request after
//! the other. What is free is shown on a board.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    model::{Instance, Units, state::Endpoint, ticket::Board},
    plan::reservation::Refusal,
};

/// So many requests may wait for the supervisor; who comes then waits to be let in.
const ROOM: usize = 256;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A new ticket.
    Grant,
    /// A ticket is to last longer.
    Renew,
    /// A ticket is not needed any more.
    Release,
}

/// What became of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How much longer it lasts; nothing after a release.
    pub lasts: Duration,
    /// What is free of its instance now.
    pub units: Units,
    /// The board's sequence that says the same.
    pub sequence: u64,
    /// Where clients reach the instance.
    pub endpoint: Option<Endpoint>,
}

/// Why there is no ticket, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such instance.
    #[error("{0} does not run on this node")]
    Unknown(Instance),
    /// It can be had without a ticket.
    #[error("{0} is not given out by tickets: its service is not `exclusive`")]
    NotExclusive(Instance),
    /// It gives out nothing now.
    #[error("{0} gives out nothing now: it is not ready, or is about to stop")]
    Closed(Instance),
    /// The ledger's word.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What is not written down is not granted.
    #[error("the ticket cannot be written down: {0}")]
    NotWritten(String),
    /// Nobody decides any more.
    #[error("the agent is ending, or has not begun")]
    Ending,
}

/// Asks the supervisor. Cheap to clone.
#[derive(Clone)]
pub struct Reservations {
    asked: mpsc::Sender<Asked>,
    board: watch::Receiver<Board>,
}

/// The supervisor's side.
pub struct Counter {
    pub(super) asked: mpsc::Receiver<Asked>,
    pub(super) board: watch::Sender<Board>,
}

/// A request, and who waits for the answer.
pub(super) struct Asked {
    pub(super) instance: Instance,
    pub(super) serial: String,
    pub(super) wish: Wish,
    pub(super) answer: oneshot::Sender<Result<Standing, Denied>>,
}

/// The two sides. An agent's takes its requests once it runs.
pub fn counter() -> (Reservations, Counter) {
    let (send, asked) = mpsc::channel(ROOM);
    let (show, board) = watch::channel(Board::default());
    let reservations = Reservations { asked: send, board };
    (reservations, Counter { asked, board: show })
}

impl Reservations {
    /// Asks for something about the ticket `serial` of `instance`. What is granted or renewed is on disk when
    /// the answer comes.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn ask(
        &self,
        instance: &Instance,
        serial: &str,
        wish: Wish,
    ) -> Result<Standing, Denied> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            instance: instance.clone(),
            serial: serial.to_owned(),
            wish,
            answer,
        };
        self.asked.send(asked).await.map_err(|_| Denied::Ending)?;
        answered.await.map_err(|_| Denied::Ending)?
    }

    /// What is free, now and whenever it changes.
    pub fn board(&self) -> watch::Receiver<Board> {
        self.board.clone()
    }
}

impl Counter {
    /// Shows the units of an instance; none: they are not given out. Returns the board's sequence.
    pub(super) fn show(&self, instance: &Instance, units: Option<Units>) -> u64 {
        self.board.send_if_modified(|board| {
            let before = board.units.get(instance).copied();
            if before == units {
                return false;
            }
            match units {
                Some(units) => board.units.insert(instance.clone(), units),
                None => board.units.remove(instance),
            };
            board.sequence += 1;
            true
        });
        self.board.borrow().sequence
    }
}
