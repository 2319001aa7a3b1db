//! Time. Decisions go by the time since boot, which nobody sets and which goes on while the machine is suspended; the
//! wall clock is for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::raw;

/// The time since boot.
pub(crate) fn now() -> Duration {
    raw::since_boot()
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
