//! Real processes, each behind a `quaestor-shim`: the small program that stands between an agent and a
//! process, so that agents come and go while the process, its exit code and its output stay.
//!
//! - `processes`: [`ShimProcesses`]: what an agent asks for, done by shims
//! - `launch`: where the shim's program is, and starting one
//! - `errand`: short programs beside a process
//! - `link`: a connection to a shim
//! - `watch`: waiting for the end of a process, or of its shim
//! - `leftovers`: killing what lost its shim
//! - [`socket`]: how to reach a shim whatever the length of its path
//! - [`wire`]: what both say to each other; the shim compiles it too
//!
//! The shim itself is `src/bin/quaestor-shim`.

mod errand;
mod launch;
#[cfg(unix)]
mod leftovers;
mod link;
mod processes;
#[cfg_attr(windows, path = "socket_windows.rs")]
pub mod socket;
mod watch;
pub mod wire;

use std::{path::Path, time::Duration};

/// What holds instances to their limits, and kills what a shim has left.
#[cfg(unix)]
use super::cgroup::Cgroups as Confinement;
#[cfg(windows)]
use super::windows::Jobs as Confinement;

pub use launch::ShimMissing;
pub use processes::ShimProcesses;

/// The variable that carries an instance's uuid.
const VARIABLE: &str = "QUAESTOR_INSTANCE_UUID";

/// A shim answers within a millisecond; one that has said nothing for so long is frozen, or the machine is. On Windows a
/// program may be searched for viruses before it starts, which its shim waits for.
const PATIENCE: Duration = Duration::from_secs(if cfg!(windows) { 30 } else { 5 });

/// A shim that leaves is gone within a millisecond; so long is the pause between two looks whether it is.
const TURN: Duration = Duration::from_millis(5);

/// So many looks: longer than a shim that leaves waits for the disk of its logs.
const TURNS: u32 = 600;

/// Where root's agents keep what matters within one boot: memory, empty after the next boot. None where
/// there is no such place, or it is not this user's.
pub fn runtime_home() -> Option<&'static Path> {
    // On Windows there are no such mounts.
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let in_memory = mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next(), words.next()) == (Some("/run"), Some("tmpfs"))
    });
    (super::is_privileged() && in_memory).then(|| Path::new("/run/quaestor"))
}
