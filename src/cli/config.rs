//! The configuration file of a host: values for flags, so that units and shells need not repeat them.
//!
//! ```yaml
//! etcd: [http://etcd-1:2379, http://etcd-2:2379]
//! agent:
//!   node: qa-1
//!   label: [pool=qa]
//! ```
//!
//! A key is a flag's long name; above the sections stand flags of every command, in a section those of that
//! command. A flag overrides the environment, which overrides the file, which overrides the default. Every flag
//! there is can be written, because the file only changes what the flags' defaults are.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use serde_yaml::{Mapping, Value};

use super::{
    args::Cli,
    output::{failure, say, table},
};
use crate::model::manifest::closest;

/// Where the file is when nobody says otherwise. There need not be one.
const DEFAULT: &str = "/etc/quaestor/config.yaml";

/// The flag that names another file.
const FLAG: &str = "config";

/// A larger file is none of ours.
const LARGEST: u64 = 1024 * 1024;

/// What a file says: by section (empty: of every command) and flag, the values.
#[derive(Debug, Default)]
pub(super) struct Config {
    settings: BTreeMap<(String, String), Vec<String>>,
}

/// `command` with the defaults that the host's file says. `arguments` are those of the process: they may
/// name another file.
///
/// # Errors
/// When the file cannot be read, or says what no flag takes.
pub(super) fn layered(command: Command, arguments: &[OsString]) -> anyhow::Result<Command> {
    if arguments.get(1).is_some_and(|first| first == "config") {
        // A file that is being looked at must not be in the way of that.
        return Ok(command);
    }
    let early = command
        .clone()
        .ignore_errors(true)
        .disable_help_flag(true)
        .disable_version_flag(true);
    let named = early.try_get_matches_from(arguments).ok();
    let named = named.and_then(|matches| matches.get_one::<PathBuf>(FLAG).cloned());
    let Some((path, text)) = read(named)? else {
        return Ok(command);
    };
    let config = Config::parse(&text, &command).map_err(|wrong| in_file(&path, &wrong))?;
    Ok(config.apply(command))
}

/// The file's path and text; none where none is named and none is in its place.
fn read(named: Option<PathBuf>) -> anyhow::Result<Option<(PathBuf, String)>> {
    let path = named.clone().unwrap_or_else(|| DEFAULT.into());
    let cannot = || format!("cannot read the configuration {}", path.display());
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
            return Ok(None);
        }
        Ok(metadata) if metadata.len() > LARGEST => bail!("{}: it has more than 1 MiB", cannot()),
        Ok(_) => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    let text = fs::read_to_string(&path).with_context(cannot)?;
    Ok(Some((path, text)))
}

fn in_file(path: &Path, wrong: &[String]) -> anyhow::Error {
    let lines: Vec<String> = wrong
        .iter()
        .map(|wrong| format!("{}: {wrong}", path.display()))
        .collect();
    failure(&lines)
}

impl Config {
    /// What `text` says, as far as `command` has flags for it; otherwise everything that is wrong.
    fn parse(text: &str, command: &Command) -> Result<Self, Vec<String>> {
        let value = serde_yaml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let map = match value {
            Value::Mapping(map) => map,
            Value::Null => Mapping::new(),
            _ => return Err(vec!["it is no map of flags and their values".to_owned()]),
        };
        let mut config = Self::default();
        let mut wrong = Vec::new();
        for (key, value) in map {
            let name = key.as_str().unwrap_or_default().to_owned();
            let section = command.find_subcommand(&name);
            match (section, value) {
                (Some(section), Value::Mapping(flags)) => {
                    for (key, value) in flags {
                        let flag = key.as_str().unwrap_or_default();
                        let taken = config.take(section, &name, flag, &value);
                        wrong.extend(taken.err());
                    }
                }
                (Some(_), Value::Null) => {}
                (Some(_), _) => {
                    wrong.push(format!("{name}: it is no map of flags and their values"))
                }
                (None, value) => wrong.extend(config.take(command, "", &name, &value).err()),
            }
        }
        if wrong.is_empty() {
            Ok(config)
        } else {
            Err(wrong)
        }
    }

    /// Notes the value of a flag, if `owner` has that flag and the flag takes that value.
    fn take(
        &mut self,
        owner: &Command,
        section: &str,
        flag: &str,
        value: &Value,
    ) -> Result<(), String> {
        let path = if section.is_empty() {
            flag.to_owned()
        } else {
            format!("{section}.{flag}")
        };
        let Some(argument) = flags(owner).find(|argument| argument.get_long() == Some(flag)) else {
            return Err(unknown(owner, section, flag, &path));
        };
        let values = texts(value)
            .ok_or_else(|| format!("{path}: write a text, a number or a list of such"))?;
        takes(argument, &values).map_err(|why| format!("{path}: {why}"))?;
        self.settings
            .insert((section.to_owned(), flag.to_owned()), values);
        Ok(())
    }

    /// `command` with these defaults.
    fn apply(&self, mut command: Command) -> Command {
        for ((section, flag), values) in &self.settings {
            command = match section.as_str() {
                "" => set(command, flag, values),
                section => command.mut_subcommand(section, |owner| set(owner, flag, values)),
            };
        }
        command
    }
}

/// `owner` with `values` for what nobody says of `flag`.
fn set(owner: Command, flag: &str, values: &[String]) -> Command {
    let Some(id) = flags(&owner)
        .find(|argument| argument.get_long() == Some(flag))
        .map(Arg::get_id)
        .cloned()
    else {
        return owner;
    };
    let values = values.to_vec();
    owner.mut_arg(id, |argument| {
        argument.required(false).default_values(values)
    })
}

