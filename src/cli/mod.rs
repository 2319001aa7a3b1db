//! The command line: parse, resolve, do, print.
//!
//! - [`args`]: every command and flag; [`brief`]: which of them the help of a command tells
//! - [`apply`], [`diff`], [`prune`], [`delete`], [`restart`], [`get`], [`describe`], [`why`], [`logs`], [`pick`], [`import`],
//!   [`validate`], [`rollout`], [`wait`], [`acquire`], [`cancel`], [`xds`]: the user's
//!   commands
//! - [`top`]: the cluster on a terminal, live
//! - [`explain`], [`init`], [`completion`]: help with manifests, and with typing
//! - [`events`]: what happened, for `get` and `describe`
//! - [`config`]: what a host's file says of their flags
//! - [`security`]: how others are reached, and let in; [`pki`], [`members`], [`rbac`]: what that takes
//! - [`nodes`]: what operators do to nodes, and the cluster as a whole
//! - [`roles`], [`balancer`]: the long-running parts, one process each; [`site`]: what they serve by HTTP
//! - [`dev`]: all of them in one process
//! - [`install`]: one of them as a service of this host
//! - [`doctor`]: whether what all that stands on is in order
//! - [`telemetry`]: logs and traces
//! - [`files`], [`output`]: reading manifests, printing; [`progress`]: what is told while one waits; [`exit`]: what exit codes mean;
//!   [`guess`]: what may have been meant by a wrong name

mod acquire;
pub mod args;

mod apply;
mod balancer;
mod brief;
mod cancel;
mod completion;
mod config;
mod delete;
mod describe;
mod dev;
mod diff;
mod doctor;
mod events;
mod exit;
mod explain;
mod files;
mod get;
mod guess;
mod import;
mod init;
mod install;
mod logs;
mod members;
mod nodes;
mod output;
mod pick;
mod pki;
mod progress;
mod prune;
mod rbac;
mod restart;
mod roles;
mod rollout;
mod security;
mod site;
mod telemetry;
mod top;
mod validate;
mod wait;
mod why;
mod xds;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, parser::ValueSource};
use tokio::runtime::{Builder, Runtime};

use crate::{
    host::{Host, SystemClock},
    model::manifest::Diagnostics,
    operator::Operator,
    process,
    store::Store,
};
use args::{Cli, Command, ConfigCommand, EtcdCommand, Global, TlsArgs};
use output::BAD;
use security::{Security, endpoints};

/// Where the store is when nobody says otherwise.
const DEFAULT_STORE: &str = "http://127.0.0.1:2379";

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if completion::answer(&arguments) {
        return ExitCode::SUCCESS;
    }
    let outcome = parse(&arguments).and_then(|cli| {
        if let Some(name) = cli.command.service() {
            let file = format!("logs/quaestor-{name}.log");
            let file = process::configuration_home().join(file);
            process::keep_log(&file).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let runtime = runtime(&cli)?;
        let telemetry = {
            let _within = runtime.enter();
            telemetry::begin(&cli)?
        };
        let is_named = cli.global.etcd.is_some();
        let global = cli.global.clone();
        let outcome = runtime.block_on(async {
            match run(cli).await {
                Ok(code) => Ok(code),
                Err(error) => Err(guess::completed(error, &global, &Host::system()).await),
            }
        });
        let outcome = outcome.map_err(|error| exit::with_remedy(error, is_named));
        // What it has to send goes over the runtime.
        telemetry.end();
        // A read of standard input may still block a thread of the runtime; nobody waits for it.
        runtime.shutdown_background();
        outcome
    });
    process::ended(outcome.is_ok());
    outcome.unwrap_or_else(|error| {
        complain(&error);
        exit::code(&error)
    })
}

/// Says what went wrong.
fn complain(error: &anyhow::Error) {
    match error.downcast_ref::<Diagnostics>() {
        // They say of each what is wrong and where.
        Some(diagnostics) => output::note(diagnostics.styled()),
        None => output::note(format_args!("{BAD}error:{BAD:#} {error:#}")),
    }
}

