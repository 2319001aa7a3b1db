//! The help of a command tells its own flags; of those that all commands have, only what one is likely to type there.

use clap::Command;

/// What stands above the flags that all have, where only some are told.
const HEADING: &str = "Options of every command (all of them: `quaestor --help`)";

/// The long-running parts: who starts them needs all flags.
const ROLES: [&str; 3] = ["agent", "controller", "balancer"];

/// Commands that have nothing to do with a cluster.
const ALONE: [&str; 11] = [
    "validate",
    "import",
    "config",
    "schema",
    "explain",
    "init",
    "completion",
    "exit-codes",
    "pki",
    "etcd",
    "demo-worker",
];

/// `command`, whose subcommands tell those flags of all commands that its `-h` tells; some of them none.
pub(super) fn brief(command: Command) -> Command {
    let globals: Vec<_> = command.get_arguments().cloned().collect();
    command.mut_subcommands(|own| {
        if ROLES.contains(&own.get_name()) {
            return own;
        }
        let is_alone = ALONE.contains(&own.get_name());
        let told = globals.iter().filter(|flag| flag.is_global_set());
        // A flag that a command has itself already is not given to it once more.
        told.fold(own, |own, flag| {
            let is_hidden = is_alone || flag.is_hide_short_help_set();
            let flag = flag.clone().hide_short_help(is_hidden);
            own.arg(flag.hide_long_help(is_hidden).help_heading(HEADING))
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::{super::args::Cli, *};

    fn help(name: &str) -> String {
        let mut command = brief(Cli::command());
        command.build();
        let own = command.find_subcommand_mut(name).unwrap();
        own.render_long_help().to_string()
    }

    #[test]
    fn the_help_of_a_command_leaves_out_what_is_seldom_typed_there_and_that_of_a_role_does_not() {
        assert!(help("get").contains(HEADING) && help("get").contains("--etcd <URLS>"));
        assert!(!help("get").contains("--tls-ca"));
        assert!(!help("explain").contains("--etcd") && !help("explain").contains(HEADING));
        assert!(help("agent").contains("--tls-ca") && !help("agent").contains(HEADING));
    }

    #[test]
    fn examples_are_indented_like_one_another_and_fit_a_terminal() {
        for command in Cli::command().get_subcommands() {
            let text = command.get_after_help().map(ToString::to_string);
            let text = text.unwrap_or_default();
            let Some(examples) = text.strip_prefix("Examples:\n") else {
                continue;
            };
            for line in examples.lines() {
                let is_well = line.starts_with("    quaestor ") && line.len() <= 80;
                assert!(is_well, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn every_command_takes_the_flags_of_all_wherever_they_stand() {
        for words in [
            &["quaestor", "--cluster", "c", "rollout", "status", "worker"][..],
            &["quaestor", "rollout", "status", "worker", "--cluster", "c"],
            &["quaestor", "rollout", "--cluster", "c", "status", "worker"],
            &["quaestor", "schema", "--cluster", "c"],
        ] {
            let matches = brief(Cli::command()).try_get_matches_from(words).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            assert_eq!(cli.global.cluster.as_str(), "c", "{words:?}");
        }
    }

    #[test]
    fn all_commands_that_are_named_here_exist() {
        let command = Cli::command();
        for name in ROLES.iter().chain(&ALONE) {
            assert!(command.find_subcommand(name).is_some(), "{name}");
        }
    }
}
