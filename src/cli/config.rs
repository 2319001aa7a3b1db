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
//! command, and there flags of every command hold for that one alone. A flag overrides the environment, which overrides the file, which overrides the default. Every flag
//! there is can be written, because the file only changes what the flags' defaults are.

mod check;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, Command};
use serde_yaml::{Mapping, Value};

pub(super) use check::check;

use super::output::failure;
use crate::{model::manifest::closest, process};

/// Where the file is when nobody says otherwise. There need not be one.
fn default_path() -> PathBuf {
    process::configuration_home().join("config.yaml")
}

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
    let chosen = named.as_ref().and_then(|matches| matches.subcommand_name());
    let chosen = chosen.map(str::to_owned);
    let named = named.and_then(|matches| matches.get_one::<PathBuf>(FLAG).cloned());
    let Some((path, text)) = read(named)? else {
        return Ok(command);
    };
    let config = Config::parse(&text, &command).map_err(|wrong| in_file(&path, &wrong))?;
    Ok(config.apply(command, chosen.as_deref()))
}

/// The file's path and text; none where none is named and none is in its place.
fn read(named: Option<PathBuf>) -> anyhow::Result<Option<(PathBuf, String)>> {
    let path = named.clone().unwrap_or_else(default_path);
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
            // `etcd` is both: where it is, and what can be done about it.
            let is_flag = find(command, &name).is_some();
            let section = command
                .find_subcommand(&name)
                .filter(|_| !is_flag || value.is_mapping());
            match (section, value) {
                (Some(section), Value::Mapping(flags)) => {
                    for (key, value) in flags {
                        let flag = key.as_str().unwrap_or_default();
                        let is_everywhere =
                            find(section, flag).is_none() && find(command, flag).is_some();
                        let owner = if is_everywhere { command } else { section };
                        let taken = config.take(owner, &name, flag, &value);
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
        let Some(argument) = find(owner, flag) else {
            return Err(unknown(owner, section, flag, &path));
        };
        let values = texts(value)
            .ok_or_else(|| format!("{path}: write a text, a number or a list of such"))?;
        takes(argument, &values).map_err(|why| format!("{path}: {why}"))?;
        self.settings
            .insert((section.to_owned(), flag.to_owned()), values);
        Ok(())
    }

    /// `command` with these defaults. Of flags of every command those count that the section of the `chosen` one
    /// has, before those that stand above the sections.
    fn apply(&self, mut command: Command, chosen: Option<&str>) -> Command {
        // Those above the sections come first in the order of keys.
        for ((section, flag), values) in &self.settings {
            let is_everywhere = find(&command, flag).is_some();
            command = match section.as_str() {
                "" => set(command, flag, values),
                section if is_everywhere && Some(section) == chosen => set(command, flag, values),
                _ if is_everywhere => command,
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

/// The flag of that name.
fn find<'a>(owner: &'a Command, long: &str) -> Option<&'a Arg> {
    flags(owner).find(|argument| argument.get_long() == Some(long))
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{super::args::Cli, *};

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, &Cli::command()).map_err(|wrong| wrong.join("\n"))
    }

    /// What comes of `arguments` over the file `text`.
    fn over(text: &str, arguments: &[&str]) -> clap::ArgMatches {
        let config = parse(text).unwrap();
        let words = ["quaestor"].iter().chain(arguments);
        config
            .apply(Cli::command(), Some(arguments[0]))
            .try_get_matches_from(words)
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
        // In a section, a flag of every command is for that command alone.
        let text = "tls-ca: a\nagent: {tls-ca: b, node: x}\nbalancer: {tls-ca: c}";
        for (command, expected) in [("agent", "b"), ("balancer", "c"), ("controller", "a")] {
            let matches = over(text, &[command]);
            let (_, flags) = matches.subcommand().unwrap();
            let found = flags.get_one::<PathBuf>("tls_ca").unwrap();
            assert_eq!(found, Path::new(expected), "{command}");
        }
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
