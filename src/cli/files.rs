//! Reading manifests from files, directories and standard input.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::model::manifest::{self, Manifest, Source};

/// What a manifest's name ends in, where a directory is given.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

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
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .context("cannot read standard input")?;
            sources.push(source("<stdin>".to_owned(), text)?);
        } else if path.is_dir() {
            let files = in_directory(path)?;
            if files.is_empty() {
                bail!(
                    "{}: no manifests (*.yaml, *.yml, *.json) in this directory",
                    path.display()
                );
            }
            for file in files {
                sources.push(read(&file)?);
            }
        } else {
            sources.push(read(path)?);
        }
    }
    Ok(sources)
}

fn in_directory(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the directory {}", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        // A JSON Schema beside its manifests is not one of them.
        let is_schema = file.to_string_lossy().ends_with(".schema.json");
        if file.is_file()
            && extension.is_some_and(|found| EXTENSIONS.contains(&found))
            && !is_schema
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<Source> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    source(path.display().to_string(), text)
}

fn source(name: String, text: Vec<u8>) -> anyhow::Result<Source> {
    let text = String::from_utf8(text).with_context(|| format!("{name}: not a text in UTF-8"))?;
    Ok(Source { name, text })
}
