//! Bugs put in on purpose, to prove that the checker sees.

use super::schedule::SECOND_EDITION;

/// A bug. All but [`Planted::Nothing`] must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Planted {
    Nothing,
    /// Every start starts two processes (I1).
    DoubleStart,
    /// An agent signals another process than its own (I2).
    Stranger,
    /// An agent signals a healthy process for no reason (I3).
    Whim,
    /// An agent starts what nobody asked for (I4).
    Ghost,
    /// An agent that was started anew does not get to know what some of its processes do (I5).
    Neglect,
    /// A process that is started again runs the first template (I6).
    StepBack,
    /// A controller that does not lead writes an assignment (I7).
    Usurper,
    /// A balancer writes a state (I8).
    Meddler,
    /// A balancer forgets a place (I9).
    Omission,
    /// A balancer names a place that never was (I10).
    Invention,
    /// A balancer says that nobody serves (I11).
    EmptyLie,
    /// The leader gives up what a node has while all nodes are away (I12).
    Eviction,
    /// All instances are replaced at once (I13).
    Haste,
    /// More stand-ins are started than are allowed (I13).
    Crowd,
    /// An operator writes without end (I14).
    Storm,
    /// What ends is started again at once, again and again (I14).
    Spin,
    /// The leader reports a generation that there never was (I15).
    Prophecy,
    /// Processes do not heed the deadline that they are to stop by (I16).
    Immortal,
    /// The leader goes on when the store was restored, as if nothing had happened (I17).
    Amnesia,
    /// Balancers vouch for clients that they have not asked (I18).
    Credulity,
    /// Processes keep ending after the faults have stopped (L1).
    Restless,
}

impl Planted {
    /// The bugs, and the invariant that each breaks.
    pub const ALL: [(Planted, &'static str); 21] = [
        (Planted::DoubleStart, "I1"),
        (Planted::Stranger, "I2"),
        (Planted::Whim, "I3"),
        (Planted::Ghost, "I4"),
        (Planted::Neglect, "I5"),
        (Planted::StepBack, "I6"),
        (Planted::Usurper, "I7"),
        (Planted::Meddler, "I8"),
        (Planted::Omission, "I9"),
        (Planted::Invention, "I10"),
        (Planted::EmptyLie, "I11"),
        (Planted::Eviction, "I12"),
        (Planted::Haste, "I13"),
        (Planted::Crowd, "I13"),
        (Planted::Storm, "I14"),
        (Planted::Spin, "I14"),
        (Planted::Prophecy, "I15"),
        (Planted::Immortal, "I16"),
        (Planted::Amnesia, "I17"),
        (Planted::Credulity, "I18"),
        (Planted::Restless, "L1"),
    ];

    /// The first seed that is tried.
    pub fn first_seed(self) -> u64 {
        match self {
            Self::Neglect | Self::Eviction | Self::Prophecy | Self::Amnesia | Self::Credulity => {
                SECOND_EDITION + 1
            }
            _ => 1,
        }
    }
}
