//! Where the files of the shim's directory are.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::wire::names;

/// Remembers which directory this shim serves.
///
/// # Errors
/// When it is not there.
#[cfg(unix)]
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    // From here on every name is relative: short enough for a socket, and good if the directory moves.
    std::env::set_current_dir(directory)
}

/// A file in the directory.
#[cfg(unix)]
pub(crate) fn within(name: &str) -> PathBuf {
    PathBuf::from(name)
}

/// The directory of log files.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub(crate) fn logs() -> io::Result<PathBuf> {
    Ok(PathBuf::from(names::LOG))
}

/// The directory; a working directory could neither be removed nor have a long name.
#[cfg(windows)]
static DIRECTORY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();

/// Remembers which directory this shim serves, however deep it lies: std names long paths as the system itself does.
///
/// # Errors
/// When its name is none.
#[cfg(windows)]
pub(crate) fn settle(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    DIRECTORY.get_or_init(|| directory);
    Ok(())
}

/// A file in the directory.
#[cfg(windows)]
pub(crate) fn within(name: &str) -> PathBuf {
    DIRECTORY
        .get()
        .map_or_else(PathBuf::new, |it| it.join(name))
}

/// The directory of log files.
///
/// # Errors
/// The system's.
#[cfg(windows)]
pub(crate) fn logs() -> io::Result<PathBuf> {
    std::fs::read_to_string(within(names::LOG)).map(PathBuf::from)
}
