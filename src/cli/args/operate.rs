//! What the commands take that change what is wanted, or check it; `apply` and `diff` have theirs beside this.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::model::{Name, quantity::Period};

/// Arguments of `cordon` and `uncordon`.
#[derive(Debug, Args)]
pub struct NodesArgs {
    /// Nodes
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<Name>,
}

/// What stands below the flags of `drain`.
const DRAIN: &str = "\
Examples:
    quaestor drain qa-1 && ssh qa-1 reboot   # `quaestor uncordon qa-1` ends it";

/// Arguments of `drain`.
#[derive(Debug, Args)]
#[command(after_help = DRAIN)]
pub struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub node: Name,
    /// How long to wait until nothing is left on it; 0s does not wait
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub timeout: Period,
}

/// What stands below the flags of `label`.
const LABEL: &str = "\
Examples:
    quaestor label qa-1 pool=qa rack-       # sets pool, takes rack away";

/// Arguments of `label`.
#[derive(Debug, Args)]
#[command(after_help = LABEL)]
pub struct LabelArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub node: Name,
    /// Labels to set (KEY=VALUE) or to take away (KEY-)
    #[arg(value_name = "KEY=VALUE|KEY-", required = true, value_parser = label_change)]
    pub labels: Vec<(String, Option<String>)>,
}

/// Arguments of `cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// What can be done to a cluster as a whole.
#[derive(Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// Show who leads, and what waits for a word of yours
    Status,
    /// Confirm what the controllers do not do without a word of yours
    Confirm {
        /// restore: the store was restored from a backup, and is to be followed; vanished: services whose
        /// manifests are gone are to end
        #[arg(value_enum, hide_possible_values = true, value_name = "WHAT")]
        what: Confirmation,
    },
}

/// What waits for a word of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Confirmation {
    /// The store was restored.
    Restore,
    /// Manifests have vanished.
    Vanished,
}

fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    let is_key = |key: &str| {
        !key.is_empty() && !key.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control())
    };
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) if is_key(key) && !value.contains(char::is_control) => {
            Ok((key.to_owned(), Some(value.to_owned())))
        }
        (None, Some(key)) if is_key(key) => Ok((key.to_owned(), None)),
        _ => Err("write key=value, as in rack=r1, or key- to take it away".to_owned()),
    }
}

/// What stands below the flags of `delete`.
const DELETE: &str = "\
Examples:
    quaestor delete worker --wait
    quaestor delete -f manifests/
    quaestor delete node qa-7";

/// Arguments of `delete`.
#[derive(Debug, Args)]
#[command(after_help = DELETE)]
pub struct DeleteArgs {
    /// Services to delete; after `node`, nodes that are gone for good
    #[arg(value_name = "SERVICE", required_unless_present = "files")]
    pub names: Vec<Name>,
    /// Delete the services of these manifests
    #[arg(short, long = "file", num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Wait until nothing of them is left
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// Arguments of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// A service, or the name that clients ask for
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Whose requests
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// In which of the user's environments
    #[arg(long, value_name = "NAME")]
    pub environment: String,
    /// A file with the password that the workers want [default: what QUAESTOR_PASSWORD holds]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// How long each instance may take
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub timeout: Period,
}

/// What stands below the flags of `restart`.
const RESTART: &str = "\
Examples:
    quaestor restart worker --wait
    quaestor restart worker-0 worker-3";

/// Arguments of `restart`.
#[derive(Debug, Args)]
#[command(after_help = RESTART)]
pub struct RestartArgs {
    /// Services, or single instances as in worker-0
    #[arg(value_name = "SERVICE|INSTANCE", required = true)]
    pub targets: Vec<String>,
    /// Wait until all are ready again
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A manifest, a directory of manifests (*.yaml, *.yml, *.json), or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "more")]
    pub files: Vec<PathBuf>,
    /// The same
    #[arg(short = 'f', long = "file", id = "more", num_args = 1.., value_name = "FILE")]
    pub more: Vec<PathBuf>,
    /// The system of the nodes it is for: linux, or windows, where some fields mean nothing, which is an error then
    #[arg(
        long,
        value_enum,
        default_value = "linux",
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "SYSTEM"
    )]
    pub platform: Platform,
}

/// Systems that nodes can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Platform {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// quaestor.cluster.config.yml or quaestor.loadbalancer.config.yml, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print the manifest of etcd alone, for the directory of `agent --manifests`
    #[arg(long)]
    pub store: bool,
}

/// What can be done with the configuration file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether it can be used, and what it says
    Check(ConfigCheckArgs),
}

/// What stands below the help of `config check`.
const CONFIG: &str = "\
A key is the long name of a flag: above the sections those of every command, in a section those of that \
command, or of every command for that one alone. A flag overrides the environment, which overrides the file.

    etcd: [http://etcd-1:2379, http://etcd-2:2379]
    agent:
      node: qa-1
      label: [pool=qa]";

/// Arguments of `config check`.
#[derive(Debug, Args)]
#[command(after_help = CONFIG)]
pub struct ConfigCheckArgs {
    /// The file [default: that of --config, else /etc/quaestor/config.yaml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}
