//! What every command takes for TLS, and what makes a cluster of one's own secure.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::super::members::Member;
use crate::model::quantity::Period;

/// Whom we trust, and who we are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of every command, for TLS")]
pub struct TlsArgs {
    /// The authorities of the cluster's certificates, as PEM: from then on its parts speak TLS alone
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_TLS_CA",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub tls_ca: Option<PathBuf>,
    /// This program's certificate, as `quaestor pki issue` makes it; roles need one
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_TLS_CERT",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_TLS_KEY",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,
    /// The authorities of etcd's certificates, where --etcd begins with https [default: that of --tls-ca]
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_ETCD_CA",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate to show to etcd [default: that of --tls-cert, unless --etcd-ca is given]
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_ETCD_CERT",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub etcd_cert: Option<PathBuf>,
    /// Its key
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_ETCD_KEY",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub etcd_key: Option<PathBuf>,
    /// The user to be for etcd, where it does not go by certificates
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_ETCD_USER",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "NAME"
    )]
    pub etcd_user: Option<String>,
    /// A file with that user's password [default: what QUAESTOR_ETCD_PASSWORD holds]
    #[arg(
        long,
        global = true,
        env = "QUAESTOR_ETCD_PASSWORD_FILE",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "FILE"
    )]
    pub etcd_password_file: Option<PathBuf>,
}

/// What can be done about certificates.
#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Make an authority: whoever has its key can let anybody in
    Init(PkiInitArgs),
    /// Issue a certificate
    Issue(PkiIssueArgs),
}

/// Arguments of `pki init`.
#[derive(Debug, Args)]
pub struct PkiInitArgs {
    /// Where to write ca.crt and ca.key
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub dir: PathBuf,
    /// What it is called
    #[arg(long, default_value = "quaestor", value_name = "NAME")]
    pub name: String,
    /// How long it lasts
    #[arg(long, default_value = "3650d", value_name = "DURATION")]
    pub lasts: Period,
}

/// What stands below the help of `pki issue`.
const ISSUE: &str = "\
The common name becomes ROLE.NAME: by it parts of the cluster know each other, and etcd its users.

    quaestor pki issue agent qa-1 --san qa-1.example.com
    quaestor pki issue operator ann
    quaestor pki issue client files --san files.example.com    # serves artifacts, for one";

/// The roles of which there may be several.
const NAMED: [&str; 6] = [
    "agent",
    "controller",
    "balancer",
    "operator",
    "client",
    "etcd",
];

/// Arguments of `pki issue`.
#[derive(Debug, Args)]
#[command(after_help = ISSUE)]
pub struct PkiIssueArgs {
    /// For whom: agent, controller, balancer, operator, client, etcd (a member), or root (etcd's own operator)
    #[arg(value_enum, hide_possible_values = true, value_name = "ROLE")]
    pub role: Owner,
    /// Its name: an agent's is that of its node
    #[arg(value_name = "NAME", required_if_eq_any = NAMED.map(|role| ("role", role)))]
    pub name: Option<String>,
    /// A name or address at which others reach it; may be given again. Agents, controllers, balancers and members of
    /// etcd are always reached as localhost, 127.0.0.1 and ::1
    #[arg(long = "san", value_name = "HOST")]
    pub sans: Vec<String>,
    /// Where the authority is
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to write ROLE.NAME.crt and ROLE.NAME.key [default: where the authority is]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How long it lasts
    #[arg(long, default_value = "365d", value_name = "DURATION")]
    pub lasts: Period,
    /// Replace a certificate that is there, and its key: who uses them takes the new ones by itself
    #[arg(long)]
    pub renew: bool,
}

/// Whose a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Owner {
    /// The agent of a host
    Agent,
    /// A controller
    Controller,
    /// A balancer
    Balancer,
    /// Somebody who says what should run
    Operator,
    /// Somebody who uses what runs
    Client,
    /// A member of etcd
    Etcd,
    /// The one who may do everything in etcd
    Root,
}

/// What can be done about etcd.
#[derive(Debug, Subcommand)]
pub enum EtcdCommand {
    /// Write what the members of an etcd need: certificates, etcd.conf.yml and a unit for systemd
    Config(EtcdConfigArgs),
}

/// Arguments of `etcd config`.
#[derive(Debug, Args)]
pub struct EtcdConfigArgs {
    /// The members, separated by commas: NAME, or NAME=HOST[:CLIENT-PORT[:PEER-PORT]] where they are reached otherwise
    #[arg(long, required = true, value_delimiter = ',', value_name = "MEMBERS")]
    pub members: Vec<Member>,
    /// Where the authority is, as `quaestor pki init` made it
    #[arg(long, default_value = "pki", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where to write a directory for each member
    #[arg(long, default_value = "etcd", value_name = "DIR")]
    pub out: PathBuf,
    /// Where that directory's content will lie on the member's host; {member} stands for its name
    #[arg(long, default_value = "/etc/etcd", value_name = "DIR")]
    pub install_dir: String,
    /// Where a member keeps its data; {member} stands for its name
    #[arg(long, default_value = "/var/lib/etcd", value_name = "DIR")]
    pub data_dir: String,
    /// How large the data may become
    #[arg(long, default_value = "2GiB", value_name = "SIZE")]
    pub quota: crate::model::quantity::Size,
    /// How long the certificates last
    #[arg(long, default_value = "365d", value_name = "DURATION")]
    pub lasts: Period,
}

/// What stands below the help of `rbac`.
const RBAC: &str = "\
USERS are the common names of certificates, as `quaestor pki issue` makes them:

    quaestor rbac controller.c1 agent.qa-1 agent.qa-2 balancer.b1 operator.ann | sh

etcdctl itself finds etcd, and who you are, by ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY.";

/// Arguments of `rbac`.
#[derive(Debug, Args)]
#[command(after_help = RBAC)]
pub struct RbacArgs {
    /// Who is to have rights: controller.NAME, agent.NODE, balancer.NAME or operator.NAME
    #[arg(value_name = "USER")]
    pub users: Vec<String>,
    /// Users have passwords, which etcdctl asks for, instead of certificates
    #[arg(long)]
    pub passwords: bool,
}
