//! What this machine is and where programs keep things on it, as far as systems differ in that.

use std::{
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(windows)]
use super::windows::machine as system;
use crate::host::Disk;

/// Which boot of the machine this is: another text after each.
///
/// # Errors
/// The system's.
pub fn boot_id(disk: &dyn Disk) -> io::Result<String> {
    #[cfg(unix)]
    {
        let id = disk.read(Path::new("/proc/sys/kernel/random/boot_id"))?;
        let id = String::from_utf8_lossy(&id.unwrap_or_default()).into_owned();
        Ok(id.trim().to_owned())
    }
    #[cfg(windows)]
    {
        let _ = disk;
        system::boot_id()
    }
}

/// The time since the machine started, suspended or not, where `/proc` does not tell it; none where nobody does.
pub fn uptime() -> Option<Duration> {
    #[cfg(unix)]
    return None;
    #[cfg(windows)]
    return Some(system::uptime());
}

/// How much memory the machine has, in bytes, where `/proc` does not tell it; none where nobody does.
pub fn memory() -> Option<u64> {
    #[cfg(unix)]
    return None;
    #[cfg(windows)]
    return system::memory();
}

/// What this host is called; empty where nobody knows.
pub fn host_name(disk: &dyn Disk) -> String {
    #[cfg(unix)]
    let name = disk.read(Path::new("/proc/sys/kernel/hostname")).ok();
    #[cfg(windows)]
    let name = {
        let _ = disk;
        env::var("COMPUTERNAME")
            .ok()
            .map(|name| Some(name.to_lowercase().into_bytes()))
    };
    let name = name.flatten().unwrap_or_default();
    String::from_utf8_lossy(&name).trim().to_owned()
}

/// Where agents keep their files unless told otherwise; none where no variable says whose home this is.
pub fn state_home() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from);
    #[cfg(unix)]
    {
        if super::is_privileged() {
            return Some(PathBuf::from("/var/lib/quaestor"));
        }
        let home = || variable("HOME").map(|home| home.join(".local/state"));
        let home = variable("XDG_STATE_HOME").or_else(home);
        home.map(|directory| directory.join("quaestor"))
    }
    #[cfg(windows)]
    {
        let name = match super::is_privileged() {
            true => "ProgramData",
            false => "LOCALAPPDATA",
        };
        variable(name).map(|directory| directory.join("quaestor"))
    }
}

/// Where the host's own settings are.
pub fn configuration_home() -> PathBuf {
    #[cfg(unix)]
    return PathBuf::from("/etc/quaestor");
    #[cfg(windows)]
    return env::var_os("ProgramData")
        .map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
        .join("quaestor");
}

/// Lets nobody but this program's user and administrators into a directory, and all that is made in it from here on. It
/// is made if it is not there. Where files have permissions of their own, whoever makes one sees to that instead.
///
/// # Errors
/// The system's.
pub fn keep_private(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let _ = directory;
        Ok(())
    }
    #[cfg(windows)]
    system::keep_private(directory)
}
