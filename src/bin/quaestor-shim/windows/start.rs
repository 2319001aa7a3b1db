//! How the shim begins: it finds its directory, listens, and lets go of who started it.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use crate::{
    log::Sink,
    place, raw, records,
    shim::{Ears, Shim},
    wire::{names, words},
};

/// Makes this process independent of who started it.
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    place::settle(directory)
}

/// Listens, says so, and serves until it is released.
pub(crate) fn serve(is_tethered: bool) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let token = format!("{:032x}", raw::random()?);
    let address = format!("{port} {token}\n");
    let ears = Ears::new(listener, token, is_tethered)?;
    let sink = Sink::new(ears.teller())?;
    let mut shim = Shim::new(ears, sink)?;
    records::Reserved::new(names::SOCKET)?.write(&address)?;
    // Whoever started this may be gone already; then nobody is waiting for the word.
    let _ = io::stdout().write_all(words::READY.as_bytes());
    let _ = io::stdout().flush();
    raw::let_go(is_tethered);
    shim.serve()
}
