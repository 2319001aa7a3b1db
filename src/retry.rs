//! Pauses between attempts at something outside that failed. The only user of the `backoff` crate.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};

use crate::host::Entropy;

/// Exponentially growing, jittered pauses without an end: who retries decides when to give up.
#[derive(Debug)]
pub struct Retry {
    pauses: ExponentialBackoff,
}

impl Retry {
    /// Pauses that begin at `first`, double, and stay below `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let pauses = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_multiplier(2.0)
            .with_max_interval(longest)
            .with_max_elapsed_time(None)
            // Jitter comes from the injected randomness instead.
            .with_randomization_factor(0.0)
            .build();
        Self { pauses }
    }

    /// The next pause: between half of the current interval and all of it, so that many clients of
    /// one failed server do not come back together.
    pub fn pause(&mut self, entropy: &dyn Entropy) -> Duration {
        let interval = self
            .pauses
            .next_backoff()
            .unwrap_or(self.pauses.max_interval);
        interval.mul_f64(0.5 + entropy.fraction() / 2.0)
    }

    /// Begins again at the first pause: the other side answered.
    pub fn reset(&mut self) {
        self.pauses.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Entropy for Fixed {
        fn bits(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again_after_a_reset() {
        let mut retry = Retry::new(Duration::from_millis(100), Duration::from_millis(350));
        let mut millis = || retry.pause(&Fixed(0)).as_millis();
        assert_eq!(
            [millis(), millis(), millis(), millis()],
            [50, 100, 175, 175]
        );
        retry.reset();
        let pause = retry.pause(&Fixed(u64::MAX)).as_secs_f64();
        assert!((pause - 0.1).abs() < 1e-6, "{pause}");
    }
}
