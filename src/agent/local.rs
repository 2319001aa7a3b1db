//! The agent's own manifests: a directory of services that it runs on its node without the store.
//!
//! The directory is looked at over and over. What cannot be read, or is wrong, changes nothing: all of it
//! is taken, or nothing. A directory without any manifest stops nothing either, as it looks the same as
//! one whose file system is not mounted; the last service ends by `replicas: 0`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    host::{Disk, Unreadable, read_manifests},
    model::{
        Moment, Name, ServiceObject,
        manifest::{self, Source},
    },
};

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Manifests in a directory, followed.
pub(super) struct Local {
    directory: PathBuf,
    /// What was last taken from there; none before anything could be.
    services: Option<BTreeMap<Name, ServiceObject>>,
    /// What it was read from.
    sources: Vec<Source>,
    /// What is wrong, as it was last said.
    complaint: String,
    next_look: Moment,
}

/// Why the directory is not taken as it is.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{0}")]
    Wrong(manifest::Diagnostics),
}

impl Local {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            services: None,
            sources: Vec::new(),
            complaint: String::new(),
            next_look: Moment::default(),
        }
    }

    /// What is to run; none before the manifests could be read once.
    pub(super) fn services(&self) -> Option<&BTreeMap<Name, ServiceObject>> {
        self.services.as_ref()
    }

    /// Whether the last look found something wrong.
    pub(super) fn is_troubled(&self) -> bool {
        !self.complaint.is_empty()
    }

    /// When the directory is looked at again.
    pub(super) fn next_look(&self) -> Moment {
        self.next_look
    }

    /// Looks at the directory.
    pub(super) fn look(&mut self, disk: &dyn Disk, now: Moment) {
        self.next_look = now + LOOK;
        let complaint = match self.read(disk) {
            Ok(()) => String::new(),
            Err(refusal) => refusal.to_string(),
        };
        let directory = self.directory.display();
        if complaint.is_empty() && !self.complaint.is_empty() {
            tracing::info!(%directory, "the agent's own manifests are in order again");
        } else if complaint != self.complaint {
            tracing::error!(
                %directory,
                "the agent's own manifests are not taken; what was taken before stays in force: {complaint}"
            );
        }
        self.complaint = complaint;
    }

    fn read(&mut self, disk: &dyn Disk) -> Result<(), Refusal> {
        let sources = read_manifests(disk, &self.directory)?;
        if self.services.is_some() && sources == self.sources {
            return Ok(());
        }
        let manifests = manifest::read(&sources).map_err(Refusal::Wrong)?;
        let services = manifests.into_iter().map(|manifest| {
            let object = ServiceObject {
                metadata: manifest.metadata,
                // Nobody counts: what changed is told by the revision.
                generation: 1,
                restarts: Default::default(),
                paused: false,
                spec: manifest.spec,
            };
            (object.metadata.name.clone(), object)
        });
        let services: BTreeMap<_, _> = services.collect();
        if services.is_empty() {
            return Err(Unreadable::Empty(self.directory.clone()).into());
        }
        let names: Vec<_> = services.keys().map(Name::as_str).collect();
        tracing::info!(
            directory = %self.directory.display(), services = names.join(", "),
            "the agent's own manifests are taken"
        );
        self.services = Some(services);
        self.sources = sources;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::LocalDisk;

    const WEB: &str = "apiVersion: quaestor/v1\nkind: Service\nmetadata: {name: web}\n\
                       spec: {replicas: 1, command: [x]}\n";

    #[test]
    fn only_a_whole_and_valid_directory_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let mut local = Local::new(directory.path().to_owned());
        let look = |local: &mut Local| {
            local.look(&LocalDisk, Moment::default());
            let names = local.services().map(|services| services.keys().cloned());
            let names: Option<Vec<_>> = names.map(Iterator::collect);
            names.map(|names| names.iter().map(Name::to_string).collect::<Vec<_>>())
        };
        assert_eq!(look(&mut local), None);
        assert!(local.complaint.contains("there is no manifest"));
        file("web.yaml", WEB);
        file("notes.txt", "not a manifest");
        assert_eq!(look(&mut local).unwrap(), ["web"]);
        assert!(!local.is_troubled());
        // A second file that is wrong keeps the first from being changed as well.
        file("db.yaml", "kind: Service");
        file("web.yaml", &WEB.replace("web", "other"));
        assert_eq!(look(&mut local).unwrap(), ["web"]);
        assert!(local.is_troubled());
        file("db.yaml", &WEB.replace("web", "db"));
        assert_eq!(look(&mut local).unwrap(), ["db", "other"]);
        // Nothing there, or no directory: as if it were not mounted.
        fs::remove_dir_all(directory.path()).unwrap();
        assert_eq!(look(&mut local).unwrap(), ["db", "other"]);
        assert!(local.is_troubled());
    }
}
