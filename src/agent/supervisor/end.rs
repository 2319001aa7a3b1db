//! The end of the agent, and of the processes that end with it.

use crate::plan::{agent::SHUTDOWN_GRACE, drain::SHUTDOWN_DRAIN};

use super::{FAREWELL, Supervisor};

impl Supervisor {
    /// Begins the end: every process that ends with the agent is asked to stop.
    pub(super) fn end(&mut self) {
        let now = self.host.clock.now();
        self.pulse.ends();
        self.ends_by = Some(now + SHUTDOWN_DRAIN + SHUTDOWN_GRACE + FAREWELL);
        for name in self.instances.keys() {
            self.wakes.by(name, now);
        }
        self.chronicle.hurry();
        let kept = self.instances.values();
        let kept = kept.filter(|managed| self.is_kept(managed)).count();
        tracing::info!(
            node = %self.config.node, kept, stopped = self.instances.len() - kept,
            "the agent ends"
        );
    }

    /// Whether the agent is to end, and nothing is left to do or no time to do it.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(ends_by) = self.ends_by else {
            return false;
        };
        let now = self.host.clock.now();
        let left = self.instances.values();
        let left = left.filter(|managed| !self.is_kept(managed)).count();
        if left == 0 {
            // Nothing lives any more: only the reports are left.
            let ends_by = ends_by.min(now + FAREWELL);
            self.ends_by = Some(ends_by);
            let told = self.reporter.is_settled() && self.chronicle.is_settled();
            return self.unreconciled.is_none() || told || now >= ends_by;
        }
        if now >= ends_by {
            tracing::error!(
                node = %self.config.node, processes = left,
                "processes that cannot even be killed are left behind"
            );
        }
        now >= ends_by
    }
}
