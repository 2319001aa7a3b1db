//! The configuration files of quaestor-mini-cluster, as manifests.
//!
//! - `fields`: a YAML map as that program reads it: keys in any case, all values as text
//! - `config`: what its two files say
//! - `command_line`: one string of arguments, taken apart as .NET does
//! - `convert`: an agent of the old kind as a manifest, with notes on what has no equivalent
//!
//! What was written is kept, also where today's defaults would be better; a note says so.

mod command_line;
mod config;
mod convert;
mod fields;

use std::fmt::Write as _;

use super::manifest::{self, Diagnostics, Source};
use config::Config;

/// What came of an import.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// Valid manifests, as YAML with the notes as comments; empty if no agent is a service.
    pub manifests: String,
    /// What has no equivalent, or means something else here.
    pub notes: Vec<String>,
}

/// Why a configuration cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not YAML.
    #[error("{name} is not YAML: {problem}")]
    Syntax {
        /// Name of the source.
        name: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// Something in it is not what the old program reads there.
    #[error("{name}: {problem}")]
    Meaning {
        /// Name of the source.
        name: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// What it asks for cannot be said in manifests.
    #[error("as manifests, this configuration would be refused; mend it and import it again\n{0}")]
    Refused(Diagnostics),
}

/// Which agents are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that Quaestor runs and serves by what lies in etcd.
    Services,
    /// Only etcd itself, for the directory of an agent that runs it.
    Store,
}

/// The manifests that do what `sources`, a cluster's or balancer's file or both, say.
///
/// # Errors
/// When a file cannot be understood, or its manifests would not be valid.
pub fn import(sources: &[Source], wanted: Wanted) -> Result<Imported, ImportError> {
    let mut documents = Vec::new();
    let mut notes = Vec::new();
    for source in sources {
        let config = Config::read(source)?;
        let converted =
            convert::config(&config, wanted).map_err(|problem| meaning(source, problem))?;
        notes.extend(converted.notes);
        documents.extend(converted.documents);
    }
    convert::make_names_unique(&mut documents);
    let mut text = String::new();
    for document in &documents {
        let separator = if text.is_empty() { "" } else { "---\n" };
        text.push_str(separator);
        for note in &document.notes {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "# {note}");
            notes.push(format!("{}: {note}", document.name));
        }
        text.push_str(&document.yaml());
    }
    let made = Source {
        name: "the manifests".to_owned(),
        text: text.clone(),
    };
    manifest::read(&[made]).map_err(ImportError::Refused)?;
    Ok(Imported {
        manifests: text,
        notes,
    })
}

fn meaning(source: &Source, problem: String) -> ImportError {
    ImportError::Meaning {
        name: source.name.clone(),
        problem,
    }
}
