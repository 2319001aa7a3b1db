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
//! - [`start`]: its beginning; [`place`]: where its files are
//! - [`shim`]: the loop: one thread waits for everything (`shim::ears`), and decides
//! - [`workload`]: one process from its start to the end of the last that descends from it
//! - [`fate`]: why that ends, and when it is killed
//! - [`errand`]: a short program beside it
//! - [`notices`]: what the process says of itself
//! - [`launch`]: what happens between fork and exec
//! - [`children`]: which processes are ours to reap and to kill
//! - [`log`]: output to files; the one further thread writes them, because a disk may hang
//! - [`connection`]: one client
//! - [`records`], [`clock`], [`raw`]: files, time, and what the compiler cannot check
//!
//! On Windows the loop, fates, errands, records and logs are the same, and what touches the system is another (`windows/`):
//! there the process and all that it starts live in a job object, which the shim alone keeps, so that nothing outlives it;
//! threads wait for what Linux has descriptors for; `socket` is a file with a port and a token, and `log` one with the name
//! of a directory. Signals are Ctrl-Break, or an event. A program runs as another account by `account`, which std cannot.

#[cfg(windows)]
#[path = "windows/account.rs"]
mod account;
#[cfg(unix)]
mod children;
#[cfg_attr(windows, path = "windows/clock.rs")]
mod clock;
#[cfg_attr(windows, path = "windows/connection.rs")]
mod connection;
mod errand;
mod fate;
#[cfg_attr(windows, path = "windows/launch.rs")]
mod launch;
mod log;
#[cfg(unix)]
mod notices;
mod place;
#[cfg_attr(windows, path = "windows/raw.rs")]
mod raw;
mod records;
mod shim;
#[cfg_attr(windows, path = "windows/start.rs")]
mod start;
#[path = "../../process/shim/wire/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the agent uses the other half, as a part of the library"
)]
mod wire;
#[cfg_attr(windows, path = "windows/workload.rs")]
mod workload;

use std::{
    env,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    process::ExitCode,
};

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
    if let Err(error) = start::settle(Path::new(&directory)) {
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
    match start::serve(is_tethered) {
        Ok(()) => ExitCode::from(exit_codes::RELEASED),
        Err(error) => failed(error),
    }
}

/// Locks the directory; none if another shim has.
fn lock() -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let lock = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(place::within(names::LOCK))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