/// What the process was started with, and what the host's configuration file adds.
fn parse(arguments: &[OsString]) -> anyhow::Result<Cli> {
    let command = brief::brief(config::layered(Cli::command(), arguments)?);
    let matches = command.get_matches_from(arguments);
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let chosen = matches
        .subcommand()
        .and_then(|(_, flags)| flags.value_source("etcd"));
    if matches!(cli.command, Command::Dev(_)) && chosen != Some(ValueSource::CommandLine) {
        // It names the cluster that one works with. What is being tried out must not end up there.
        if chosen == Some(ValueSource::EnvVariable) {
            output::note(
                "QUAESTOR_ETCD is not used by `dev`; to run on that store, name it with --etcd",
            );
        }
        cli.global.etcd = None;
        cli.global.tls = TlsArgs::default();
    }
    Ok(cli)
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    let mut host = Host::system();
    if let Some(uptime) = process::uptime() {
        host.clock = Arc::new(SystemClock::since(uptime));
    }
    if command.service().is_some()
        && let Some(manager) = process::manager()
    {
        host.manager = manager;
    }
    match command {
        Command::Apply(args) => apply::run(&operator(&global, &host)?, &host, args).await,
        Command::Diff(args) => Ok(diff::run(operator(&global, &host), args).await),
        Command::Delete(args) => delete::run(&operator(&global, &host)?, &host, args).await,
        Command::Cordon(args) => nodes::cordon(&operator(&global, &host)?, args, true).await,
        Command::Uncordon(args) => nodes::cordon(&operator(&global, &host)?, args, false).await,
        Command::Drain(args) => nodes::drain(&operator(&global, &host)?, &host, args).await,
        Command::Label(args) => nodes::label(&operator(&global, &host)?, args).await,
        Command::Cluster(args) => nodes::cluster(&operator(&global, &host)?, &host, args).await,
        Command::Restart(args) => restart::run(&operator(&global, &host)?, &host, args).await,
        Command::Rollout(command) => rollout::run(&operator(&global, &host)?, &host, command).await,
        Command::Scale(args) => rollout::scale(&operator(&global, &host)?, &host, args).await,
        Command::Wait(args) => wait::run(&operator(&global, &host)?, &host, args).await,
        Command::Get(args) => get::run(&operator(&global, &host)?, &host, args).await,
        Command::Top(args) => top::run(&global, host, args).await,
        Command::Describe(args) => describe::run(&operator(&global, &host)?, &host, args).await,
        Command::Why(args) => why::run(&operator(&global, &host)?, &host, args).await,
        Command::WhyNot(args) => why::not(&operator(&global, &host)?, &host, args).await,
        Command::Doctor(args) => doctor::run(&global, &host, args).await,
        Command::ExitCodes => exit::run(),
        Command::Logs(args) => {
            let security = Security::read(&global, &host)?;
            let store = security.store(endpoints(&global), &host)?;
            let operator = Operator::new(store, &global.cluster);
            let network = security.network(&host);
            logs::run(&operator, &Host { network, ..host }, args).await
        }
        Command::Pick(args) => {
            let network = Security::read(&global, &host)?.network(&host);
            pick::run(network, args).await
        }
        Command::Acquire(args) => {
            let network = Security::read(&global, &host)?.network(&host);
            acquire::run(&host, network, args).await
        }
        Command::Cancel(args) => cancel::run(&operator(&global, &host)?, &host, args).await,
        Command::Xds(command) => {
            let operator = operator(&global, &host)?;
            host.network = Security::read(&global, &host)?.network(&host);
            xds::run(&global, &operator, &host, command).await
        }
        Command::Validate(args) => validate::run(args),
        Command::Import(args) => import::run(args),
        Command::Config(ConfigCommand::Check(args)) => {
            config::check(args.file.or(global.config), &host)
        }
        Command::Schema => validate::schema(),
        Command::Explain(args) => explain::run(args),
        Command::Init(args) => init::run(args),
        Command::Completion(args) => completion::run(args),
        Command::Dev(args) => dev::run(&global, host, args).await,
        Command::Agent(args) => roles::agent(&global, host, args).await,
        Command::Controller(args) => roles::controller(&global, host, args).await,
        Command::Balancer(args) => balancer::run(&global, host, args).await,
        Command::Pki(command) => pki::run(&host, command),
        Command::Etcd(EtcdCommand::Config(args)) => members::run(&global, &host, args),
        Command::Rbac(args) => rbac::run(&global, &args),
        Command::Install(args) => install::install(&global, &host, args).await,
        Command::Uninstall(args) => install::uninstall(&host, args).await,
        Command::DemoWorker(args) => roles::demo_worker(host, args).await,
    }
}

/// The runtime that suits the command: threads for what serves many, none for what runs and ends.
fn runtime(cli: &Cli) -> anyhow::Result<Runtime> {
    let mut builder = match cli.command {
        Command::Dev(_) | Command::Balancer(_) => Builder::new_multi_thread(),
        // They are sent while everything else has ended.
        _ if cli.global.otlp_endpoint.is_some() => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    builder
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn store(global: &Global, host: &Host) -> anyhow::Result<Store> {
    Security::read(global, host)?.store(endpoints(global), host)
}

fn operator(global: &Global, host: &Host) -> anyhow::Result<Operator> {
    let operator = Operator::new(store(global, host)?, &global.cluster);
    Ok(operator.named(author(global, host)))
}

/// Who runs this command, as others read it.
fn author(global: &Global, host: &Host) -> String {
    let named = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|key| std::env::var(key).ok());
    let user = || named.unwrap_or_else(|| format!("user-{}", process::identity::own().0));
    let local = || format!("{}@{}", user(), roles::host_name(host));
    global.author.clone().unwrap_or_else(local)
}
