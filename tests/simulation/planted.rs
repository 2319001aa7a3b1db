//! Bugs put in on purpose, to prove that the checker sees.

/// A bug. All but [`Planted::Nothing`] must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Planted {
    Nothing,
    /// Every start starts two processes (I1).
    DoubleStart,
    /// An agent signals a healthy process for no reason (I3).
    Whim,
    /// A controller that does not lead writes an assignment (I7).
    Usurper,
    /// A balancer writes a state (I8).
    Meddler,
    /// A balancer says that nobody serves (I11).
    EmptyLie,
    /// Processes keep ending after the faults have stopped (L1).
    Restless,
}

impl Planted {
    /// The bugs, and the invariants that break by them.
    pub const ALL: [(Planted, &'static [&'static str]); 6] = [
        (Planted::DoubleStart, &["I1"]),
        (Planted::Whim, &["I3"]),
        (Planted::Usurper, &["I7"]),
        (Planted::Meddler, &["I8"]),
        (Planted::EmptyLie, &["I11"]),
        (Planted::Restless, &["L1"]),
    ];
}
