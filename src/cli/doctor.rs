//! `quaestor doctor`: whether all that a cluster stands on is in order.

use std::{net::Ipv4Addr, path::Path, process::ExitCode};

use anstyle::{AnsiColor, Style};

use super::{
    args::{DoctorArgs, Global},
    exit, operator,
    output::{clean, print},
    security,
};
use crate::{
    host::Host,
    operator::doctor::{Finding, HostFacts, Severity, of_certificate, of_host},
    tls::{Certificate, notice},
};

/// Where a balancer listens unless told otherwise.
const BALANCER_PORT: u16 = 5150;

pub(super) async fn run(
    global: &Global,
    host: &Host,
    args: DoctorArgs,
) -> anyhow::Result<ExitCode> {
    let now = host.clock.timestamp();
    let operator = operator(global, host)?;
    let mut findings = operator.examine_store().await;
    // Where no member answers there is nothing more to be heard of the cluster.
    if findings.iter().any(|it| it.severity != Severity::Broken) {
        findings.extend(operator.examine_cluster(now).await?);
    }
    findings.extend(certificates(global, host)?);
    findings.extend(of_host(&facts(host).await));
    findings.sort_by_key(|finding| finding.severity);
    print(args.shown.output, &findings, text)?;
    let worst = findings.first().map_or(Severity::Fine, |it| it.severity);
    Ok(match worst {
        Severity::Broken => ExitCode::FAILURE,
        Severity::Warning => ExitCode::from(exit::WARNINGS),
        Severity::Fine => ExitCode::SUCCESS,
    })
}

/// The certificates that this command itself shows.
fn certificates(global: &Global, host: &Host) -> anyhow::Result<Vec<Finding>> {
    let now = host.clock.timestamp();
    let flags = &global.tls;
    let mut findings = Vec::new();
    for files in [security::own_files(flags)?, security::store_files(flags)?]
        .into_iter()
        .flatten()
    {
        let named = files.own.iter().map(|own| &own.certificate.path);
        for file in named.chain([&files.authorities.path]) {
            let content = host.disk.read(file)?.unwrap_or_default();
            let certificate = Certificate::first(&content).map_err(anyhow::Error::msg)?;
            let notice = notice(&certificate, now);
            let file = file.display().to_string();
            findings.push(of_certificate(&file, certificate.ends, notice, now));
        }
    }
    findings.dedup();
    Ok(findings)
}

async fn facts(host: &Host) -> HostFacts {
    let text = |path: &str| {
        let content = host.disk.read(Path::new(path)).ok()??;
        String::from_utf8(content).ok()
    };
    let limits = text("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let port = (Ipv4Addr::LOCALHOST, BALANCER_PORT).into();
    HostFacts {
        files: files.and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
        controllers: text("/sys/fs/cgroup/cgroup.controllers"),
        port_is_free: Some(host.network.listen(port).await.is_ok()),
    }
}

fn text(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let (word, colour) = match finding.severity {
            Severity::Broken => ("broken ", AnsiColor::Red),
            Severity::Warning => ("warning", AnsiColor::Yellow),
            Severity::Fine => ("fine   ", AnsiColor::Green),
        };
        let style: Style = colour.on_default().bold();
        let remedy = finding.remedy.as_ref();
        let remedy = remedy.map_or(String::new(), |remedy| {
            format!("\n         → {}", clean(remedy))
        });
        let (about, found) = (clean(&finding.about), clean(&finding.found));
        format!("{style}{word}{style:#}  {about}: {found}{remedy}")
    });
    lines.collect::<Vec<_>>().join("\n")
}
