//! `quaestor config check`: whether the file can be used, what it says, and whether the files that it names are in
//! order.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use clap::CommandFactory as _;

use super::{
    super::{
        args::{Cli, TlsArgs},
        output::{failure, say, table},
        security,
    },
    Config, default_path, in_file, read,
};
use crate::{
    host::Host,
    model::{Identity, Role},
    tls::{Certificate, Credentials, Files, notice},
};

/// Checks the file.
///
/// # Errors
/// What is wrong with it, all at once.
pub(in super::super) fn check(file: Option<PathBuf>, host: &Host) -> anyhow::Result<ExitCode> {
    let Some((path, text)) = read(file)? else {
        let path = default_path();
        bail!(
            "there is no {}, and none is named: write `quaestor config check FILE`",
            path.display()
        );
    };
    let command = &Cli::command();
    let config = Config::parse(&text, command).map_err(|wrong| in_file(&path, &wrong))?;
    let rows = config
        .settings
        .iter()
        .map(|((section, flag), values)| [shown(section), format!("--{flag}"), values.join(", ")]);
    let empty = "it says nothing";
    say(table(["COMMAND", "FLAG", "VALUE"], rows, empty))?;

    let mut seen = BTreeSet::new();
    let (mut wrong, mut rows) = (Vec::new(), Vec::new());
    for (section, _) in config.settings.keys() {
        if !seen.insert(section) {
            continue;
        }
        match config.certificates(section, host) {
            Ok(found) => rows.extend(found.into_iter().map(|found| found.row(section, host))),
            Err(error) => wrong.push(format!("{}: {error:#}", shown(section))),
        }
    }
    wrong.extend(rows.iter().filter_map(|(_, wrong)| wrong.clone()));
    let mut rows: Vec<_> = rows.into_iter().map(|(row, _)| row).collect();
    rows.dedup_by(|a, b| a[1..] == b[1..]);
    if !rows.is_empty() {
        let table = table(["COMMAND", "CERTIFICATE", "OF", "UNTIL"], rows, "");
        say(format_args!("\n{table}"))?;
    }
    match wrong.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(failure(&wrong)),
    }
}

fn shown(section: &str) -> String {
    match section {
        "" => "every command".to_owned(),
        section => section.to_owned(),
    }
}

/// A certificate that is named.
struct Found {
    file: PathBuf,
    certificate: Certificate,
}

impl Found {
    /// How it is shown, and what is wrong with it.
    fn row(&self, section: &str, host: &Host) -> ([String; 4], Option<String>) {
        let Self { file, certificate } = self;
        let now = host.clock.timestamp();
        let file = file.display().to_string();
        let ends = certificate.ends;
        let owner = Identity::of(certificate.common_name.clone());
        let mut roles = Role::ALL.into_iter();
        let role = roles.find(|role| role.word() == section);
        let wrong = if now >= ends || now < certificate.begins {
            let why = notice(certificate, now).unwrap_or_default();
            Some(format!(
                "{}: the certificate in {file} {why}",
                shown(section)
            ))
        } else if role.is_some_and(|role| role != owner.role()) {
            let of = shown(section);
            Some(format!(
                "{of}: the certificate in {file} is that of {owner}, and not of one of the role {of}"
            ))
        } else {
            None
        };
        let until = notice(certificate, now).unwrap_or_else(|| ends.to_string());
        let name = certificate.common_name.clone();
        ([shown(section), file, name, until], wrong)
    }
}

impl Config {
    /// The certificates that a command shows by this file, once all files for TLS have been found to be in order.
    fn certificates(&self, section: &str, host: &Host) -> anyhow::Result<Vec<Found>> {
        let path = |flag: &str| {
            let at = |section: &str| self.settings.get(&(section.to_owned(), flag.to_owned()));
            let values = at(section).or_else(|| at(""))?;
            values.first().map(PathBuf::from)
        };
        let tls = TlsArgs {
            tls_ca: path("tls-ca"),
            tls_cert: path("tls-cert"),
            tls_key: path("tls-key"),
            etcd_ca: path("etcd-ca"),
            etcd_cert: path("etcd-cert"),
            etcd_key: path("etcd-key"),
            etcd_user: None,
            etcd_password_file: path("etcd-password-file"),
        };
        if let Some(file) = &tls.etcd_password_file {
            security::password(file, host)?;
        }
        let mut found = Vec::new();
        for files in [security::own_files(&tls)?, security::store_files(&tls)?]
            .into_iter()
            .flatten()
        {
            Credentials::read(files.clone(), host)?;
            found.extend(own(&files, host)?);
        }
        Ok(found)
    }
}

/// The certificate of ours among `files`.
fn own(files: &Files, host: &Host) -> anyhow::Result<Option<Found>> {
    let Some(own) = &files.own else {
        return Ok(None);
    };
    let file: &Path = &own.certificate.path;
    let content = host.disk.read(file)?.unwrap_or_default();
    let certificate = Certificate::first(&content).map_err(anyhow::Error::msg)?;
    Ok(Some(Found {
        file: file.to_owned(),
        certificate,
    }))
}
