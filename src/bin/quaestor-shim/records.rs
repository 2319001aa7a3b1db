//! The records of the directory. They are replaced as a whole, and not forced to the disk: they matter
//! to this boot only.

use std::{
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    path::PathBuf,
};

use crate::{
    place::within,
    wire::{
        errand::{Errand, Kind},
        names,
        program::Program,
        record::{Exit, Running},
    },
};

/// More than any record of a shim has, in bytes.
const ROOM: [u8; 1024] = [b'\n'; 1024];

/// Room for a record, so that it can be written when the disk is full by then.
pub(crate) struct Reserved {
    name: &'static str,
    new: PathBuf,
    file: File,
}

impl Reserved {
    /// Takes the room. The record that is there stays, until this one is written.
    pub(crate) fn new(name: &'static str) -> io::Result<Self> {
        let new = within(&format!("{name}.new"));
        let mut file = File::create(&new)?;
        file.write_all(&ROOM)?;
        Ok(Self { name, new, file })
    }

    /// Replaces the record.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let mut file = &self.file;
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)?;
        fs::rename(&self.new, within(self.name))
    }
}

/// Removes a record that is there no more, or is gone already.
pub(crate) fn remove(name: &str) {
    let _ = fs::remove_file(within(name));
}

/// What to start.
pub(crate) fn program() -> Result<Program, String> {
    let content = fs::read(within(names::PROGRAM)).map_err(|error| error.to_string());
    let program = content
        .and_then(|content| Program::open(&content).map_err(|error| error.to_string()))
        .map_err(|error| format!("cannot read `{}`: {error}", names::PROGRAM))?;
    if program.is_secret {
        remove(names::PROGRAM);
    }
    Ok(program)
}

/// What an errand runs.
pub(crate) fn errand(kind: Kind) -> Result<Errand, String> {
    let name = kind.name();
    let content = fs::read(within(name)).map_err(|error| error.to_string());
    content
        .and_then(|content| Errand::open(&content).map_err(|error| error.to_string()))
        .map_err(|error| format!("cannot read `{name}`: {error}"))
}

/// How the last process ended, if that can be read: looking after broken records is up to the agent.
pub(crate) fn exit() -> Option<Exit> {
    Exit::open(&fs::read(within(names::EXIT)).ok()?).ok()
}

/// What a shim before this one ran, if that can be read.
pub(crate) fn running() -> Option<Running> {
    Running::open(&fs::read(within(names::RUNNING)).ok()?).ok()
}
