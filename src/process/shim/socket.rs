//! The address of a shim's socket.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;

use super::wire::names;

/// What agent and shim speak over.
pub(super) type Stream = UnixStream;

/// Connects to the shim that serves `directory`.
///
/// # Errors
/// Of kind `NotFound` or `ConnectionRefused` where no shim listens.
pub(super) async fn connect(directory: &Path) -> io::Result<Stream> {
    let address = Address::new(directory)?;
    UnixStream::connect(address.path()).await
}

/// A name for the socket in a directory. Addresses of Unix sockets hold 107 bytes and directories have
/// longer names; this one goes through a descriptor of the directory and is always short. It is good
/// while this exists.
pub struct Address(OwnedFd);

impl Address {
    /// The socket of the shim that serves `directory`.
    ///
    /// # Errors
    /// When the directory is not there.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(directory, flags, Mode::empty())?))
    }

    /// What to connect to.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{}",
            self.0.as_raw_fd(),
            names::SOCKET
        ))
    }
}
