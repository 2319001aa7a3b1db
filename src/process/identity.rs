//! Whom processes run as.

use std::{io, path::Path};

use super::Secret;

/// Whom a process runs as, in the system's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The primary group.
    pub group: u32,
    /// All further groups.
    pub groups: Vec<u32>,
}

/// Whose account a process runs as on Windows, where users have no numbers, and log on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logon {
    /// The account, with its domain if it has one.
    pub user: String,
    /// By what it logs on; none: the system knows without.
    pub password: Option<Secret>,
}

/// Whether processes run as accounts that log on, and not as numbers.
pub const LOGS_ON: bool = cfg!(windows);

/// The user and primary group of this process.
pub fn own() -> (u32, u32) {
    #[cfg(unix)]
    return (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    // No such numbers: nobody is asked to be anybody.
    #[cfg(not(unix))]
    return (u32::MAX, u32::MAX);
}

/// What Windows knows an account by, its SID; none where there is no such account, or users have numbers.
pub fn account(name: &str) -> Option<String> {
    #[cfg(unix)]
    {
        let _ = name;
        None
    }
    #[cfg(windows)]
    super::windows::account::id(name).ok()
}

/// What Windows knows this process's account by; none where users have numbers.
pub fn own_account() -> Option<String> {
    #[cfg(unix)]
    return None;
    #[cfg(windows)]
    super::windows::account::own().ok()
}

/// Lets an account do as it likes with a file or directory that others are kept out of, and with what is made in that from
/// here on. Where users have numbers, files are given to them instead.
///
/// # Errors
/// The system's.
pub fn let_in(path: &Path, name: &str) -> io::Result<()> {
    #[cfg(unix)]
    {
        let _ = (path, name);
        Ok(())
    }
    #[cfg(windows)]
    super::windows::account::let_in(path, name)
}
