//! What `apply` and `diff` take.

use std::path::PathBuf;

use clap::Args;

use crate::model::quantity::Period;

/// What stands below the help of `apply`.
const APPLY: &str = "\
What others changed since you applied a service last stays where your manifest does not mention it, as the \
replicas after a `scale`. Where it says otherwise nothing of that service is changed, and you are told who \
changed what. Whom you are taken for says --as.

    quaestor apply -f manifests/ --prune -l team=qa    # and delete what is in no file any more";

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = APPLY)]
pub struct ApplyArgs {
    /// A manifest, a directory of manifests (*.yaml, *.yml, *.json), or - for standard input
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Set what the manifests say also where others have changed it
    #[arg(long)]
    pub force_conflicts: bool,
    /// Then delete the services with the labels of --selector that are in none of the manifests; they are
    /// listed, and you are asked
    #[arg(long, requires = "selector")]
    pub prune: bool,
    /// The labels that all services of the manifests have
    #[arg(
        short = 'l',
        long,
        requires = "prune",
        value_delimiter = ',',
        value_parser = super::roles::label,
        value_name = "LABEL=VALUE"
    )]
    pub selector: Vec<(String, String)>,
    /// Do not ask before --prune
    #[arg(long, requires = "prune")]
    pub yes: bool,
    /// With --yes, refuse to delete more services than this
    #[arg(long, requires = "yes", default_value_t = 2, value_name = "N")]
    pub prune_at_most: usize,
    /// Wait until every replica of what was applied is ready, and what was pruned is gone
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// What stands below the help of `diff`.
const DIFF: &str = "\
Exit code: 0 nothing differs, 1 something does, 2 it could not be found out.

What counts is what would be stored: defaults, fields that you do not mention and that others have set, and \
the order of fields are no differences. Values of variables and arguments that are called like a password, \
token or key are not shown. Colours are for terminals, and for those who did not set NO_COLOR.";

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(after_help = DIFF)]
pub struct DiffArgs {
    /// A manifest, a directory of manifests (*.yaml, *.yml, *.json), or - for standard input
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
}
