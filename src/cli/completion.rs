//! `quaestor completion SHELL`, and what the shell then asks while somebody types.
//!
//! The script that a shell reads calls this program, which completes by its own flags and by what there is in the
//! cluster: what an argument takes says its value name.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};
use tokio::{runtime::Builder, time::timeout};

use super::{
    args::{Cli, CompletionArgs, Global},
    config, operator,
    output::{note, say},
};
use crate::{host::Host, operator::inventory::Inventory};

/// By this variable the script says which shell asks.
const VARIABLE: &str = "QUAESTOR_COMPLETE";

/// Who types does not wait for longer, and completes without the cluster.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints the script.
pub(super) fn run(args: CompletionArgs) -> anyhow::Result<ExitCode> {
    let shells = Shells::builtins();
    let shell = args.shell.to_string();
    let script = shells.completer(&shell).context("no such shell")?;
    let program = env::current_exe().context("cannot tell where this program is")?;
    let (name, program) = ("quaestor", program.to_string_lossy());
    let mut text = Vec::new();
    script.write_registration(VARIABLE, name, name, &program, &mut text)?;
    say(String::from_utf8_lossy(&text).trim_end())?;
    if io::stdout().is_terminal() {
        note(format_args!(
            "to have it in every shell: {}",
            args.shell.line()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers a shell, if it was a shell that started this process.
pub(super) fn answer(arguments: &[OsString]) -> bool {
    let directory = env::current_dir().ok();
    let words = arguments.iter().skip_while(|word| *word != "--").skip(1);
    let words: Vec<OsString> = words.cloned().collect();
    let answered = CompleteEnv::with_factory(|| command(&words))
        .var(VARIABLE)
        .try_complete(arguments.iter().cloned(), directory.as_deref());
    // What goes wrong here would be printed amid what somebody types.
    answered.unwrap_or(true)
}

/// All commands, whose arguments know what there is. `words` is what was typed: it may name the store.
fn command(words: &[OsString]) -> Command {
    let command = Cli::command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |it| with_candidates(it, words))
    })
}

fn with_candidates(command: Command, words: &[OsString]) -> Command {
    let nested: Vec<String> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    let command = nested.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |it| with_candidates(it, words))
    });
    // These are asked for what clients ask for.
    let found_as = ["pick", "acquire", "cancel"].contains(&command.get_name());
    command.mut_args(|argument| {
        let takes = argument.get_value_names().and_then(|names| names.first());
        let list: fn(&Inventory) -> Vec<String> = match takes.map(|name| name.as_str()) {
            Some("SERVICE") if found_as => service_names,
            Some("SERVICE") => services,
            Some("NODE") => nodes,
            Some("SERVICE|INSTANCE" | "INSTANCE|SERVICE") => services_and_instances,
            Some("NAME") if argument.is_positional() => all,
            _ => return argument,
        };
        let words = words.to_vec();
        argument.add(ArgValueCandidates::new(move || {
            let listed = inventory(&words).map(|inventory| list(&inventory));
            let listed = listed.unwrap_or_default().into_iter();
            listed.map(CompletionCandidate::new).collect()
        }))
    })
}

fn services(inventory: &Inventory) -> Vec<String> {
    let services = inventory.services.iter();
    services.map(|it| it.name.to_string()).collect()
}

/// What clients ask for.
fn service_names(inventory: &Inventory) -> Vec<String> {
    let services = inventory.services.iter();
    let mut names: Vec<String> = services
        .flat_map(|it| match it.service_names.as_slice() {
            [] => vec![it.name.to_string()],
            names => names.to_vec(),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn nodes(inventory: &Inventory) -> Vec<String> {
    inventory
        .nodes
        .iter()
        .map(|it| it.name.to_string())
        .collect()
}

fn services_and_instances(inventory: &Inventory) -> Vec<String> {
    let instances = inventory.instances.iter().map(|it| it.name.to_string());
    services(inventory).into_iter().chain(instances).collect()
}

fn all(inventory: &Inventory) -> Vec<String> {
    [services_and_instances(inventory), nodes(inventory)].concat()
}

/// What there is, if the store that is meant says so in time.
fn inventory(words: &[OsString]) -> Option<Inventory> {
    let command = config::layered(Cli::command(), words).ok()?;
    let typed = command
        .ignore_errors(true)
        .try_get_matches_from(words)
        .ok()?;
    let global = Global::from_arg_matches(&typed).ok()?;
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let found = runtime.block_on(async {
        let operator = operator(&global, &Host::system()).ok()?;
        timeout(PATIENCE, operator.inventory()).await.ok()?.ok()
    });
    runtime.shutdown_background();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_that_names_something_in_the_cluster_is_completed() {
        let command = command(&[]);
        let candidates = |path: &[&str]| {
            let at = path.iter().fold(&command, |at, name| {
                at.find_subcommand(name).expect("there is such a command")
            });
            let mut completed = at.get_positionals().filter_map(|argument| {
                let _ = argument.get::<ArgValueCandidates>()?;
                Some(argument.get_id().to_string())
            });
            completed.next()
        };
        for (path, argument) in [
            (&["delete"][..], "names"),
            (&["drain"], "node"),
            (&["logs"], "target"),
            (&["pick"], "service"),
            (&["get"], "names"),
            (&["rollout", "undo"], "service"),
        ] {
            assert_eq!(candidates(path).as_deref(), Some(argument), "{path:?}");
        }
        assert_eq!(candidates(&["validate"]), None);
    }
}
