//! Reading manifests that a running role goes by, from files and directories.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::Disk;
use crate::model::manifest::{self, Source};

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system does not give it.
    #[error("`{}` cannot be read: {cause}", path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// There is neither a file nor a directory.
    #[error("there is no file or directory `{}`", .0.display())]
    Missing(PathBuf),
    /// It is something else than a manifest.
    #[error("`{}` is not a text in UTF-8", .0.display())]
    NoText(PathBuf),
    /// As a directory looks whose file system is not mounted.
    #[error("there is no manifest (*.yaml, *.yml, *.json) in `{}`", .0.display())]
    Empty(PathBuf),
}

/// The texts of `path`: a file, or all manifests of a directory, sorted by name.
///
/// # Errors
/// When any of it cannot be read: all of it is wanted, or nothing.
pub fn read_manifests(disk: &dyn Disk, path: &Path) -> Result<Vec<Source>, Unreadable> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |cause| Unreadable::Refused { path, cause }
    };
    let in_directory = match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => None,
        listed => Some(listed.map_err(refused(path))?),
    };
    let mut sources = Vec::new();
    let Some(files) = in_directory else {
        let content = disk.read(path).map_err(refused(path))?;
        let content = content.ok_or_else(|| Unreadable::Missing(path.to_owned()))?;
        return Ok(vec![source(path, content)?]);
    };
    for file in files.iter().filter(|file| manifest::is_named_so(file)) {
        // One that went away since is not there: the next look finds out.
        if let Some(content) = disk.read(file).map_err(refused(file))? {
            sources.push(source(file, content)?);
        }
    }
    if !sources.is_empty() {
        return Ok(sources);
    }
    // A directory that there is not looks empty, but nothing can be read there.
    match disk.read(path) {
        Ok(None) => Err(Unreadable::Missing(path.to_owned())),
        _ => Err(Unreadable::Empty(path.to_owned())),
    }
}

fn source(path: &Path, content: Vec<u8>) -> Result<Source, Unreadable> {
    Ok(Source {
        name: path.display().to_string(),
        text: String::from_utf8(content).map_err(|_| Unreadable::NoText(path.to_owned()))?,
    })
}
