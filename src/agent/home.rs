//! The state directory: whose it is, and what lies where in it.
//!
//! ```text
//! lock                           held while the agent runs
//! node-uuid                      who the agent is, across restarts
//! logs/<instance>/stdout.log     what instances print
//! logs/<instance>/stderr.log
//! run/<instance>/                where they start, unless their manifest says otherwise
//! ```

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Error;
use crate::{host::Host, model::Instance};

/// An open, locked state directory.
pub(super) struct Home {
    root: PathBuf,
    node_uuid: String,
    _lock: Box<dyn Send + Sync>,
}

impl Home {
    /// Makes the directory if need be, locks it, and reads who the agent is.
    pub(super) fn open(root: &Path, host: &Host) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::StateDirectory { path, cause }
        };
        host.disk.create_directory(root).map_err(failed(root))?;
        // Processes may start elsewhere, but their files stay here.
        let root = std::path::absolute(root).map_err(failed(root))?;
        let lock = host.disk.lock(&root.join("lock"));
        let lock = lock.map_err(|cause| match cause.kind() {
            io::ErrorKind::WouldBlock => Error::DirectoryInUse(root.clone()),
            _ => failed(&root)(cause),
        })?;
        let file = root.join("node-uuid");
        let stored = host.disk.read(&file).map_err(failed(&file))?;
        let node_uuid = match stored.as_deref().map(read_uuid) {
            Some(Some(uuid)) => uuid,
            unknown => {
                if unknown.is_some() {
                    tracing::warn!(
                        file = %file.display(),
                        "the node's identity is unreadable; the agent gets a new one"
                    );
                }
                let uuid = host.entropy.uuid();
                let written = host.disk.write(&file, uuid.as_bytes(), true);
                written.map_err(failed(&file))?;
                uuid
            }
        };
        Ok(Self {
            root,
            node_uuid,
            _lock: lock,
        })
    }

    /// Who the agent is, for as long as the directory lives.
    pub(super) fn node_uuid(&self) -> &str {
        &self.node_uuid
    }

    /// Where the output of an instance goes.
    pub(super) fn logs(&self, instance: &Instance) -> PathBuf {
        self.root.join("logs").join(instance.to_string())
    }

    /// Where an instance starts, unless its manifest says otherwise.
    pub(super) fn working_directory(&self, instance: &Instance) -> PathBuf {
        self.root.join("run").join(instance.to_string())
    }
}

/// 32 hexadecimal digits.
fn read_uuid(content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?.trim();
    let valid = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_the_same_after_a_restart_and_alone_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("a/b");
        let host = Host::system();
        let first = Home::open(&root, &host).unwrap();
        let uuid = first.node_uuid().to_owned();
        let refused = Home::open(&root, &host).err().unwrap().to_string();
        assert!(refused.contains("another agent already runs"), "{refused}");
        drop(first);
        assert_eq!(Home::open(&root, &host).unwrap().node_uuid(), uuid);
    }

    #[test]
    fn a_broken_identity_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("node-uuid"), "").unwrap();
        let home = Home::open(directory.path(), &Host::system()).unwrap();
        assert_eq!(home.node_uuid().len(), 32);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = Home::open(Path::new("/dev/null/x"), &Host::system());
        let error = error.err().unwrap().to_string();
        assert!(error.contains("`/dev/null/x` cannot be used"), "{error}");
    }
}
