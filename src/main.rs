//! The `quaestor` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    quaestor::cli::main()
}
