//! The state directory: whose it is, and what lies where in it.
//!
//! ```text
//! lock                           held while the agent runs
//! node-uuid                      who the agent is, across restarts
//! store.mark                     how far the store had come
//! own-instances.json             how the instances of the agent's own manifests are
//! logs/<instance>/               what instances print
//! artifacts/<digest>/            what instances are started from, where that is fetched
//! run/<instance>/                where they start, unless their manifest says otherwise; their user's
//! ```
//!
//! Everything else belongs to the agent's user alone.
//!
//! The runtime directory holds what matters within one boot; it may lie elsewhere, in memory:
//!
//! ```text
//! lock                           held while the agent runs
//! <instance>/                    of its shim
//! <instance>.json                what the agent remembers of it (`memory`)
//! <instance>.json.broken-<time>  such a file that could not be read
//! files/<instance>/              copies of its `files`, for its user to read, while it lives
//! ```

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Error;
use crate::{
    host::Host,
    model::{Instance, service::Digest},
    process::{self, Place},
};

/// Where, within the state directory, the output of instances goes.
pub(super) const LOGS: &str = "logs";

/// The directory of artifacts.
const ARTIFACTS: &str = "artifacts";

/// The directory of those that instances start in.
const STARTS: &str = "run";

/// The directory of those with the files that instances are given.
const FILES: &str = "files";

/// An open, locked state directory.
pub(super) struct Home {
    root: PathBuf,
    runtime: PathBuf,
    node_uuid: String,
    boot_id: String,
    _locks: [Box<dyn Send + Sync>; 2],
}

impl Home {
    /// Makes the directories if need be, locks them, and reads who the agent is.
    pub(super) fn open(root: &Path, runtime: &Path, host: &Host) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |cause| Error::StateDirectory { path, cause }
        };
        let claim = |directory: &Path, made: io::Result<()>| {
            made.map_err(failed(directory))?;
            // Processes may start elsewhere, but their files stay here.
            let directory = std::path::absolute(directory).map_err(failed(directory))?;
            let lock = host.disk.lock(&directory.join("lock"));
            let lock = lock.map_err(|cause| match cause.kind() {
                io::ErrorKind::WouldBlock => Error::DirectoryInUse(directory.clone()),
                _ => failed(&directory)(cause),
            })?;
            Ok::<_, Error>((directory, lock))
        };
        // Processes of other users start below it.
        let (root, lock) = claim(root, host.disk.create_passage(root))?;
        let (runtime, runtime_lock) = claim(runtime, host.disk.create_passage(runtime))?;
        let starts = root.join(STARTS);
        let made = host.disk.create_passage(&starts);
        made.map_err(failed(&starts))?;
        let files = runtime.join(FILES);
        let made = host.disk.create_passage(&files);
        made.map_err(failed(&files))?;
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
        let boot_id = process::boot_id(&*host.disk).map_err(Error::Boot)?;
        Ok(Self {
            root,
            runtime,
            node_uuid,
            boot_id,
            _locks: [lock, runtime_lock],
        })
    }

    /// Who the agent is, for as long as the directory lives.
    pub(super) fn node_uuid(&self) -> &str {
        &self.node_uuid
    }

    /// Which boot this is.
    pub(super) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The directory of what matters within one boot.
    pub(super) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Where the process of an instance is kept track of.
    pub(super) fn place(&self, instance: &Instance, uuid: &str) -> Place {
        Place {
            directory: self.runtime.join(instance.to_string()),
            uuid: uuid.to_owned(),
        }
    }

    /// Where it is written down how far the store had come.
    pub(super) fn mark(&self) -> PathBuf {
        self.root.join("store.mark")
    }

    /// Where the instances of the agent's own manifests are shown.
    pub(super) fn own_states(&self) -> PathBuf {
        self.root.join("own-instances.json")
    }

    /// Where the output of an instance goes.
    pub(super) fn logs(&self, instance: &Instance) -> PathBuf {
        self.root.join(LOGS).join(instance.to_string())
    }

    /// Where the files are that an instance is given.
    pub(super) fn files(&self, instance: &Instance) -> PathBuf {
        self.runtime.join(FILES).join(instance.to_string())
    }

    /// The directory of those.
    pub(super) fn all_files(&self) -> PathBuf {
        self.runtime.join(FILES)
    }

    /// Where artifacts lie.
    pub(super) fn artifacts(&self) -> PathBuf {
        self.root.join(ARTIFACTS)
    }

    /// Where one of them lies.
    pub(super) fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts().join(digest.as_str())
    }

    /// Where an instance starts, unless its manifest says otherwise.
    pub(super) fn working_directory(&self, instance: &Instance) -> PathBuf {
        self.root.join(STARTS).join(instance.to_string())
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
        let first = Home::open(&root, &root.join("runtime"), &host).unwrap();
        let uuid = first.node_uuid().to_owned();
        let refused = Home::open(&root, &root.join("runtime"), &host)
            .err()
            .unwrap()
            .to_string();
        assert!(refused.contains("another agent already runs"), "{refused}");
        drop(first);
        assert_eq!(
            Home::open(&root, &root.join("runtime"), &host)
                .unwrap()
                .node_uuid(),
            uuid
        );
    }

    #[test]
    fn a_broken_identity_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("node-uuid"), "").unwrap();
        let home = Home::open(
            directory.path(),
            &directory.path().join("runtime"),
            &Host::system(),
        )
        .unwrap();
        assert_eq!(home.node_uuid().len(), 32);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = Home::open(
            Path::new("/dev/null/x"),
            Path::new("/dev/null/y"),
            &Host::system(),
        );
        let error = error.err().unwrap().to_string();
        assert!(error.contains("`/dev/null/x` cannot be used"), "{error}");
    }
}
