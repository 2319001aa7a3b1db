//! Every command and flag.
//!
//! - [`apply`]: of `apply` and `diff`
//! - [`operate`]: of those that change what is wanted, or check it
//! - [`help`]: of those that help with writing
//! - [`look`]: of those that show things
//! - [`rollout`]: of those that steer rollouts, and wait
//! - [`roles`]: of the long-running parts; [`limits`]: what a balancer takes on
//! - [`xds`]: of those about stock gRPC clients
//! - [`security`]: of all of them for TLS; of those that make a cluster secure
//! - [`shared`]: of several of them
//! - [`service`]: of those that make such a part a service of this host

mod apply;
mod help;
mod limits;
mod look;
mod operate;
mod roles;
mod rollout;
mod security;
mod service;
mod shared;
mod xds;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::Name;

pub use apply::{ApplyArgs, DiffArgs};
pub use help::{CompletionArgs, ExplainArgs, InitArgs};
pub use look::{
    AcquireArgs, DescribeArgs, DescribeKind, DoctorArgs, GetArgs, GetFormat, Kind, LogsArgs,
    PickArgs, TopArgs, TopView, WhyArgs, WhyNotArgs,
};
pub use operate::{
    CancelArgs, ClusterArgs, ClusterCommand, ConfigCheckArgs, ConfigCommand, Confirmation,
    DeleteArgs, DrainArgs, ImportArgs, LabelArgs, NodesArgs, Platform, RestartArgs, ValidateArgs,
};
pub use roles::{AgentArgs, BalancerArgs, ControllerArgs, DemoWorkerArgs, DevArgs};
pub use rollout::{
    HistoryArgs, PauseArgs, RolloutCommand, ScaleArgs, StatusArgs, UndoArgs, WaitArgs, WaitFor,
};
pub use security::{
    EtcdCommand, EtcdConfigArgs, Owner, PkiCommand, PkiInitArgs, PkiIssueArgs, RbacArgs, TlsArgs,
};
pub use service::{InstallArgs, ServiceRole, UninstallArgs, UnitPlace};
pub use shared::{HttpArgs, OutputArgs, OutputFormat};
pub use xds::{XdsBootstrapArgs, XdsClientsArgs, XdsCommand};

/// What stands below the list of commands.
const TOUR: &str = "\
Manifests say what should run. `apply` stores them in etcd; a controller and an agent per host make \
it so; a balancer answers who is the least busy. `quaestor dev -f FILE` starts all of that on this \
machine, with nothing else installed.";

