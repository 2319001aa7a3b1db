//! What the commands take that are about stock gRPC clients.

use clap::{Args, Subcommand};

use super::OutputArgs;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum XdsCommand {
    /// Print the bootstrap file for clients: the balancers that run now
    Bootstrap(XdsBootstrapArgs),
    /// Show who is connected to which balancer, and what it knows
    Clients(XdsClientsArgs),
}

/// Arguments of `xds bootstrap`.
#[derive(Debug, Args)]
pub struct XdsBootstrapArgs {
    /// What the clients that use this file call themselves, to be told apart in `xds clients` [default: the
    /// name of this host]
    #[arg(long, value_name = "TEXT")]
    pub id: Option<String>,
    /// Instead of the balancers that say where they are, those that answer here without TLS (`balancer --plain`): for
    /// clients that know none, such as grpc-js
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub plain: Vec<String>,
}

/// Arguments of `xds clients`.
#[derive(Debug, Args)]
pub struct XdsClientsArgs {
    /// How they are shown.
    #[command(flatten)]
    pub shown: OutputArgs,
}
