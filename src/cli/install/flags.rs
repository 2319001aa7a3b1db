//! What a service is started with: checked as the role itself would, before anything is written.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, builder::Resettable, parser::ValueSource,
};

use super::super::{
    args::{Cli, Command, Global, InstallArgs, LogFormat, TlsArgs},
    config,
    output::note,
};

/// The flags of the role: those given after `--`, and what `install` itself was told of every command's. What
/// the host's configuration file says is left there.
///
/// # Errors
/// A path that means something else to a service. Flags that the role refuses end the program, as they
/// would end the role.
pub(super) fn complete(global: &Global, args: &InstallArgs) -> anyhow::Result<Vec<String>> {
    let mut flags = args.flags.clone();
    let (matches, role) = parse(args, &flags)?;
    if let (Some(file), None) = (&global.config, &role.global.config) {
        check_path("--config", file)?;
        flags.extend(["--config".to_owned(), file.display().to_string()]);
    }
    let is_given = |name: &str| {
        let flags = matches.subcommand().map(|(_, flags)| flags);
        flags.and_then(|flags| flags.value_source(name)) == Some(ValueSource::CommandLine)
    };
    // The service does not see the environment of whoever installs it.
    if let Some(etcd) = &global.etcd
        && !is_given("etcd")
        && role.global.etcd != global.etcd
    {
        flags.extend(["--etcd".to_owned(), etcd.join(",")]);
    }
    if !is_given("cluster") && role.global.cluster != global.cluster {
        flags.extend(["--cluster".to_owned(), global.cluster.to_string()]);
    }
    let (told, known) = (files(&global.tls), files(&role.global.tls));
    for ((id, flag, path), (.., of_role)) in told.into_iter().zip(known) {
        if let Some(path) = path
            && !is_given(id)
            && of_role != Some(path)
        {
            check_path(flag, path)?;
            flags.extend([flag.to_owned(), path.display().to_string()]);
        }
    }
    if let Some(user) = &global.tls.etcd_user
        && !is_given("etcd_user")
        && role.global.tls.etcd_user.as_ref() != Some(user)
    {
        flags.extend(["--etcd-user".to_owned(), user.clone()]);
    }
    if !is_given("log_format") && matches!(global.log_format, LogFormat::Json) {
        flags.extend(["--log-format".to_owned(), "json".to_owned()]);
    }
    if let Some(flag) = (flags.iter()).find(|flag| flag.contains(|c: char| c.is_control())) {
        bail!("{flag:?} has control characters, which no unit can hold");
    }
    let (_, role) = parse(args, &flags)?;
    if let Command::Agent(agent) = &role.command {
        let named = [
            ("--state-dir", &agent.state_dir),
            ("--manifests", &agent.manifests),
        ];
        for (flag, path) in named {
            path.iter().try_for_each(|path| check_path(flag, path))?;
        }
    }
    Ok(flags)
}

/// The files that TLS takes, each with its flag, and what that is called within.
fn files(tls: &TlsArgs) -> [(&'static str, &'static str, Option<&PathBuf>); 7] {
    [
        ("tls_ca", "--tls-ca", tls.tls_ca.as_ref()),
        ("tls_cert", "--tls-cert", tls.tls_cert.as_ref()),
        ("tls_key", "--tls-key", tls.tls_key.as_ref()),
        ("etcd_ca", "--etcd-ca", tls.etcd_ca.as_ref()),
        ("etcd_cert", "--etcd-cert", tls.etcd_cert.as_ref()),
        ("etcd_key", "--etcd-key", tls.etcd_key.as_ref()),
        (
            "etcd_password_file",
            "--etcd-password-file",
            tls.etcd_password_file.as_ref(),
        ),
    ]
}

/// Reads `flags` as the role does, but for the environment.
fn parse(args: &InstallArgs, flags: &[String]) -> anyhow::Result<(ArgMatches, Cli)> {
    let role = args.role.name();
    let without = |arg: clap::Arg| arg.env(Resettable::Reset);
    let command = Cli::command()
        .mut_args(without)
        .mut_subcommand(role, |command| command.mut_args(without));
    let words = ["quaestor", role].into_iter();
    let words = words.chain(flags.iter().map(String::as_str));
    let words: Vec<_> = words.map(OsString::from).collect();
    let command = config::layered(command, &words)?;
    let parsed = command.try_get_matches_from(words);
    let parsed = parsed.and_then(|matches| Ok((matches.clone(), Cli::from_arg_matches(&matches)?)));
    Ok(parsed.unwrap_or_else(|error| {
        if error.use_stderr() {
            note(format_args!(
                "what stands after `--` is no way to start `quaestor {role}`:"
            ));
        }
        error.exit()
    }))
}

/// Services start in `/`, whoever installed them from where.
fn check_path(flag: &str, path: &Path) -> anyhow::Result<()> {
    if !path.is_absolute() {
        let here = std::env::current_dir().unwrap_or_default();
        bail!(
            "`{flag} {}` is relative, and services start in `/`: write {flag} {}",
            path.display(),
            here.join(path).display()
        );
    }
    Ok(())
}
