//! `quaestor install` and `quaestor uninstall`: a role as a service of systemd, or of Windows.
//!
//! - `flags`: what the role is started with, checked
//! - `unit`: the text of the unit
//! - `systemd`: telling systemd
//! - `windows`: the same with the manager of services there

mod flags;
mod systemd;
mod unit;
mod windows;

use std::{
    env, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{
    args::{Global, InstallArgs, ServiceRole, UninstallArgs, UnitPlace},
    output::say,
    roles,
};
use crate::{
    host::Host,
    process::{self, INSTANCES_UNIT},
};
use systemd::Systemd;

/// Whether services are those of Windows.
const IS_WINDOWS: bool = matches!(env::consts::OS.as_bytes(), b"windows");

/// Where units of the host go.
const UNITS: &str = "/etc/systemd/system";

pub(super) async fn install(
    global: &Global,
    host: &Host,
    args: InstallArgs,
) -> anyhow::Result<ExitCode> {
    let flags = flags::complete(global, &args)?;
    let program = roles::this_program()?;
    let role = args.role;
    check_program(role, &program, host, args.place.user)?;
    if IS_WINDOWS {
        refuse_units(&args.place)?;
        if args.dry_run {
            for words in windows::settings(role, &program, &flags, false) {
                say(format_args!("sc.exe {}", words.join(" ")))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        windows::install(role, &program, &flags).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = unit::text(role, &program, &flags, args.place.user);
    if args.dry_run {
        say(text.trim_end())?;
        if role == ServiceRole::Agent {
            say(format_args!("\n{}", unit::instances().trim_end()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let directory = directory(&args.place, "install")?;
    let mut changed = write(host, &directory.join(unit::name(role)), &text)?;
    if role == ServiceRole::Agent {
        changed |= write(host, &directory.join(INSTANCES_UNIT), &unit::instances())?;
    }
    if args.place.unit_dir.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let systemd = Systemd::new(args.place.user);
    let name = unit::name(role);
    if !systemd.runs().await {
        say(format_args!(
            "systemd does not run here, so nothing was started; where it does: {} enable --now {name}",
            systemd.command()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    if changed {
        systemd.tell(&["daemon-reload"]).await?;
    }
    if systemd.ask(&["is-enabled", &name]).await.trim() != "enabled" {
        systemd.tell(&["enable", &name]).await?;
    }
    // Whether it is ready is for it to say; it may have to wait for the store.
    match systemd.runs_program(&name, &program).await {
        None => systemd.tell(&["start", "--no-block", &name]).await?,
        Some(false) => systemd.tell(&["restart", "--no-block", &name]).await?,
        Some(true) if changed => systemd.tell(&["restart", "--no-block", &name]).await?,
        Some(true) => say(format_args!("{name} runs this program already"))?,
    }
    let reader = if args.place.user {
        "journalctl --user"
    } else {
        "journalctl"
    };
    say(format_args!(
        "how it is: {} status {name}; what it says: {reader} -u {name}",
        systemd.command()
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn uninstall(host: &Host, args: UninstallArgs) -> anyhow::Result<ExitCode> {
    let role = args.role;
    if IS_WINDOWS {
        refuse_units(&args.place)?;
        windows::uninstall(role).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = unit::name(role);
    let directory = directory(&args.place, "uninstall")?;
    let file = directory.join(&name);
    let found = read(host, &file)?;
    let Some(text) = found else {
        bail!(
            "there is no `{}`: the {} is not installed there",
            file.display(),
            role.name()
        );
    };
    refuse_foreign(&file, &text)?;
    let systemd = Systemd::new(args.place.user);
    let told = args.place.unit_dir.is_none() && systemd.runs().await;
    if told {
        systemd.tell(&["disable", "--now", &name]).await?;
    }
    remove(host, &file)?;
    let instances = directory.join(INSTANCES_UNIT);
    if role == ServiceRole::Agent
        && let Some(text) = read(host, &instances)?
    {
        refuse_foreign(&instances, &text)?;
        if told {
            systemd.tell(&["stop", INSTANCES_UNIT]).await?;
        }
        remove(host, &instances)?;
    }
    if told {
        systemd.tell(&["daemon-reload"]).await?;
    }
    if role == ServiceRole::Agent {
        say(
            "what the agent ran is left running, each process behind its quaestor-shim, and so are its \
             files: an agent that is installed again goes on with them. To end them, before it is \
             uninstalled: quaestor delete SERVICE --wait; now: kill the quaestor-shim of each, and its \
             process ends with it",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is about systemd is a mistake where there is none.
fn refuse_units(place: &UnitPlace) -> anyhow::Result<()> {
    if place.user || place.unit_dir.is_some() {
        bail!("--user and --unit-dir are about systemd, and this is Windows");
    }
    Ok(())
}

/// Finds out now what would keep the service from starting later.
fn check_program(role: ServiceRole, program: &Path, host: &Host, user: bool) -> anyhow::Result<()> {
    if role == ServiceRole::Agent {
        process::ShimProcesses::new(host)?;
    } else if !user
        && ["/home", "/root"]
            .iter()
            .any(|home| program.starts_with(home))
    {
        bail!(
            "`{}` lies in a home directory, into which services do not see: copy it to /usr/local/bin and \
             install from there, or use --user",
            program.display()
        );
    }
    Ok(())
}

/// Where the unit goes, if it may go there.
fn directory(place: &UnitPlace, command: &str) -> anyhow::Result<PathBuf> {
    if let Some(directory) = &place.unit_dir {
        return Ok(directory.clone());
    }
    if place.user {
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(home);
        let config = config.context("neither XDG_CONFIG_HOME nor HOME is set")?;
        return Ok(config.join("systemd/user"));
    }
    if !process::is_privileged() {
        bail!(
            "a service of the host needs root: run it as `sudo quaestor {command} ...`, or add --user for a \
             service of your own"
        );
    }
    Ok(PathBuf::from(UNITS))
}

/// Writes the unit where it differs from what is there. Whether it did.
fn write(host: &Host, file: &Path, text: &str) -> anyhow::Result<bool> {
    let found = read(host, file)?;
    if let Some(found) = &found {
        refuse_foreign(file, found)?;
    }
    if found.as_deref() == Some(text) {
        say(format_args!("{} is unchanged", file.display()))?;
        return Ok(false);
    }
    let written = match file.parent() {
        Some(directory) if !directory.exists() => host.disk.create_directory(directory),
        _ => Ok(()),
    };
    let written = written.and_then(|()| host.disk.write(file, text.as_bytes(), true));
    written.with_context(|| format!("cannot write `{}`", file.display()))?;
    let how = if found.is_some() { "changed" } else { "wrote" };
    say(format_args!("{how} {}", file.display()))?;
    Ok(true)
}

fn remove(host: &Host, file: &Path) -> anyhow::Result<()> {
    let removed = host.disk.remove(file);
    removed.with_context(|| format!("cannot remove `{}`", file.display()))?;
    say(format_args!("removed {}", file.display()))
}

fn read(host: &Host, file: &Path) -> anyhow::Result<Option<String>> {
    let found = host.disk.read(file);
    let found = found.and_then(|found| {
        let text = found.map(String::from_utf8).transpose();
        text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    found.with_context(|| format!("cannot read `{}`", file.display()))
}

fn refuse_foreign(file: &Path, text: &str) -> anyhow::Result<()> {
    if !text.starts_with(unit::HEAD) {
        bail!(
            "`{}` was not written by `quaestor install`: move it away if it is to be replaced",
            file.display()
        );
    }
    Ok(())
}
