//! Flags of the commands that make a role a service of this host, and undo that.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `install`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example: quaestor install agent --etcd http://etcd-1:2379 -- --node qa-1 --address qa-1.example.com\n\
Once more with other flags, or after this program was replaced by a newer one, it changes what differs, \
and restarts the service only for that. Workloads of an agent run on.")]
pub struct InstallArgs {
    /// Which part: agent, controller or balancer
    #[arg(value_enum, hide_possible_values = true, value_name = "ROLE")]
    pub role: ServiceRole,
    /// What that part is started with, after `--`; its own --help lists it
    #[arg(last = true, value_name = "FLAGS")]
    pub flags: Vec<String>,
    /// Only print the unit
    #[arg(long)]
    pub dry_run: bool,
    /// Where the unit goes.
    #[command(flatten)]
    pub place: UnitPlace,
}

/// Arguments of `uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Which part: agent, controller or balancer
    #[arg(value_enum, hide_possible_values = true, value_name = "ROLE")]
    pub role: ServiceRole,
    /// Where the unit is.
    #[command(flatten)]
    pub place: UnitPlace,
}

/// Where the unit is.
#[derive(Debug, Args)]
pub struct UnitPlace {
    /// As a service of your own, without root: it runs while you are logged in, or always once
    /// `loginctl enable-linger` was said
    #[arg(long)]
    pub user: bool,
    /// Only the file, in this directory: systemd is not told of it
    #[arg(long, value_name = "DIR")]
    pub unit_dir: Option<PathBuf>,
}

/// A part of a cluster that hosts run as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceRole {
    /// One per host
    Agent,
    /// Two or three
    Controller,
    /// Two or more
    Balancer,
}

impl ServiceRole {
    /// Its command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Controller => "controller",
            Self::Balancer => "balancer",
        }
    }
}
