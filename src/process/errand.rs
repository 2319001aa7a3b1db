//! Programs of the system that are run once, for a command of the user.

use std::{io, process::Stdio};

use tokio::process::Command;

/// What came of it.
pub struct Ran {
    /// Whether it ended with code 0.
    pub succeeded: bool,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

/// Runs `program`, which is looked up in `PATH`, to its end.
///
/// # Errors
/// When it cannot be started.
pub async fn run(program: &str, arguments: &[&str]) -> io::Result<Ran> {
    #[expect(
        clippy::disallowed_methods,
        reason = "not a workload: it ends before the command does"
    )]
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran {
        succeeded: output.status.success(),
        output: text(output.stdout),
        errors: text(output.stderr),
    })
}
