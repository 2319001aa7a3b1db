//! The load of an instance: asked of it, measured, or constant.

use futures::future::BoxFuture;

use super::{Config, Event, Managed, What};
use crate::{
    host::Host,
    model::{LoadReport, Moment},
    plan::agent::Life,
    probe::{Load, Unhealthy},
};

/// After so many intervals without a report the last one is not taken for the load any more.
const MISSED: u32 = 3;

impl Managed {
    /// Its load, as far as it is known at `now` and clients may be sent to it.
    pub(in super::super) fn load_report(&self, now: Moment) -> Option<LoadReport> {
        let spec = &self.assignment.load;
        let report = match (spec.constant, self.report) {
            (Some(rate), _) => LoadReport {
                known_rate: Some(rate),
                stats: None,
            },
            (None, Some((report, asked))) => {
                let fresh = now.since(asked) <= spec.interval.get().saturating_mul(MISSED);
                (fresh || !spec.is_asked()).then_some(report)?
            }
            (None, None) => return None,
        };
        self.is_ready().then_some(report)
    }

    /// Takes a load that was measured and not asked for.
    pub(in super::super) fn measured(&mut self, report: LoadReport) {
        self.report = Some((report, Moment::default()));
    }

    pub(super) fn ask_load(
        &mut self,
        config: &Config,
        host: &Host,
        now: Moment,
        questions: &mut Vec<BoxFuture<'static, Event>>,
    ) -> Option<Moment> {
        let spec = &self.assignment.load;
        let asked = spec.report_load.as_ref().or(spec.orca.as_ref());
        let port = match (asked, &spec.http) {
            (Some(asked), _) => asked.port.as_ref(),
            (None, Some(http)) => http.port.as_ref(),
            (None, None) => return None,
        };
        let checks = self.life.checks()?;
        if self.load.asking || !checks.may_serve(&self.assignment.health) {
            return None;
        }
        let mut due = self.next_load;
        if let Life::Draining { drain, .. } = &self.life
            && let Some(learnt) = drain.learnt(&self.assignment, now)
            && checks.load_asked() < Some(learnt)
        {
            // The first report that can end the drain is not waited for.
            due = due.min(learnt);
        }
        if let Some(since) = self.tickets.overdue_since(now)
            && checks.load_asked() < Some(since)
        {
            // Nor is the first that can free the unit of an overdue ticket.
            due = due.min(now);
        }
        if due > now {
            return Some(due);
        }
        let prober = match &self.load.prober {
            Some(prober) => prober.clone(),
            None => self.prober(port, config, host).ok()?,
        };
        self.load.prober = Some(prober.clone());
        self.load.asking = true;
        let timeout = self.assignment.health.timeout.get();
        let spec = &self.assignment.load;
        let asking = match (&spec.http, &spec.orca) {
            (Some(http), _) => prober.load_document(http.clone(), timeout),
            (None, Some(_)) => prober.orca(timeout),
            (None, None) => prober.report_load(self.assignment.service_names.clone(), timeout),
        };
        questions.push(self.tagged(asking, move |result| What::Loaded { asked: now, result }));
        None
    }

    /// Takes a load report, or that there is none.
    pub(in super::super) fn loaded(
        &mut self,
        asked: Moment,
        result: Result<Load, Unhealthy>,
        now: Moment,
    ) {
        self.load.asking = false;
        self.next_load = now.max(asked + self.assignment.load.interval.get());
        if matches!(result, Err(Unhealthy::Silent { .. })) {
            self.load.prober = None;
        }
        if let (Ok(load), Some(checks)) = (&result, self.life.checks_mut()) {
            checks.record_load(asked, &load.report, load.ticks);
        }
        match result {
            Ok(load) => self.report = Some((load.report, asked)),
            Err(why) => {
                tracing::debug!(instance = %self.assignment.instance, %why, "no load report");
            }
        }
    }
}
