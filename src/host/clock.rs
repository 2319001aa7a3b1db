//! The clock seam.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::model::{Moment, Timestamp};

/// Tells the time and waits for it.
pub trait Clock: Send + Sync {
    /// Monotonic time: what decisions are taken on.
    fn now(&self) -> Moment;

    /// Wall time: what is shown.
    fn timestamp(&self) -> Timestamp;

    /// Resolves once `moment` has come.
    fn sleep_until(&self, moment: Moment) -> BoxFuture<'static, ()>;

    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + duration)
    }
}

/// The machine's clocks. Monotonic time is the runtime's, and so virtual where the runtime's is.
pub struct SystemClock {
    /// The moment that this was made at.
    beginning: Moment,
    /// The same on the runtime's clock.
    origin: Instant,
}

impl SystemClock {
    /// A clock whose moments count from the boot, to the hundredth of a second: what an agent writes down
    /// means the same to the next. Where the system does not say when that was, they count from now.
    pub fn new() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split(' ').next().and_then(|secs| secs.parse().ok());
        let uptime = uptime.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        Self::since(uptime.unwrap_or_default())
    }

    /// A clock whose moments count from so long ago.
    pub fn since(passed: Duration) -> Self {
        Self {
            beginning: Moment::new(passed),
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        self.beginning + self.origin.elapsed()
    }

    fn timestamp(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the wall clock"
        )]
        let now = SystemTime::now();
        let millis = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, moment: Moment) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(
            self.origin + moment.since(self.beginning),
        ))
    }
}
