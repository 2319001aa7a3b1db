//! What the long-running parts take.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{limits::LimitArgs, shared::HttpArgs};
use crate::model::{Name, quantity::Period, service::Capacity};

/// What stands below the flags of `dev`.
const DEV: &str = "\
Examples:
    quaestor dev -f manifests/hello.yaml    # then, elsewhere: quaestor top";

/// Arguments of `dev`.
#[derive(Debug, Args)]
#[command(after_help = DEV)]
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
    /// Where the dashboard is, /metrics, and the balancer's HTTP/JSON [default: 127.0.0.1:5160, if that is free]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
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
    /// Where the agent itself listens, for `quaestor logs` and for balancers that ask for tickets; port 0 takes a free one
    #[arg(
        long,
        env = "QUAESTOR_AGENT_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:0",
        value_name = "HOST:PORT"
    )]
    pub listen: String,
    /// By HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
    /// A label of this host, for nodeSelector; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// What instances may request in all, where it is not all that the host has: memory=SIZE, cpu=CORES
    #[arg(long, value_name = "WHAT=AMOUNT", value_parser = capacity, value_delimiter = ',')]
    pub capacity: Vec<Capacity>,
    /// Where the agent keeps files and logs [default: quaestor/<cluster>/<node> in /var/lib for root,
    /// else in the user's state directory]
    #[arg(
        long,
        env = "QUAESTOR_STATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub state_dir: Option<PathBuf>,
    /// A directory of manifests whose services run on this host without the store, etcd itself for one
    #[arg(
        long,
        env = "QUAESTOR_MANIFESTS",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub manifests: Option<PathBuf>,
    /// A PEM file of certificates by which servers of artifacts are trusted, besides those that the host trusts
    #[arg(
        long,
        env = "QUAESTOR_ARTIFACT_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub artifact_ca: Option<PathBuf>,
    /// A user whose processes may run here, by name or number; may be given again [default: all]
    #[arg(long = "allow-user", value_name = "USER")]
    pub allow_users: Vec<String>,
    /// On Windows, a file of this host with the password of an account that manifests name by `user`; may be given again
    #[arg(long = "credential", value_name = "USER=FILE", value_parser = credential)]
    pub credentials: Vec<(String, PathBuf)>,
    /// A program that may be started here, or a directory of such, by full path; may be given again [default: all]
    #[arg(long = "allow-program", value_name = "PATH")]
    pub allow_programs: Vec<PathBuf>,
    /// A file that `fromFile` may name, or a directory of such, by full path; may be given again [default: all]
    #[arg(long = "allow-secret", value_name = "PATH")]
    pub allow_secrets: Vec<PathBuf>,
}

/// Arguments of `controller`.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// How long a node has to be away before its instances are replaced elsewhere, unless their manifest
    /// says otherwise
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub node_grace: Period,
    /// By HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
    /// A file with the token for restarts, drains and logs in the dashboard [default: nobody may restart or drain there]
    #[arg(
        long,
        env = "QUAESTOR_HTTP_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE",
        requires = "http"
    )]
    pub http_token_file: Option<PathBuf>,
    /// The certificate of an operator, with which the dashboard reads logs, restarts and drains where TLS and etcd's users
    /// do not let a controller [default: that of --tls-cert]
    #[arg(
        long,
        env = "QUAESTOR_DASHBOARD_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires = "dashboard_key"
    )]
    pub dashboard_cert: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        env = "QUAESTOR_DASHBOARD_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "dashboard_cert"
    )]
    pub dashboard_key: Option<PathBuf>,
    /// How often the leader compacts the store, so that its history does not grow for ever: what is older than this stays
    /// for as long again
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub compact_every: Period,
    /// Leave the store's history alone
    #[arg(long)]
    pub no_compaction: bool,
    /// Where to keep how far the store had come, so that a controller that starts anew notices that it was restored from
    /// a backup. Agents keep that as well [default: nowhere]
    #[arg(
        long,
        env = "QUAESTOR_STATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub state_dir: Option<PathBuf>,
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
    /// Where clients and other balancers reach it [default: where it listens, unless that is every address]
    #[arg(
        long,
        env = "QUAESTOR_ADVERTISE",
        hide_env_values = true,
        value_name = "HOST:PORT"
    )]
    pub advertise: Option<String>,
    /// By HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
    /// With --tls-ca: answer gRPC callers without a certificate as well, as HTTP/JSON always does
    #[arg(long, env = "QUAESTOR_ANONYMOUS", hide_env_values = true)]
    pub anonymous: bool,
    /// With --tls-ca: where it answers without TLS as well, for clients that know none [default: nowhere]
    #[arg(
        long,
        env = "QUAESTOR_PLAIN",
        hide_env_values = true,
        value_name = "ADDR"
    )]
    pub plain: Option<String>,
    /// Where it answers DNS as well, over UDP and TCP: SRV, A and AAAA of SERVICE.DOMAIN [default: nowhere]
    #[arg(
        long,
        env = "QUAESTOR_DNS",
        hide_env_values = true,
        value_name = "ADDR"
    )]
    pub dns: Option<String>,
    /// The domain that its DNS answers are about [default: the cluster's name]
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// How long resolvers may keep an answer, in whole seconds
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub dns_ttl: Period,
    /// A file to keep the view in: restarted while etcd is away, it answers from there
    #[arg(
        long,
        env = "QUAESTOR_VIEW_CACHE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub view_cache: Option<PathBuf>,
    /// A label of this host: clients who do not say theirs count as being where it is, for `prefer`; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Write what it answers into the registry of quaestor-mini-cluster as well, so that old balancers find it
    #[arg(long)]
    pub mirror_registry: bool,
    /// Find workers in the registry of quaestor-mini-cluster as well, and ask them itself how they are
    #[arg(long)]
    pub import_registry: bool,
    /// The scope of that registry: the SCOPE in services/SCOPE/...
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "SCOPE"
    )]
    pub registry_scope: String,
    /// Answer for the `external` services in these manifests (files or directories) and ask their endpoints itself
    /// how they are, without etcd; they are read again when they change
    #[arg(
        long = "static",
        num_args = 1..,
        value_name = "FILE",
        conflicts_with_all = ["advertise", "view_cache", "mirror_registry", "import_registry"]
    )]
    pub static_files: Vec<PathBuf>,
    /// How much it takes on
    #[command(flatten)]
    pub limits: LimitArgs,
    /// An endpoint that was just answered comes after the others for this long
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub recently_used: Period,
}

fn capacity(text: &str) -> Result<Capacity, String> {
    let mut capacity = Capacity::default();
    match text.split_once('=') {
        Some(("memory", size)) => capacity.memory = Some(size.parse().map_err(told)?),
        Some(("cpu", cores)) => capacity.cpu = Some(cores.parse().map_err(told)?),
        _ => return Err("write memory=SIZE or cpu=CORES, as in memory=8GiB,cpu=4".to_owned()),
    }
    Ok(capacity)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write key=value, as in rack=r1".to_owned()),
    }
}

/// An account, and the file with its password.
fn credential(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((user, file)) if !user.is_empty() && !file.is_empty() => {
            Ok((user.to_owned(), PathBuf::from(file)))
        }
        _ => Err(r"write the account and a file, as in CORP\qa=C:\secrets\qa.txt".to_owned()),
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
