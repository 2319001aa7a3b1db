//! `quaestor validate` and `quaestor schema`: no store needed.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{
    args::{Platform, ValidateArgs},
    files,
    output::say,
};
use crate::model::manifest;

pub(super) fn run(args: ValidateArgs) -> anyhow::Result<ExitCode> {
    let paths = [args.files, args.more].concat();
    let manifests = match args.platform {
        Platform::Linux => files::manifests(&paths)?,
        Platform::Windows => manifest::read_for_windows(&files::sources(&paths)?)?,
    };
    let names: Vec<&str> = manifests
        .iter()
        .map(|manifest| manifest.metadata.name.as_str())
        .collect();
    let noun = if names.len() == 1 {
        "service"
    } else {
        "services"
    };
    say(format_args!(
        "valid: {} {noun} ({})",
        names.len(),
        names.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn schema() -> anyhow::Result<ExitCode> {
    let text =
        serde_json::to_string_pretty(&manifest::schema()).context("cannot print the schema")?;
    say(text)?;
    Ok(ExitCode::SUCCESS)
}
