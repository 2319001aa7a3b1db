//! Reading manifests from files, directories and standard input.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::output::failure;
use crate::model::manifest::{self, Manifest, Source};

/// The manifests in `paths`, checked.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong with the manifests.
pub(super) fn manifests(paths: &[PathBuf]) -> anyhow::Result<Vec<Manifest>> {
    let manifests = manifest::read(&sources(paths)?)?;
    if manifests.is_empty() {
        bail!("there is no manifest in what was given: the files are empty");
    }
    Ok(manifests)
}

/// The texts in `paths`; directories stand for the manifests in them, `-` for standard input.
pub(super) fn sources(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let (mut sources, mut unreadable) = (Vec::new(), Vec::new());
    let mut take = |read: anyhow::Result<Source>| match read {
        Ok(source) => sources.push(source),
        Err(error) => unreadable.push(format!("{error:#}")),
    };
    for path in paths {
        if path.is_dir() {
            match in_directory(path) {
                Ok(files) => files.iter().map(|file| read(file)).for_each(&mut take),
                Err(error) => take(Err(error)),
            }
        } else {
            take(read(path));
        }
    }
    if !unreadable.is_empty() {
        return Err(failure(&unreadable));
    }
    Ok(sources)
}

fn in_directory(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the directory {}", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        if file.is_file() && manifest::is_named_so(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!(
            "{}: no manifests (*.yaml, *.yml, *.json) in this directory",
            path.display()
        );
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<Source> {
    let (name, bytes) = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        ("<stdin>".to_owned(), read.map(|_| bytes))
    } else {
        (path.display().to_string(), fs::read(path))
    };
    let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name}: not a text in UTF-8"))?;
    Ok(Source { name, text })
}
