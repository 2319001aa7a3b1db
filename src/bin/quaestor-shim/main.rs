//! `quaestor-shim [--tethered] DIRECTORY`: stands between an agent and one process.
//!
//! It is the parent of the process and of all that descends from it, reads its output, keeps how it
//! ended, and starts it again at the agent's word. Agents come and go meanwhile. What both say to each
//! other is `wire`; the directory, made by the agent, holds everything else:
//!
//! | name | written by | what |
//! |---|---|---|
//! | `lock` | shim | held for as long as the shim lives |
//! | `socket` | shim | where it listens |
//! | `program` | agent | what to start |
//! | `check`, `pre-stop` | agent | what errands run |
//! | `running` | shim | the process that lives |
//! | `exit` | shim | how the last one ended |
//! | `log/` | shim | its output; may be a link to a directory elsewhere |
//!
//! Once it listens it says `ready` on standard output, and from then on holds on to nothing of who
//! started it; unless it is tethered: then it kills what lives and leaves as soon as its standard input
//! is at its end, which is a pipe that its starter holds and the system closes for who dies. It leaves when it is released; on SIGTERM as soon as nothing lives: a host that shuts
//! down does not wait for it, and nobody stops a process by mistaking the shim for it. If it is killed,
//! so is the process.
//!
//! - [`shim`]: the loop: one thread waits for everything
//! - [`workload`]: one process from its start to the end of the last that descends from it
//! - [`errand`]: a short program beside it
//! - [`notices`]: what the process says of itself
//! - [`launch`]: what happens between fork and exec
//! - [`children`]: which processes are ours to reap and to kill
//! - [`log`]: output to files; the one further thread writes them, because a disk may hang
//! - [`connection`]: one client
//! - [`records`], [`clock`], [`raw`]: files, time, and what the compiler cannot check

mod children;
mod clock;
mod connection;
mod errand;
mod launch;
mod log;
mod notices;
mod raw;
mod records;
mod shim;
#[path = "../../process/shim/wire/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the agent uses the other half, as a part of the library"
)]
mod wire;
mod workload;

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::{fs::DirBuilderExt as _, net::UnixListener},
    },
    path::Path,
    process::ExitCode,
};

use rustix::{
    fs::Mode,
    process::{getpid, set_child_subreaper, setsid, umask},
};
use shim::Shim;
use wire::{exit_codes, names, words};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).peekable();
    let is_tethered = arguments
        .next_if(|first| first == words::TETHERED)
        .is_some();
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: quaestor-shim [{}] DIRECTORY", words::TETHERED);
        return ExitCode::from(exit_codes::USAGE);
    };
    let failed = |error| {
        let directory = Path::new(&directory).display();
        eprintln!("quaestor-shim: cannot serve `{directory}`: {error}");
        ExitCode::from(exit_codes::UNUSABLE)
    };
    if let Err(error) = settle(Path::new(&directory)) {
        return failed(error);
    }
    let _lock = match lock() {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            eprintln!(
                "quaestor-shim: another one serves `{}`",
                Path::new(&directory).display()
            );
            return ExitCode::from(exit_codes::HELD);
        }
        Err(error) => return failed(error),
    };
    let shim = listen().and_then(|listener| Shim::new(listener, is_tethered));
    let served = shim.and_then(|mut shim| {
        // Whoever started this may be gone already; then nobody is waiting for the word.
        let _ = io::stdout().write_all(words::READY.as_bytes());
        let_go(is_tethered)?;
        shim.serve()
    });
    match served {
        Ok(()) => ExitCode::from(exit_codes::RELEASED),
        Err(error) => failed(error),
    }
}

/// Makes this process independent of who started it, and the parent of orphans.
fn settle(directory: &Path) -> io::Result<()> {
    raw::close_inherited()?;
    // Refused to the leader of a group, which is on its own already.
    let _ = setsid();
    umask(Mode::RWXG | Mode::RWXO);
    set_child_subreaper(Some(getpid()))?;
    // From here on every name is relative: short enough for a socket, and good if the directory moves.
    env::set_current_dir(directory)?;
    match DirBuilder::new().mode(0o700).create(names::LOG) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Locks the directory; none if another shim has.
fn lock() -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let lock = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(names::LOCK)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Listens. A socket that lies there belongs to a shim that has died, as this one has the lock.
fn listen() -> io::Result<UnixListener> {
    match fs::remove_file(names::SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(names::SOCKET)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Gives up the standard streams of who started this, save a tether.
fn let_go(is_tethered: bool) -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    if !is_tethered {
        rustix::stdio::dup2_stdin(null.as_fd())?;
    }
    rustix::stdio::dup2_stdout(null.as_fd())?;
    rustix::stdio::dup2_stderr(null.as_fd())?;
    Ok(())
}
