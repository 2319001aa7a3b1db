//! What instances are given of the files of the host. It is read at each start, and goes to nobody else: an
//! error names the file, never what it holds.

use std::path::Path;

use super::Config;
use crate::{
    host::{Handed, Host},
    model::service::FileSpec,
    plan::agent::{NOT_ALLOWED, NotStarted, SECRET_UNREADABLE},
    process::Secret,
};

/// The largest value of a variable, in bytes: the system takes no longer one than 128 KiB.
const LARGEST_VARIABLE: u64 = 64 * 1024;

/// The largest file, in bytes: what is given lies in memory.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Hands out secrets of the host, as far as its owner allows.
pub(super) struct Safe<'a> {
    pub(super) config: &'a Config,
    pub(super) host: &'a Host,
}

impl Safe<'_> {
    /// The value of the variable `name`, which is in the file at `path`.
    pub(super) fn variable(&self, name: &str, path: &str) -> Result<Secret, NotStarted> {
        let what = format!("the value of `{name}`");
        let content = self.read(&what, path, LARGEST_VARIABLE)?;
        let text = String::from_utf8(content);
        let text = text.map_err(|_| self.unreadable(&what, path, "it is not text"))?;
        if text.contains('\0') {
            return Err(self.unreadable(&what, path, "a NUL character is in it"));
        }
        // Editors put it there, and nobody means it.
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Secret(line.to_owned()))
    }

    /// The file that `spec` asks for, which is a copy of that at `path`.
    pub(super) fn file(&self, spec: &FileSpec, path: &str) -> Result<Handed, NotStarted> {
        let what = format!("the file `{}`", spec.name);
        Ok(Handed {
            name: spec.name.clone(),
            content: self.read(&what, path, LARGEST_FILE)?,
            mode: spec.mode.0,
        })
    }

    fn read(&self, what: &str, path: &str, most: u64) -> Result<Vec<u8>, NotStarted> {
        let foreign = self.host.disk.read_foreign(Path::new(path), most);
        let foreign = foreign.map_err(|error| self.unreadable(what, path, &error.to_string()))?;
        let allowed = self.config.allowed.check_secret(&foreign.path);
        allowed.map_err(|why| NotStarted {
            reason: NOT_ALLOWED,
            message: format!("on {}, {what}: {why}", self.config.node),
        })?;
        Ok(foreign.content)
    }

    fn unreadable(&self, what: &str, path: &str, why: &str) -> NotStarted {
        let node = &self.config.node;
        NotStarted {
            reason: SECRET_UNREADABLE,
            message: format!(
                "on {node}, {what} cannot be read from `{path}`: {why}; put the file there, readable for the agent"
            ),
        }
    }
}
