//! Time. Decisions go by the time since boot, which nobody sets and which goes on while the machine is suspended; the
//! wall clock is for people.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::raw;

/// The time since boot.
pub(crate) fn now() -> Duration {
    raw::since_boot()
}

/// Which boot of the machine this is: without a name, as no boot has processes of another one's start times.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(String::new())
}

/// Milliseconds since 1970.
pub(crate) fn wall() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this program that reads the wall clock"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}
