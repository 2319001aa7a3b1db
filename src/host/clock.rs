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
    origin: Instant,
}

impl SystemClock {
    /// A clock whose moments count from now.
    pub fn new() -> Self {
        Self {
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
        Moment::new(self.origin.elapsed())
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
            self.origin + moment.since(Moment::default()),
        ))
    }
}
