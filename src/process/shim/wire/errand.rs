//! Errands: short programs that a shim runs beside the process, as its user, with its environment and in its
//! directory. What one runs is a record in the shim's directory, as a command line is too short for that.

use std::ffi::OsString;

use super::{
    fields::{Fields, Malformed},
    message::{from_word, word},
    record::{self, Broken, End},
};

/// What an errand is for. Of each kind there is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Is the process healthy? Its output is told, and logged nowhere.
    Check,
    /// The process is about to be stopped. Its output goes to the log.
    PreStop,
}

impl Kind {
    /// All of them, with their names.
    pub const ALL: [(Self, &str); 2] = [(Self::Check, "check"), (Self::PreStop, "pre-stop")];

    /// Its name, which is that of its record too.
    pub fn name(self) -> &'static str {
        word(&Self::ALL, self)
    }
}

impl std::str::FromStr for Kind {
    type Err = Malformed;

    fn from_str(name: &str) -> Result<Self, Malformed> {
        from_word(&Self::ALL, name)
    }
}

/// What an errand runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The program and its arguments.
    pub arguments: Vec<OsString>,
}

impl Errand {
    const KIND: &str = "errand";

    /// The record.
    pub fn seal(&self) -> String {
        let mut fields = Fields::default();
        for argument in &self.arguments {
            fields.add("argument", argument);
        }
        record::seal(Self::KIND, &fields)
    }

    /// The content of a record.
    ///
    /// # Errors
    /// As [`record::open`].
    pub fn open(content: &[u8]) -> Result<Self, Broken> {
        let fields = record::open(Self::KIND, content)?;
        let arguments = fields.all("argument").map(OsString::from).collect();
        Ok(Self { arguments })
    }
}

/// How an errand ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its last word; none: it took too long, or whoever sent it or the process went away, and was killed.
    pub end: Option<End>,
    /// The end of its output, where that is told.
    pub text: String,
}

impl Outcome {
    pub(super) fn add_to(&self, fields: &mut Fields) {
        match self.end {
            Some(End::Code(code)) => fields.show("code", code),
            Some(End::Signal(signal)) => fields.show("signal", signal),
            None => {}
        }
        fields.add("text", &self.text);
    }

    pub(super) fn take_from(fields: &Fields) -> Result<Self, Malformed> {
        let code = fields.parse_if_there("code")?.map(End::Code);
        let signal = fields.parse_if_there("signal")?.map(End::Signal);
        Ok(Self {
            end: code.or(signal),
            text: fields
                .find("text")
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        })
    }
}
