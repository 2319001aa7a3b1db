//! How a shim is reached on Windows: a port of the loopback, and a token that is said first. Both stand in a file of its
//! directory, which only the agent's user may read: so nobody else's connection is heard.
//!
//! Why not a named pipe: std serves sockets, and no pipes, so that the shim would need much more code that the compiler
//! cannot check.

use std::{fs, io, net::Ipv4Addr, path::Path};

use tokio::net::TcpStream;

use super::wire::names;

/// What agent and shim speak over.
pub(super) type Stream = TcpStream;

/// Connects to the shim that serves `directory`.
///
/// # Errors
/// Of kind `NotFound` where no shim lives; of kind `ConnectionReset` where one is beginning or leaving.
pub(super) async fn connect(directory: &Path) -> io::Result<Stream> {
    if !is_served(directory)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Somebody lives, and whoever listens at its port is it: a port is nobody else's while it is open.
    let in_between = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            io::ErrorKind::ConnectionReset.into()
        }
        _ => error,
    };
    let text = fs::read_to_string(directory.join(names::SOCKET)).map_err(in_between)?;
    let (port, token) = text
        .trim_end()
        .split_once(' ')
        .and_then(|(port, token)| Some((port.parse::<u16>().ok()?, token)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its address is broken"))?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let stream = stream.map_err(in_between)?;
    stream.set_nodelay(true)?;
    let line = format!("{token}\n");
    loop {
        stream.writable().await?;
        match stream.try_write(line.as_bytes()) {
            Ok(written) if written == line.len() => return Ok(stream),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a shim lives: it holds the lock for as long as it does.
fn is_served(directory: &Path) -> io::Result<bool> {
    let lock = match fs::OpenOptions::new()
        .write(true)
        .open(directory.join(names::LOCK))
    {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}
