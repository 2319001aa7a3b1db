//! What a process says of itself, in the words of `sd_notify(3)`.

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// How far it is.
    pub stage: Stage,
    /// It has sent no `WATCHDOG=1` for as long as `watchdog` allows.
    pub overdue: bool,
    /// It has found out itself that something is wrong: `WATCHDOG=trigger`.
    pub failed: bool,
    /// What it does, in its own words: `STATUS=...`, shortened, without control characters.
    pub text: String,
}

/// How far a process is, by what it said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has said nothing yet.
    #[default]
    Starting,
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`: it says `READY=1` again when that is done.
    Reloading,
    /// `STOPPING=1`: it will end. Nothing takes that back.
    Stopping,
}

impl Notice {
    /// Whether both say the same, whatever their texts are.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.stage, self.overdue, self.failed) == (other.stage, other.overdue, other.failed)
    }
}
