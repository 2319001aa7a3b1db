//! How the shim begins: it becomes independent, listens, and lets go of who started it.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::{fs::DirBuilderExt as _, net::UnixListener},
    },
    path::Path,
};

use rustix::{
    fs::Mode,
    process::{getpid, set_child_subreaper, setsid, umask},
};

use crate::{
    log::Sink,
    place, raw,
    shim::{Ears, Shim},
    wire::{names, words},
};

/// Makes this process independent of who started it, and the parent of orphans.
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    raw::close_inherited()?;
    // Refused to the leader of a group, which is on its own already.
    let _ = setsid();
    umask(Mode::RWXG | Mode::RWXO);
    set_child_subreaper(Some(getpid()))?;
    place::settle(directory)?;
    match DirBuilder::new().mode(0o700).create(names::LOG) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Listens, says so, and serves until it is released.
pub(crate) fn serve(is_tethered: bool) -> io::Result<()> {
    let ears = Ears::new(listen()?, is_tethered)?;
    let mut shim = Shim::new(ears, Sink::new()?)?;
    // Whoever started this may be gone already; then nobody is waiting for the word.
    let _ = io::stdout().write_all(words::READY.as_bytes());
    let_go(is_tethered)?;
    shim.serve()
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
