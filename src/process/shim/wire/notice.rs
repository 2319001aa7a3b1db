//! What a process has said of itself to its shim, in the words of `sd_notify(3)`.

use super::{
    fields::{Fields, Malformed},
    message::{from_word, word},
};

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// How far it is.
    pub stage: Stage,
    /// It has sent no ping for as long as its program allows.
    pub overdue: bool,
    /// It said `WATCHDOG=trigger`.
    pub failed: bool,
    /// What it does, in its own words. At most [`LONGEST_TEXT`] bytes, no control characters.
    pub text: String,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has said nothing yet.
    #[default]
    Starting,
    /// It is ready.
    Ready,
    /// It is not ready for a while.
    Reloading,
    /// It is about to end.
    Stopping,
}

/// So long may the text of a notice be, in bytes: it is sent within a line.
pub const LONGEST_TEXT: usize = 256;

const STAGES: [(Stage, &str); 4] = [
    (Stage::Starting, "starting"),
    (Stage::Ready, "ready"),
    (Stage::Reloading, "reloading"),
    (Stage::Stopping, "stopping"),
];

impl Notice {
    /// Whether both say the same, whatever their texts are.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.stage, self.overdue, self.failed) == (other.stage, other.overdue, other.failed)
    }

    pub(super) fn add_to(&self, fields: &mut Fields, prefix: &str) {
        let name = |name| format!("{prefix}{name}");
        fields.add(&name("stage"), word(&STAGES, self.stage));
        if self.overdue {
            fields.show(&name("overdue"), true);
        }
        if self.failed {
            fields.show(&name("failed"), true);
        }
        if !self.text.is_empty() {
            fields.add(&name("text"), &self.text);
        }
    }

    pub(super) fn take_from(fields: &Fields, prefix: &str) -> Result<Self, Malformed> {
        let name = |name| format!("{prefix}{name}");
        let stage: String = fields.parse(&name("stage"))?;
        Ok(Self {
            // A stage that only younger shims know is one in which nobody should count on the process.
            stage: from_word(&STAGES, &stage).unwrap_or(Stage::Reloading),
            overdue: fields.parse_if_there(&name("overdue"))?.unwrap_or(false),
            failed: fields.parse_if_there(&name("failed"))?.unwrap_or(false),
            text: fields.parse_if_there(&name("text"))?.unwrap_or_default(),
        })
    }
}
