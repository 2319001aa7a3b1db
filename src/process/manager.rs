//! The service manager that started this program: systemd, or whoever speaks `sd_notify(3)`; on Windows the system's.

#[cfg(unix)]
use std::{env, time::Duration};
use std::{path::Path, sync::Arc};

use crate::host::Manager;

/// The variables by which a manager says where it listens and how patient it is.
#[cfg(unix)]
const SOCKET: &str = "NOTIFY_SOCKET";
#[cfg(unix)]
const PATIENCE: &str = "WATCHDOG_USEC";
#[cfg(unix)]
const WHOSE_PATIENCE: &str = "WATCHDOG_PID";

/// The manager that this process was started by, if it was. Workloads never hear of it: they are started
/// with an environment of their own.
pub fn manager() -> Option<Arc<dyn Manager>> {
    #[cfg(unix)]
    {
        let address = env::var_os(SOCKET)?;
        let patience = patience(
            &env::var(PATIENCE).unwrap_or_default(),
            env::var(WHOSE_PATIENCE).ok().as_deref(),
            std::process::id(),
        );
        open(&address, patience)
    }
    #[cfg(windows)]
    super::windows::service::manager()
}

/// Where a manager lets nobody read what this program prints to standard error: lets that go to a file. systemd reads it.
///
/// # Errors
/// When that cannot be written.
pub fn keep_log(file: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let _ = file;
        Ok(())
    }
    #[cfg(windows)]
    super::windows::service::keep_log(file)
}

/// Tells the manager how this program ends, where it would not know otherwise. systemd sees it by itself.
pub fn ended(well: bool) {
    #[cfg(unix)]
    let _ = well;
    #[cfg(windows)]
    super::windows::service::ended(well);
}

#[cfg(unix)]
fn open(address: &std::ffi::OsStr, patience: Option<Duration>) -> Option<Arc<dyn Manager>> {
    match socket::Socket::open(address, patience) {
        Ok(socket) => Some(Arc::new(socket)),
        Err(error) => {
            tracing::warn!(?address, %error, "the service manager cannot be told anything");
            None
        }
    }
}

/// What `WATCHDOG_USEC` says to the process of id `own`.
#[cfg(unix)]
fn patience(microseconds: &str, whose: Option<&str>, own: u32) -> Option<Duration> {
    let is_meant = whose.is_none_or(|pid| pid.parse() == Ok(own));
    let microseconds = microseconds.parse().ok().filter(|some| *some > 0)?;
    is_meant.then(|| Duration::from_micros(microseconds))
}

#[cfg(unix)]
mod socket {
    use std::{
        ffi::OsStr,
        io,
        os::unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
        time::Duration,
    };

    use crate::host::Manager;

    /// The manager at the other end of a socket.
    pub(super) struct Socket {
        socket: UnixDatagram,
        address: SocketAddr,
        patience: Option<Duration>,
    }

    impl Socket {
        /// `address`: a path, or `@` and a name that is in no file system.
        pub(super) fn open(address: &OsStr, patience: Option<Duration>) -> io::Result<Self> {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not listen must not hold up a role.
            socket.set_nonblocking(true)?;
            Ok(Self {
                socket,
                address: parse(address)?,
                patience,
            })
        }
    }

    fn parse(address: &OsStr) -> io::Result<SocketAddr> {
        #[cfg(target_os = "linux")]
        if let Some(name) = address.as_bytes().strip_prefix(b"@") {
            use std::os::linux::net::SocketAddrExt as _;
            return SocketAddr::from_abstract_name(name);
        }
        SocketAddr::from_pathname(address)
    }

    impl Manager for Socket {
        fn tell(&self, words: &str) {
            if let Err(error) = self.socket.send_to_addr(words.as_bytes(), &self.address) {
                tracing::warn!(words, %error, "the service manager does not listen");
            }
        }

        fn patience(&self) -> Option<Duration> {
            self.patience
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_for_the_process_that_is_meant() {
        let minute = Some(Duration::from_secs(60));
        assert_eq!(patience("60000000", None, 7), minute);
        assert_eq!(patience("60000000", Some("7"), 7), minute);
        assert_eq!(patience("60000000", Some("8"), 7), None);
        for nonsense in ["", "0", "-1", "1s"] {
            assert_eq!(patience(nonsense, None, 7), None, "{nonsense}");
        }
    }
}
