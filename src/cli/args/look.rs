//! What the commands take that show things.

use clap::{Args, ValueEnum};

use super::{
    roles::label,
    shared::{OutputArgs, OutputFormat},
};
use crate::model::{Name, quantity::Period, service::Requirement};

/// What stands below the flags of `get`.
const GET: &str = "\
Examples:
    quaestor get instances worker -w                    # of a service, live
    quaestor get instances -o wide --sort-by -restarts  # most restarts first
    quaestor get nodes -l pool=qa
    quaestor get events --for worker-0";

/// What stands below the flags of `logs`.
const LOGS: &str = "\
Examples:
    quaestor logs worker -f --tail 10       # of all its instances, and on
    quaestor logs worker-0 --previous       # of the process before this one
    quaestor logs etcd-0 --node qa-1        # by an agent's own manifests";

/// What stands below the flags of `why`.
const WHY: &str = "\
Examples:
    quaestor why worker       # a service, worker-0: an instance, qa-1: a node
    quaestor why cluster";

/// What stands below the flags of `pick`.
const PICK: &str = "\
Examples:
    quaestor pick Worker -n 2
    quaestor pick Worker --attribute dataset=eu -o yaml";

/// What stands below the flags of `acquire`.
const ACQUIRE: &str = "\
Examples:
    quaestor acquire Verification -- sh -c 'run-checks $QUAESTOR_ENDPOINT'";

/// Arguments of `get`.
#[derive(Debug, Args)]
#[command(after_help = GET)]
pub struct GetArgs {
    /// What to show: services, instances, nodes, endpoints or events
    #[arg(value_enum, hide_possible_values = true, value_name = "KIND")]
    pub kind: Kind,
    /// Only these; for instances and endpoints the name of a service works as well
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only events of this: a service and its instances, an instance, a node and what is on it, or cluster;
    /// node/NAME and so on where several are called alike
    #[arg(long = "for", value_name = "OBJECT")]
    pub object: Option<String>,
    /// Only those with these labels, as in pool=qa,tier!=test,gpu,!old; of instances and endpoints those of their
    /// service
    #[arg(short = 'l', long, value_name = "LABELS", value_delimiter = ',')]
    pub selector: Vec<Requirement>,
    /// In the order of a field that -o json shows, as in restarts or load.rate; -FIELD: the largest first
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub sort_by: Option<String>,
    /// Show it again whenever it changes: in place on a terminal, elsewhere what changed, line by line
    #[arg(short, long)]
    pub watch: bool,
    /// How to show it: table, wide, name, json or yaml; the latter two are always a list
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: GetFormat,
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
    /// What happened within the last hour, and why
    #[value(alias = "event", alias = "ev")]
    Events,
}

/// How `get` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GetFormat {
    /// Columns, for people
    #[default]
    Table,
    /// The same with all that is known, such as what instances use up
    Wide,
    /// One name per line, for other commands
    Name,
    /// For programs
    Json,
    /// For both
    Yaml,
}

impl GetFormat {
    /// Whether programs are not meant to read it.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// What is listed first: services, instances, nodes or events
    #[arg(value_enum, hide_possible_values = true, value_name = "KIND")]
    pub view: Option<TopView>,
}

/// What `top` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TopView {
    /// What was applied, and how busy it is
    #[value(alias = "service", alias = "svc")]
    Services,
    /// The processes
    #[value(alias = "instance")]
    Instances,
    /// The hosts
    #[value(alias = "node")]
    Nodes,
    /// What happened within the last hour, and why
    #[value(alias = "event", alias = "ev")]
    Events,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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

/// Arguments of `why`.
#[derive(Debug, Args)]
#[command(after_help = WHY)]
pub struct WhyArgs {
    /// A service, instance or node, or cluster for all of it; node/NAME and so on where several are called alike
    #[arg(value_name = "NAME")]
    pub object: String,
    /// How it is shown.
    #[command(flatten)]
    pub shown: OutputArgs,
}

/// Arguments of `why-not`.
#[derive(Debug, Args)]
pub struct WhyNotArgs {
    /// A service, or one of its instances
    #[arg(value_name = "SERVICE|INSTANCE")]
    pub what: String,
    /// The node that it is not on
    #[arg(value_name = "NODE")]
    pub node: Name,
    /// How it is shown.
    #[command(flatten)]
    pub shown: OutputArgs,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How it is shown.
    #[command(flatten)]
    pub shown: OutputArgs,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = LOGS)]
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
    /// What the instance printed on this node: also of one that has left it, or that its agent runs by its own manifests
    #[arg(long, value_name = "NODE")]
    pub node: Option<Name>,
}

/// Arguments of `pick`.
#[derive(Debug, Args)]
#[command(after_help = PICK)]
pub struct PickArgs {
    /// The name that clients ask for
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// How many, at most
    #[arg(short = 'n', long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub count: u16,
    /// What is known of the request, for a score or a preference; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub attribute: Vec<(String, String)>,
    /// The affinity key of the request, for the policy `hash`
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// An endpoint that must not be answered; may be given again
    #[arg(long, value_name = "HOST:PORT", value_parser = place)]
    pub exclude: Vec<(String, u16)>,
    /// Show as: table (one HOST:PORT per line), json or yaml, which also tell node, labels and load
    #[arg(
        short = 'o',
        long,
        value_enum,
        hide_possible_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: OutputFormat,
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

/// Arguments of `acquire`.
#[derive(Debug, Args)]
#[command(after_help = ACQUIRE)]
pub struct AcquireArgs {
    /// The name that clients ask for
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// How long to wait in the queue [default: for good]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Period>,
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
    /// What to run meanwhile, with QUAESTOR_ENDPOINT set to host:port; without it the instance is held until
    /// Ctrl-C
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `host:port`, an IPv6 address in brackets.
fn place(text: &str) -> Result<(String, u16), String> {
    let split = text.rsplit_once(':').and_then(|(host, port)| {
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Some((inner.unwrap_or(host).to_owned(), port.parse().ok()?))
    });
    split
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| "write host:port, as in qa-1:5201".to_owned())
}
