//! What the process of an instance says of itself.

use super::Managed;
use crate::{model::Moment, plan::health::Verdict};

impl Managed {
    /// Takes in what its process says of itself, if that is new or the next look is due.
    pub(in super::super) fn listen(&mut self, now: Moment) {
        let spec = &self.assignment.health;
        let speaks = spec.notify.is_some();
        let process = self.process.as_ref().filter(|_| speaks);
        let Some(process) = process.filter(|process| !process.is_preparing()) else {
            return;
        };
        let Some(checks) = self.life.checks_mut() else {
            return;
        };
        let notice = process.notice();
        let is_new = match (&self.notice, &notice) {
            (Some(before), Some(after)) => !before.is_like(after),
            (before, after) => before != after,
        };
        let has_text = (self.notice.as_ref()).is_some_and(|notice| !notice.text.is_empty());
        let is_due = checks.due(spec).is_some_and(|due| due <= now);
        if is_new || is_due {
            checks.hear(spec, notice.as_ref(), now);
            if spec.busy_deadline.is_some() && checks.verdict(spec) != Verdict::Healthy {
                // Only its load report can tell whether it is busy or dead.
                self.next_load = now;
            }
        }
        if is_new || !has_text {
            self.notice = notice;
        }
    }

    /// What keeps it from being ready.
    pub(in super::super) fn ailment(&self) -> Option<String> {
        let checks = self.life.checks()?;
        match checks.verdict(&self.assignment.health) {
            Verdict::Healthy | Verdict::Starting(None) => None,
            Verdict::Starting(Some(why)) | Verdict::Unhealthy(why) | Verdict::Busy(why) => {
                Some(why)
            }
            Verdict::Failed(failure) => Some(failure.why),
        }
    }

    /// What its process says that it does, as it was when something else that it said changed: what is shown is
    /// written to the store, and a text may change all the time.
    pub(super) fn status_text(&self) -> String {
        let notice = self.notice.as_ref();
        notice.map_or_else(String::new, |notice| notice.text.clone())
    }
}
