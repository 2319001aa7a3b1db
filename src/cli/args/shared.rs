//! What several commands take.

use clap::{Args, ValueEnum};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum OutputFormat {
    /// Columns, for people
    #[default]
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// How a command prints a list.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// How to show it: table (for people), json or yaml; the latter two are always a list
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: OutputFormat,
}

/// What a role serves by HTTP.
#[derive(Clone, Debug, Args)]
pub struct HttpArgs {
    /// Where it serves a dashboard of what it sees, and its metrics at /metrics; a balancer HTTP/JSON, too
    /// (/openapi.json) [default: nowhere]
    #[arg(
        long,
        env = "QUAESTOR_HTTP",
        hide_env_values = true,
        value_name = "ADDR"
    )]
    pub http: Option<String>,
}
