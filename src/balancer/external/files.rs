//! Services in manifest files, followed: what is wrong or cannot be read changes nothing.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::Wanted;
use crate::{
    host::{Disk, Unreadable, read_manifests},
    model::{
        Moment, Name,
        manifest::{self, Diagnostics, Manifest, Source},
        state::Endpoint,
    },
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why files are not taken as they are.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// They cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// They are wrong, or hold what a balancer cannot serve by itself.
    #[error(transparent)]
    Wrong(#[from] Diagnostics),
}

/// Files of `external` services, as they were last taken.
pub struct Manifests {
    paths: Vec<PathBuf>,
    sources: Vec<Source>,
    wanted: BTreeMap<Name, Wanted>,
    /// What is wrong with them, as it was last said; empty: nothing.
    complaint: String,
    next_look: Moment,
}

impl Manifests {
    /// Takes the files and directories at `paths`.
    ///
    /// # Errors
    /// When they cannot be taken: there is nothing yet to go on with.
    pub fn take(paths: Vec<PathBuf>, disk: &dyn Disk, now: Moment) -> Result<Self, Refusal> {
        let sources = sources(&paths, disk)?;
        Ok(Self {
            wanted: services(&sources)?,
            paths,
            sources,
            complaint: String::new(),
            next_look: now + LOOK,
        })
    }

    /// The services that are in force.
    pub fn wanted(&self) -> &BTreeMap<Name, Wanted> {
        &self.wanted
    }

    /// When the files are to be looked at again.
    pub fn next_look(&self) -> Moment {
        self.next_look
    }

    /// What is wrong with the files as they are now; empty: nothing.
    pub fn complaint(&self) -> &str {
        &self.complaint
    }

    /// Looks at the files. Returns whether other services are in force now.
    pub fn look(&mut self, disk: &dyn Disk, now: Moment) -> bool {
        self.next_look = now + LOOK;
        let (changed, complaint) = match self.read(disk) {
            Ok(changed) => (changed, String::new()),
            Err(refusal) => (false, refusal.to_string()),
        };
        if complaint.is_empty() && !self.complaint.is_empty() {
            tracing::info!("the files of --static are in order again");
        } else if complaint != self.complaint {
            tracing::error!(
                "the files of --static are not taken; what was taken before stays in force: {complaint}"
            );
        }
        self.complaint = complaint;
        changed
    }

    fn read(&mut self, disk: &dyn Disk) -> Result<bool, Refusal> {
        let sources = sources(&self.paths, disk)?;
        if sources == self.sources {
            return Ok(false);
        }
        let wanted = services(&sources)?;
        self.sources = sources;
        if wanted == self.wanted {
            return Ok(false);
        }
        self.wanted = wanted;
        let services: Vec<_> = self.wanted.keys().map(Name::as_str).collect();
        tracing::info!(
            services = services.join(", "),
            "the changed files of --static are taken"
        );
        Ok(true)
    }
}

fn sources(paths: &[PathBuf], disk: &dyn Disk) -> Result<Vec<Source>, Unreadable> {
    let mut sources = Vec::new();
    for path in paths {
        sources.extend(read_manifests(disk, path)?);
    }
    Ok(sources)
}

fn services(sources: &[Source]) -> Result<BTreeMap<Name, Wanted>, Diagnostics> {
    let manifests = manifest::read_external(sources)?;
    let services = manifests.into_iter().map(|manifest| {
        let Manifest { metadata, spec, .. } = manifest;
        let names = spec.discovery_names(&metadata.name);
        let endpoints = spec.external.iter();
        let wanted = Wanted {
            names: names.into_iter().map(str::to_owned).collect(),
            endpoints: endpoints.filter_map(|text| Endpoint::parse(text)).collect(),
            asked_names: spec.service_names,
            published: spec.published,
            balance: spec.balance,
            health: spec.health,
            load: spec.load,
        };
        (metadata.name, wanted)
    });
    Ok(services.collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::LocalDisk;

    fn manifest(name: &str, spec: &str) -> String {
        format!(
            "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
        )
    }

    fn take(text: &str) -> Result<Manifests, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("services.yaml");
        fs::write(&file, text).unwrap();
        Manifests::take(vec![file], &LocalDisk, Moment::default())
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn services_of_agents_and_tickets_are_refused_in_their_place() {
        let external = "{external: ['h:1', '[::1]:2'], serviceNames: [A, B]}";
        let taken = take(&manifest("a", external)).unwrap();
        let wanted = taken.wanted().values().next().unwrap();
        assert_eq!(wanted.names, ["A", "B"]);
        let places: Vec<_> = wanted.endpoints.iter().map(Endpoint::to_string).collect();
        assert_eq!(places, ["[::1]:2", "h:1"]);

        let text = manifest("a", external)
            + &manifest("b", "{command: [x]}")
            + &manifest("c", "{external: ['h:1'], balance: {exclusive: true}}");
        let refused = take(&text).err().unwrap();
        for part in [
            "services.yaml:9:8",
            "`b` is run by agents",
            "services.yaml:14:",
            "tickets are given by agents",
            "2 errors",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }

    #[test]
    fn a_broken_new_version_keeps_the_old_one_and_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("services.yaml");
        let write = |text: &str| fs::write(&file, text).unwrap();
        write(&manifest("a", "{external: ['h:1']}"));
        let now = Moment::default();
        let mut files = Manifests::take(vec![file.clone()], &LocalDisk, now).unwrap();
        assert!(!files.look(&LocalDisk, now));

        write(&manifest("a", "{external: ['h']}"));
        assert!(!files.look(&LocalDisk, now));
        assert!(files.complaint().contains("is not host:port"));
        fs::remove_file(&file).unwrap();
        assert!(!files.look(&LocalDisk, now));
        assert!(files.complaint().contains("there is no file or directory"));
        assert_eq!(files.wanted().len(), 1);

        write(&manifest("b", "{external: ['h:1']}"));
        assert!(files.look(&LocalDisk, now));
        assert_eq!(files.complaint(), "");
        assert_eq!(files.wanted().keys().next().unwrap().as_str(), "b");
    }
}
