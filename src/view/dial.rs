//! What the load of all endpoints depends on: set by the writer as time goes by, read with every pick.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use crate::model::Moment;

/// What an endpoint of unknown load counts as: after those known to be idle, before those known to be busy.
pub(super) const UNKNOWN: f64 = 0.5;

/// Reports count in full while the store was heard within this time. Agents write a load record only when
/// something changed, so an old record is not a wrong one while the store is there.
const FRESH: Duration = Duration::from_secs(30);

/// From then on they count for less and less, and for nothing after this time more.
const FADING: Duration = Duration::from_secs(60);

/// Reports fade in so many steps; each costs a look at every endpoint.
const STEPS: f64 = 6.0;

/// Shared by all endpoints of a directory.
#[derive(Debug)]
pub(super) struct Dial {
    /// Half of the time for which a pick counts.
    epoch_length: Duration,
    epoch: AtomicU32,
    /// How much of a report counts, in steps.
    trust: AtomicU32,
}

impl Dial {
    /// Picks count for `recently_used` at most; time goes by in steps of `tick`.
    pub(super) fn new(recently_used: Duration, tick: Duration) -> Self {
        let epoch_length = recently_used.saturating_sub(tick) / 2;
        Self {
            epoch_length: epoch_length.max(Duration::from_millis(1)),
            epoch: AtomicU32::new(0),
            trust: AtomicU32::new(STEPS as u32),
        }
    }

    /// The epoch that picks are counted in.
    pub(super) fn epoch(&self) -> u16 {
        self.epoch.load(Relaxed) as u16
    }

    /// `load` as far as it can be trusted: the older the view, the more all are equal.
    pub(super) fn faded(&self, load: f64) -> f64 {
        match f64::from(self.trust.load(Relaxed)) {
            STEPS => load,
            steps => UNKNOWN + (load.min(f64::from(f32::MAX)) - UNKNOWN) * steps / STEPS,
        }
    }

    /// Sets what follows from the time and from how long ago the store was heard. Returns whether loads may
    /// be different now.
    pub(super) fn turn(&self, now: Moment, age: Duration) -> bool {
        let since = now.since(Moment::default()).as_nanos();
        let epoch = (since / self.epoch_length.as_nanos()) as u32;
        let gone = age.saturating_sub(FRESH).as_secs_f64() / FADING.as_secs_f64();
        let trust = ((1.0 - gone).max(0.0) * STEPS).ceil() as u32;
        let turned = self.epoch.swap(epoch, Relaxed) != epoch;
        self.trust.swap(trust, Relaxed) != trust || turned
    }
}