/// Keeps services running on a few machines, and tells clients which instance to call.
// `-h` leaves out the flags of every command that are seldom typed; `--help` has all. No doc comment here has a second
// paragraph, and possible values stand in the sentences.
#[derive(Debug, Parser)]
#[command(name = "quaestor", version, max_term_width = 100, after_help = TOUR)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// etcd's endpoints, separated by commas [default: http://127.0.0.1:2379]
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_ETCD",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "URLS"
    )]
    pub etcd: Option<Vec<String>>,
    /// Values for flags, as YAML: `quaestor config check` explains [default: /etc/quaestor/config.yaml]
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_CONFIG",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// The cluster; one etcd can hold several
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_CLUSTER",
        hide_env_values = true,
        default_value = "default",
        value_name = "NAME"
    )]
    pub cluster: Name,
    /// Who you are, as others read it when your changes and theirs collide [default: user@host]
    #[arg(
        long = "as",
        global = true,
        env = "QUAESTOR_AS",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "NAME"
    )]
    pub author: Option<String>,
    /// How log lines look: human or json; RUST_LOG says how many there are
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_LOG_FORMAT",
        hide_env_values = true,
        hide_short_help = true,
        value_enum,
        hide_possible_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Where traces of picks and tickets are sent by OTLP over gRPC, as in http://otel:4317; only programs that were
    /// built with the feature otel do that [default: nowhere]
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_OTLP_ENDPOINT",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<String>,
    /// For TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make manifests the desired state
    Apply(ApplyArgs),
    /// Show what `apply` would change, and what of that restarts instances
    Diff(DiffArgs),
    /// Give nodes no new instances
    Cordon(NodesArgs),
    /// Let nodes take new instances again
    Uncordon(NodesArgs),
    /// Move all instances of a node to others, and give it no new ones
    Drain(DrainArgs),
    /// Set or take away labels of a node
    Label(LabelArgs),
    /// Show the cluster as a whole, or confirm what waits for it
    Cluster(ClusterArgs),
    /// Delete services: their instances are stopped; `delete node NAME` forgets a node that is gone for good
    Delete(DeleteArgs),
    /// Give running instances new processes, one after the other
    Restart(RestartArgs),
    /// Look after rollouts: status, history, undo, pause, resume
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Change how many instances of a service are wanted
    Scale(ScaleArgs),
    /// Wait until services are ready, deleted, or in a condition
    Wait(WaitArgs),
    /// Show services, instances, nodes, endpoints or events
    Get(GetArgs),
    /// Look at the cluster as it is and changes: load, picks, events; restart, drain, follow logs
    Top(TopArgs),
    /// Show all there is to know of one service, instance or node
    Describe(DescribeArgs),
    /// Say why a service, instance or node is as it is, and what can be done about it
    Why(WhyArgs),
    /// Say why a service or instance is not on a node
    WhyNot(WhyNotArgs),
    /// Check what a cluster stands on: etcd, agents, controllers, clocks, certificates, this host
    Doctor(DoctorArgs),
    /// Show what instances print
    Logs(LogsArgs),
    /// Ask a balancer for the least busy instances of a service: host:port, one per line
    Pick(PickArgs),
    /// Wait for an instance of an exclusive service, and have it alone while a command runs
    Acquire(AcquireArgs),
    /// Cancel the running requests of a user, on every instance of a service
    Cancel(CancelArgs),
    /// Serve stock gRPC clients, which find services by xDS: bootstrap, clients
    #[command(subcommand)]
    Xds(XdsCommand),
    /// Check manifests without a store
    Validate(ValidateArgs),
    /// Print manifests that do what files of quaestor-mini-cluster say
    Import(ImportArgs),
    /// Look at the configuration file of this host
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the JSON Schema of manifests, for editors
    Schema,
    /// Say what a field of a manifest means
    Explain(ExplainArgs),
    /// Print a first manifest for a command: `quaestor init NAME -- COMMAND...`
    Init(InitArgs),
    /// Print what a shell needs to complete what is typed, names in the cluster too
    Completion(CompletionArgs),
    /// Run a whole cluster in this process, for development
    Dev(DevArgs),
    /// Run the agent of this host
    Agent(AgentArgs),
    /// Run a controller; of several, one leads
    Controller(ControllerArgs),
    /// Run a balancer
    Balancer(BalancerArgs),
    /// Say what the exit codes of commands mean
    ExitCodes,
    /// Make certificates for a small cluster: an authority of its own, and what it issues
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Write what an etcd for the cluster needs
    #[command(subcommand)]
    Etcd(EtcdCommand),
    /// Print the commands by which etcd gives each part of the cluster the rights it needs, and no others
    Rbac(RbacArgs),
    /// Make an agent, controller or balancer a service of this host, run by systemd
    Install(InstallArgs),
    /// Undo what `install` did
    Uninstall(UninstallArgs),
    /// Run a worker to try things with
    DemoWorker(DemoWorkerArgs),
}

impl Command {
    /// What it is called as a part of a cluster that hosts run as a service of theirs; none: it is no such part.
    pub fn service(&self) -> Option<&'static str> {
        match self {
            Self::Agent(_) => Some(ServiceRole::Agent.name()),
            Self::Controller(_) => Some(ServiceRole::Controller.name()),
            Self::Balancer(_) => Some(ServiceRole::Balancer.name()),
            _ => None,
        }
    }

    /// What it is called where it tells of itself.
    #[cfg(feature = "otel")]
    pub fn role(&self) -> &'static str {
        match self {
            Self::Dev(_) => "dev",
            Self::Agent(_) => "agent",
            Self::Controller(_) => "controller",
            Self::Balancer(_) => "balancer",
            _ => "command",
        }
    }

    /// Whether it runs until it is told to stop.
    pub fn is_role(&self) -> bool {
        matches!(
            self,
            Self::Dev(_)
                | Self::Agent(_)
                | Self::Controller(_)
                | Self::Balancer(_)
                | Self::DemoWorker(_)
        )
    }
}
