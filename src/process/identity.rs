//! Whom processes run as.

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
