//! Every command and flag.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{Name, quantity::Period};

/// What stands below the list of commands.
const TOUR: &str = "\
Manifests say what should run. `apply` stores them in etcd; a controller and an agent per host make \
it so; a balancer answers who is the least busy. `quaestor dev -f FILE` starts all of that on this \
machine, with nothing else installed.";

/// Keeps services running on a few machines, and tells clients which instance to call.
// One form of help for -h and --help: no doc comment here has a second paragraph, and possible
// values stand in the sentences.
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
#[derive(Debug, Args)]
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
    /// How log lines look: human or json; RUST_LOG says how many there are
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_LOG_FORMAT",
        hide_env_values = true,
        value_enum,
        hide_possible_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
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
    /// Delete services: their instances are stopped
    Delete(DeleteArgs),
    /// Give running instances new processes, one after the other
    Restart(RestartArgs),
    /// Show services, instances, nodes or endpoints
    Get(GetArgs),
    /// Show all there is to know of one service, instance or node
    Describe(DescribeArgs),
    /// Show what instances print
    Logs(LogsArgs),
    /// Ask a balancer for the least busy instances of a service: host:port, one per line
    Pick(PickArgs),
    /// Check manifests without a store
    Validate(ValidateArgs),
    /// Print the JSON Schema of manifests, for editors
    Schema,
    /// Run a whole cluster in this process, for development
    Dev(DevArgs),
    /// Run the agent of this host
    Agent(AgentArgs),
    /// Run a controller; of several, one leads
    Controller,
    /// Run a balancer
    Balancer(BalancerArgs),
    /// Run a worker to try things with
    DemoWorker(DemoWorkerArgs),
}

impl Command {
    /// Whether it runs until it is told to stop.
    pub fn is_role(&self) -> bool {
        matches!(
            self,
            Self::Dev(_)
                | Self::Agent(_)
                | Self::Controller
                | Self::Balancer(_)
                | Self::DemoWorker(_)
        )
    }
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A manifest, a directory of manifests (*.yaml, *.yml, *.json), or - for standard input
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until every replica of what was applied is ready
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Period,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Services to delete
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

/// Arguments of `restart`.
#[derive(Debug, Args)]
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

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to show: services, instances, nodes or endpoints
    #[arg(value_enum, hide_possible_values = true, value_name = "KIND")]
    pub kind: Kind,
    /// Only these; for instances and endpoints the name of a service works as well
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How to show it: table, json or yaml; the latter two are always a list
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: OutputFormat,
}

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// What was applied, and how far it is
    #[value(alias = "service", alias = "svc")]
    Services,
    /// The processes
    #[value(alias = "instance")]
    Instances,
    /// The hosts
    #[value(alias = "node")]
    Nodes,
    /// Where instances are reached
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum OutputFormat {
    /// Columns, for people
    #[default]
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// What it is: a service, instance or node
    #[arg(value_enum, hide_possible_values = true, value_name = "KIND")]
    pub kind: DescribeKind,
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// What can be described.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DescribeKind {
    /// A service
    #[value(alias = "services", alias = "svc")]
    Service,
    /// An instance, as in worker-0
    #[value(alias = "instances")]
    Instance,
    /// A host
    #[value(alias = "nodes")]
    Node,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// An instance, or a service: all its instances by time, each line with the name of its instance
    #[arg(value_name = "INSTANCE|SERVICE")]
    pub target: String,
    /// Go on with new lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines that are at most this old
    #[arg(long, value_name = "DURATION")]
    pub since: Option<Period>,
    /// Only the last lines of each instance, at most so many
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
    /// The lines of the process before the last start
    #[arg(long, conflicts_with = "follow")]
    pub previous: bool,
}

/// Arguments of `pick`.
#[derive(Debug, Args)]
pub struct PickArgs {
    /// The name that clients ask for
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// How many, at most
    #[arg(short = 'n', long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub count: u16,
    /// Balancers to ask, in turn until one answers, separated by commas
    #[arg(
        long,
        env = "QUAESTOR_BALANCER",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "127.0.0.1:5150",
        value_name = "HOST:PORT"
    )]
    pub balancer: Vec<String>,
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
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Manifests to apply, now and whenever they change: files or directories
    #[arg(short, long = "file", num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the embedded store listens; with --etcd there is none
    #[arg(long, default_value = "127.0.0.1:2379", value_name = "ADDR")]
    pub store_listen: SocketAddr,
    /// Where the balancer listens
    #[arg(long, default_value = "127.0.0.1:5150", value_name = "ADDR")]
    pub balancer_listen: SocketAddr,
    /// Where the agent keeps files and logs, and what it has to know of running
    /// processes [default: quaestor/dev-<balancer's port> in /var/lib
    /// for root, else in the user's state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The name of this host in the cluster
    #[arg(
        long,
        env = "QUAESTOR_NODE",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub node: Name,
    /// Host name or address at which clients reach this host; workers are told to listen there
    #[arg(
        long,
        env = "QUAESTOR_ADDRESS",
        hide_env_values = true,
        default_value = "127.0.0.1",
        value_name = "HOST"
    )]
    pub address: String,
    /// Where the agent itself listens, for `quaestor logs`; port 0 takes a free one
    #[arg(
        long,
        env = "QUAESTOR_AGENT_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:0",
        value_name = "HOST:PORT"
    )]
    pub listen: String,
    /// A label of this host, for nodeSelector; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Where the agent keeps files and logs [default: quaestor/<cluster>/<node> in /var/lib for root,
    /// else in the user's state directory]
    #[arg(
        long,
        env = "QUAESTOR_STATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub state_dir: Option<PathBuf>,
    /// A user whose processes may run here, by name or number; may be given again [default: all]
    #[arg(long = "allow-user", value_name = "USER")]
    pub allow_users: Vec<String>,
    /// A program that may be started here, or a directory of such, by full path; may be given again [default: all]
    #[arg(long = "allow-program", value_name = "PATH")]
    pub allow_programs: Vec<PathBuf>,
}

/// Arguments of `balancer`.
#[derive(Debug, Args)]
pub struct BalancerArgs {
    /// Where it listens
    #[arg(
        long,
        env = "QUAESTOR_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:5150",
        value_name = "ADDR"
    )]
    pub listen: String,
    /// An endpoint that was just answered comes after the others for this long
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub recently_used: Period,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write key=value, as in rack=r1".to_owned()),
    }
}

/// Arguments of `demo-worker`.
#[derive(Debug, Args)]
pub struct DemoWorkerArgs {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    pub listen: String,
    /// A name that it serves; may be given again
    #[arg(long = "service-name", default_value = "Worker", value_name = "NAME")]
    pub service_names: Vec<String>,
    /// How many requests it takes at once
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub capacity: u32,
    /// Begin to listen only after this time, as a slow starter does
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub start_after: Period,
    /// From then on say NOT_SERVING
    #[arg(long, value_name = "DURATION")]
    pub unhealthy_after: Option<Period>,
    /// From then on answer nothing, with the port open, as a hung process does
    #[arg(long, value_name = "DURATION")]
    pub hang_after: Option<Period>,
    /// End by itself then, as a crash does
    #[arg(long, value_name = "DURATION")]
    pub exit_after: Option<Period>,
    /// The exit code of that end
    #[arg(long, default_value_t = 1, value_name = "CODE")]
    pub exit_code: u8,
    /// Work on when told to stop
    #[arg(long)]
    pub ignore_stop: bool,
}
