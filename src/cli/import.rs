//! `quaestor import`: the files of quaestor-mini-cluster as manifests.

use std::process::ExitCode;

use super::{
    args::ImportArgs,
    files,
    output::{note, say},
};
use crate::model::legacy::{self, Wanted};

pub(super) fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let wanted = if args.store {
        Wanted::Store
    } else {
        Wanted::Services
    };
    let imported = legacy::import(&files::sources(&args.files)?, wanted)?;
    for line in &imported.notes {
        note(format_args!("note: {line}"));
    }
    if imported.manifests.is_empty() {
        note("note: there is nothing in it that would be a manifest");
    } else {
        say(imported.manifests.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
