//! Where the shim's program is, and starting a shim.

use std::{
    env,
    io::{self, PipeReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use futures::future::{Either, select};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{
    PATIENCE,
    wire::{exit_codes, words},
};
use crate::host::Clock;

/// The program's name.
const NAME: &str = if cfg!(windows) {
    "quaestor-shim.exe"
} else {
    "quaestor-shim"
};

/// The variable that names another one.
const VARIABLE: &str = "QUAESTOR_SHIM";

/// There is no program to put between agent and process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{NAME}` is not found: looked for it at {}; install it beside `quaestor`, or name it in {VARIABLE}",
    looked.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
)]
pub struct ShimMissing {
    looked: Vec<PathBuf>,
}

/// The shim's program: the one that `QUAESTOR_SHIM` names, else beside the running program, else in `PATH`.
pub(super) fn find() -> Result<PathBuf, ShimMissing> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let beside = env::current_exe().ok();
    let beside = beside.and_then(|program| Some(program.parent()?.join(NAME)));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|directory| directory.join(NAME));
    let looked: Vec<PathBuf> = match named {
        // Whoever names one means that one.
        Some(named) => vec![named],
        None => beside.into_iter().chain(in_path).collect(),
    };
    let found = looked.iter().find(|path| path.is_file()).cloned();
    found.ok_or(ShimMissing { looked })
}

/// Why a shim does not serve.
pub(super) enum Failure {
    /// Another one does.
    Held,
    /// It cannot.
    Broken(String),
}

/// Starts the shim of `directory`. Returns once it listens. It ends with the other end of `tether`.
pub(super) async fn launch(
    program: &Path,
    directory: &Path,
    tether: Option<&PipeReader>,
    clock: &Arc<dyn Clock>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::Broken(format!("cannot start `{}`: {error}", program.display()))
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts processes"
    )]
    let mut command = Command::new(program);
    let stdin = match tether {
        Some(tether) => {
            command.arg(words::TETHERED);
            tether.try_clone().map_err(failed)?.into()
        }
        None => Stdio::null(),
    };
    command
        .arg(directory)
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(&mut command).map_err(failed)?;
    let serving = async {
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut said).await?;
        }
        if said == words::READY {
            return Ok(None);
        }
        let mut why = String::new();
        if let Some(mut errors) = child.stderr.take() {
            errors.read_to_string(&mut why).await?;
        }
        child.wait().await.map(|status| Some((status.code(), why)))
    };
    let outcome = match select(std::pin::pin!(serving), clock.sleep(PATIENCE)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    // From here on it is nobody's child to wait for: the runtime reaps it.
    match outcome.map_err(failed)? {
        None => Ok(()),
        Some((Some(code), _)) if code == i32::from(exit_codes::HELD) => Err(Failure::Held),
        Some((_, why)) => Err(Failure::Broken(why.trim().to_owned())),
    }
}

#[cfg(unix)]
fn spawn(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}

/// A shim has a console of its own, without a window, in which its process can be asked to end; and it is no part of a job
/// that this program is in, if that lets it go, so that it does not end with that.
#[cfg(windows)]
fn spawn(command: &mut Command) -> io::Result<Child> {
    use windows_sys::Win32::System::Threading::{
        CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW,
    };
    // Sockets do not work without it.
    command.envs(env::var_os("SystemRoot").map(|root| ("SystemRoot", root)));
    let flags = CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP;
    command.creation_flags(flags | CREATE_BREAKAWAY_FROM_JOB);
    match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            command.creation_flags(flags);
            command.spawn()
        }
        spawned => spawned,
    }
}
