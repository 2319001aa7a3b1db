//! Tickets: one unit of an instance's capacity, for one caller alone.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    name::{Instance, Name},
    quantity::Period,
    time::Moment,
};

/// How the instances of an exclusive service are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketSpec {
    /// How long a ticket lasts from its grant or its last renewal on.
    #[serde(default = "TicketSpec::default_ttl")]
    pub ttl: Period,
    /// The unit of a ticket that was neither renewed nor released is given out again once its worker
    /// reports that it is idle, or this long after the ticket's end, whatever the worker reports.
    #[serde(default = "TicketSpec::default_reclaim_after")]
    pub reclaim_after: Period,
}

impl TicketSpec {
    /// Long enough for two renewals to fail, short enough that a killed client is not missed for long.
    pub fn default_ttl() -> Period {
        Period::from_secs(30)
    }

    /// Workers that take one request at a time may take minutes for it.
    pub fn default_reclaim_after() -> Period {
        Period(Duration::from_secs(30 * 60))
    }
}

impl Default for TicketSpec {
    fn default() -> Self {
        Self {
            ttl: Self::default_ttl(),
            reclaim_after: Self::default_reclaim_after(),
        }
    }
}

/// A ticket's name, `<node>/<instance>/<serial>`: it says by itself which agent knows of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    /// The node whose agent has granted it.
    pub node: Name,
    /// The instance that it is for.
    pub instance: Instance,
    /// Random, never given twice.
    pub serial: String,
}

/// Why a text is not a [`TicketId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a ticket: pass on what Acquire has answered, as it is")]
pub struct InvalidTicket;

impl FromStr for TicketId {
    type Err = InvalidTicket;

    fn from_str(text: &str) -> Result<Self, InvalidTicket> {
        let parse = || {
            let (node, rest) = text.split_once('/')?;
            let (instance, serial) = rest.split_once('/')?;
            is_serial(serial).then_some(())?;
            Some(Self {
                node: node.parse().ok()?,
                instance: instance.parse().ok()?,
                serial: serial.to_owned(),
            })
        };
        parse().ok_or(InvalidTicket)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.node, self.instance, self.serial)
    }
}

/// Whether `text` can be the serial of a ticket: 32 hexadecimal digits.
pub fn is_serial(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The units of an instance's capacity, as its agent counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// How many there are.
    pub capacity: u32,
    /// How many are not to be had: tickets, and ended ones whose worker may still be busy.
    pub taken: u32,
    /// Whether any are granted now: it is ready and is not about to stop.
    pub open: bool,
}

impl Units {
    /// How many are to be had.
    pub fn free(self) -> u32 {
        match self.open {
            true => self.capacity.saturating_sub(self.taken),
            false => 0,
        }
    }
}

/// When a caller came to a queue, in that queue's own time. Means nothing by itself: it tells who of two callers
/// of the same queue came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Names the queue.
    pub queue: u64,
    /// When that was.
    pub at: Moment,
}

/// How long a caller has waited for a ticket already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Since it began, by its own word.
    pub waited: Duration,
    /// What the last queue that it was in has told it.
    pub stamp: Option<Stamp>,
}

impl Age {
    /// Of one who has waited for so long, and in no queue.
    pub fn of(waited: Duration) -> Self {
        Self {
            waited,
            stamp: None,
        }
    }
}

/// What is free on a node. Only what is given out by tickets is on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Grows with every change, for as long as the agent runs.
    pub sequence: u64,
    /// The units of each instance.
    pub units: BTreeMap<Instance, Units>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_reads_back_as_it_is_written_and_nothing_else_is_one() {
        let text = format!("n1/worker-3/{}", "0f".repeat(16));
        assert_eq!(text.parse::<TicketId>().unwrap().to_string(), text);
        for wrong in [
            "",
            "n1/worker-3",
            "n1/worker-3/",
            "n1/worker-3/xyz",
            "n1/worker/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "../worker-3/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "n1/worker-3/0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f/x",
        ] {
            assert_eq!(wrong.parse::<TicketId>(), Err(InvalidTicket), "{wrong}");
        }
    }

    #[test]
    fn what_is_closed_has_nothing_free() {
        let units = Units {
            capacity: 3,
            taken: 1,
            open: true,
        };
        assert_eq!(units.free(), 2);
        assert_eq!(
            Units {
                open: false,
                ..units
            }
            .free(),
            0
        );
        assert_eq!(Units { taken: 7, ..units }.free(), 0);
    }
}