/// Those that can be written into a file.
fn flags(owner: &Command) -> impl Iterator<Item = &Arg> {
    let is_setting = |argument: &&Arg| {
        let long = argument.get_long();
        long.is_some_and(|long| ![FLAG, "help", "version"].contains(&long))
    };
    owner.get_arguments().filter(is_setting)
}

fn unknown(owner: &Command, section: &str, flag: &str, path: &str) -> String {
    let longs: Vec<&str> = flags(owner).filter_map(Arg::get_long).collect();
    let sections = owner.get_subcommands().map(Command::get_name);
    let known = longs
        .iter()
        .copied()
        .chain(sections.filter(|_| section.is_empty()));
    match closest(flag, known) {
        Some(close) => format!("{path}: there is no such flag; did you mean {close}?"),
        None => format!(
            "{path}: there is no such flag; there are {}",
            longs.join(", ")
        ),
    }
}

/// A scalar, or a list of scalars, as texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::Bool(value) => Some(vec![value.to_string()]),
        Value::Sequence(items) => {
            let items = items
                .iter()
                .map(|item| texts(item).filter(|_| !item.is_sequence()));
            Some(items.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// Whether the flag takes these values, as if they were written on the command line.
fn takes(argument: &Arg, values: &[String]) -> Result<(), String> {
    let takes_many = matches!(argument.get_action(), ArgAction::Append)
        || argument.get_value_delimiter().is_some();
    if values.len() != 1 && !takes_many {
        return Err("write one value".to_owned());
    }
    if !argument.get_action().takes_values() {
        let is_boolean = values
            .iter()
            .all(|value| ["true", "false"].contains(&value.as_str()));
        return if is_boolean {
            Ok(())
        } else {
            Err("write true or false".to_owned())
        };
    }
    // Relations to other flags are the command line's affair.
    let alone = Arg::new(FLAG)
        .long(FLAG)
        .action(argument.get_action().clone())
        .value_parser(argument.get_value_parser().clone());
    let alone = Command::new("quaestor").arg(alone);
    let arguments = values.iter().map(|value| format!("--{FLAG}={value}"));
    let arguments = ["quaestor".to_owned()].into_iter().chain(arguments);
    match alone.try_get_matches_from(arguments) {
        Ok(_) => Ok(()),
        Err(error) => Err(reason(&error)),
    }
}

/// What is wrong with a value, without what clap says around it.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("error: ");
    let place = format!(" for '--{FLAG} <{FLAG}>'");
    line.replace(&place, "")
}

/// `quaestor config check`: whether the file can be used, and what it says.
pub(super) fn check(file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let Some((path, text)) = read(file)? else {
        bail!("there is no {DEFAULT}, and none is named: write `quaestor config check FILE`");
    };
    let command = &Cli::command();
    let config = Config::parse(&text, command).map_err(|wrong| in_file(&path, &wrong))?;
    let rows = config.settings.iter().map(|((section, flag), values)| {
        let everywhere = section.is_empty();
        let section = if everywhere {
            "every command".to_owned()
        } else {
            section.clone()
        };
        [section, format!("--{flag}"), values.join(", ")]
    });
    let empty = "it says nothing";
    say(table(["COMMAND", "FLAG", "VALUE"], rows, empty))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, &Cli::command()).map_err(|wrong| wrong.join("\n"))
    }

    /// What comes of `arguments` over the file `text`.
    fn over(text: &str, arguments: &[&str]) -> clap::ArgMatches {
        let config = parse(text).unwrap();
        let arguments = ["quaestor"].iter().chain(arguments);
        config
            .apply(Cli::command())
            .try_get_matches_from(arguments)
            .unwrap()
    }

    const FILE: &str =
        "etcd: [http://a:1, http://b:2]\nagent: {node: qa-1, label: [pool=qa, rack=r1]}\n";

    #[test]
    fn the_file_says_what_the_command_line_does_not() {
        let matches = over(FILE, &["agent"]);
        let (name, agent) = matches.subcommand().unwrap();
        assert_eq!(name, "agent");
        assert_eq!(
            agent
                .get_one::<crate::model::Name>("node")
                .unwrap()
                .as_str(),
            "qa-1"
        );
        let labels = agent.get_many::<(String, String)>("labels").unwrap();
        assert_eq!(labels.count(), 2);
        let etcd: Vec<&String> = agent.get_many("etcd").unwrap().collect();
        assert_eq!(etcd, ["http://a:1", "http://b:2"]);
        let matches = over(FILE, &["agent", "--node", "other"]);
        let (_, agent) = matches.subcommand().unwrap();
        assert_eq!(
            agent
                .get_one::<crate::model::Name>("node")
                .unwrap()
                .as_str(),
            "other"
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_path() {
        for (text, expected) in [
            ("[]", "it is no map"),
            ("agent: [x]", "agent: it is no map of flags"),
            (
                "agnet: {}",
                "agnet: there is no such flag; did you mean agent?",
            ),
            (
                "agent: {nod: x}",
                "agent.nod: there is no such flag; did you mean node?",
            ),
            ("agent: {node: Upper}", "agent.node: invalid value 'Upper'"),
            ("agent: {node: [a, b]}", "agent.node: write one value"),
            ("agent: {node: {a: b}}", "agent.node: write a text"),
            ("agent: {label: x}", "agent.label: invalid value 'x'"),
            (
                "config: {config: x}",
                "config.config: there is no such flag",
            ),
            ("apply: {wait: maybe}", "apply.wait: write true or false"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.contains(expected), "{text}: {wrong}");
        }
        assert_eq!(
            parse("agent: {nod: x}\nbalancer: {listen: []}")
                .unwrap_err()
                .lines()
                .count(),
            2
        );
    }
}
