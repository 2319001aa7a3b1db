//! Flags of the commands that help with writing: manifests, and command lines.

use std::fmt;

use clap::{Args, ValueEnum};

use crate::model::Name;

/// What stands below the flags of `explain`.
const EXPLAIN: &str = "\
Examples:
    quaestor explain spec.restart";

/// Flags of `explain`.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN)]
pub struct ExplainArgs {
    /// The field, as in spec.restart.delay; without one: the whole manifest
    #[arg(value_name = "FIELD.PATH")]
    pub path: Option<String>,
}

/// What stands below the flags of `init`.
const INIT: &str = "\
Examples:
    quaestor init worker -- /opt/qa/worker --listen {host}:{port} > worker.yaml";

/// Flags of `init`.
#[derive(Debug, Args)]
#[command(after_help = INIT)]
pub struct InitArgs {
    /// The service's name
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// What is to run; {host}, {port} and {slot} in it stand for what each instance gets
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// bash, zsh, fish or powershell
    #[arg(value_enum, hide_possible_values = true, value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// GNU's.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly one.
    Fish,
    /// Microsoft's.
    Powershell,
}

impl Shell {
    /// What makes a shell read the script at each of its starts.
    pub fn line(self) -> &'static str {
        match self {
            Self::Bash => "echo 'source <(quaestor completion bash)' >> ~/.bashrc",
            Self::Zsh => "echo 'source <(quaestor completion zsh)' >> ~/.zshrc",
            Self::Fish => {
                "echo 'quaestor completion fish | source' > ~/.config/fish/completions/quaestor.fish"
            }
            Self::Powershell => {
                "echo 'quaestor completion powershell | Out-String | Invoke-Expression' >> $PROFILE"
            }
        }
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Powershell => "powershell",
        })
    }
}
