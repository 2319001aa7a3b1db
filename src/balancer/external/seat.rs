//! One endpoint that somebody else runs: whether it is healthy, how busy it is, when to ask again.

use std::collections::BTreeMap;

use futures::{FutureExt as _, future::BoxFuture};

use super::Wanted;
use crate::{
    host::Host,
    model::{Instance, InstanceState, LoadReport, Moment, Name, Phase, state::Endpoint},
    plan::health::{Checks, Failure, Verdict},
    probe::{Check, Load, Prober, Target, Unhealthy},
    view::Fact,
};

/// After so many intervals without a report the last one is not taken for the load any more, as with agents.
const MISSED: u32 = 3;

/// What was asked, when, and what came back.
pub(super) enum Answer {
    Checked(Moment, Result<(), Unhealthy>),
    Loaded(Moment, Result<Load, Unhealthy>),
}

pub(super) struct Seat {
    instance: Instance,
    endpoint: Endpoint,
    checks: Checks,
    /// Made when it is first needed; made anew when it fell silent.
    prober: Option<Prober>,
    is_checking: bool,
    is_loading: bool,
    next_load: Moment,
    /// When the last load report was asked for; none: there is none that counts.
    reported: Option<Moment>,
    /// What was last said of it: whether it is ready.
    is_ready: bool,
    /// Whether it was asked once.
    was_asked: bool,
    /// When it is looked at again if nothing comes before.
    pub(super) next_look: Option<Moment>,
}

impl Seat {
    pub(super) fn new(
        instance: Instance,
        endpoint: Endpoint,
        wanted: &Wanted,
        now: Moment,
    ) -> Self {
        Self {
            instance,
            endpoint,
            checks: Checks::begin(now),
            prober: None,
            is_checking: false,
            is_loading: false,
            next_load: now,
            reported: None,
            is_ready: !Checks::wanted(&wanted.health),
            was_asked: false,
            next_look: None,
        }
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(super) fn slot(&self) -> u32 {
        self.instance.slot
    }

    /// It is to be asked something else than before: at once, and until then it is what it was.
    pub(super) fn ask_otherwise(&mut self, wanted: &Wanted, now: Moment) {
        self.checks = Checks::resume(now, self.is_ready);
        self.is_ready |= !Checks::wanted(&wanted.health);
        self.next_load = now;
        self.reported = None;
    }

    /// Whether enough was heard to say what it is.
    pub(super) fn is_known(&self, wanted: &Wanted) -> bool {
        self.was_asked || !Checks::wanted(&wanted.health)
    }

    /// What there is to say of it before it is asked.
    pub(super) fn facts(&self, node: &Name, wanted: &Wanted) -> [Fact; 2] {
        let constant = wanted.load.constant.map(|rate| LoadReport {
            known_rate: Some(rate),
            stats: None,
        });
        let load = Fact::Report(node.clone(), self.instance.clone(), constant);
        [self.state(node, wanted), load]
    }

    /// The questions that are due at `now`, and when the next one is.
    pub(super) fn ask(
        &mut self,
        wanted: &Wanted,
        host: &Host,
        now: Moment,
    ) -> (Vec<BoxFuture<'static, Answer>>, Option<Moment>) {
        let mut questions = Vec::new();
        let check = self.ask_health(wanted, host, now, &mut questions);
        let load = self.ask_load(wanted, host, now, &mut questions);
        (questions, check.into_iter().chain(load).min())
    }

    fn ask_health(
        &mut self,
        wanted: &Wanted,
        host: &Host,
        now: Moment,
        questions: &mut Vec<BoxFuture<'static, Answer>>,
    ) -> Option<Moment> {
        let spec = &wanted.health;
        let due = self.checks.due(spec)?;
        if self.is_checking {
            return None;
        }
        if due > now {
            return Some(due);
        }
        let (_, check) = Check::of(spec, &wanted.asked_names)?;
        let asking = match self.prober(host) {
            Ok(prober) => prober.check(check, spec.timeout.get()),
            Err(impossible) => futures::future::ready(Err(impossible)).boxed(),
        };
        self.is_checking = true;
        questions.push(
            asking
                .map(move |result| Answer::Checked(now, result))
                .boxed(),
        );
        None
    }

    fn ask_load(
        &mut self,
        wanted: &Wanted,
        host: &Host,
        now: Moment,
        questions: &mut Vec<BoxFuture<'static, Answer>>,
    ) -> Option<Moment> {
        let may_be_asked = wanted.load.is_asked() && self.checks.may_serve(&wanted.health);
        if self.is_loading || !may_be_asked {
            return None;
        }
        if self.next_load > now {
            return Some(self.next_load);
        }
        let prober = self.prober(host).ok()?;
        let timeout = wanted.health.timeout.get();
        let asking = match (&wanted.load.http, &wanted.load.orca) {
            (Some(http), _) => prober.load_document(http.clone(), timeout),
            (None, Some(_)) => prober.orca(timeout),
            (None, None) => prober.report_load(wanted.asked_names.clone(), timeout),
        };
        self.is_loading = true;
        questions.push(
            asking
                .map(move |result| Answer::Loaded(now, result))
                .boxed(),
        );
        None
    }

    /// Takes an answer in. Returns what is new.
    pub(super) fn take(
        &mut self,
        answer: Answer,
        node: &Name,
        wanted: &Wanted,
        now: Moment,
    ) -> Option<Fact> {
        match answer {
            Answer::Checked(asked, result) => {
                self.is_checking = false;
                self.was_asked = true;
                let result = result.map_err(|why| self.failure(why));
                self.checks.record(&wanted.health, asked, result, now);
                let was_ready = self.is_ready;
                let verdict = self.checks.verdict(&wanted.health);
                self.is_ready = verdict == Verdict::Healthy;
                if was_ready && let Some(why) = words(verdict) {
                    let (instance, endpoint) = (&self.instance, &self.endpoint);
                    tracing::warn!(%instance, %endpoint, why, "not healthy: clients are not sent there");
                }
                (was_ready != self.is_ready).then(|| self.state(node, wanted))
            }
            Answer::Loaded(asked, result) => {
                self.is_loading = false;
                let interval = wanted.load.interval.get();
                self.next_load = now.max(asked + interval);
                let report = match result {
                    Ok(load) => {
                        self.reported = Some(asked);
                        Some(load.report)
                    }
                    Err(why) => {
                        let why = self.failure(why).why;
                        tracing::debug!(instance = %self.instance, why, "no load report");
                        let last = self.reported?;
                        if now.since(last) <= interval.saturating_mul(MISSED) {
                            return None;
                        }
                        self.reported = None;
                        None
                    }
                };
                Some(Fact::Report(node.clone(), self.instance.clone(), report))
            }
        }
    }

    fn failure(&mut self, why: Unhealthy) -> Failure {
        let silent = matches!(why, Unhealthy::Silent { .. });
        if silent {
            // The connection may be dead without anybody having said so.
            self.prober = None;
        }
        Failure {
            why: why.to_string(),
            silent,
        }
    }

    fn prober(&mut self, host: &Host) -> Result<Prober, Unhealthy> {
        if let Some(prober) = &self.prober {
            return Ok(prober.clone());
        }
        let Endpoint { host: name, port } = self.endpoint.clone();
        let target = Target { host: name, port };
        let prober = Prober::new(target, host).map_err(|error| Unhealthy::Unreachable {
            asked: format!("a check of {}", self.endpoint),
            cause: error.to_string(),
        })?;
        self.prober = Some(prober.clone());
        Ok(prober)
    }

    fn state(&self, node: &Name, wanted: &Wanted) -> Fact {
        let verdict = self.checks.verdict(&wanted.health);
        let ready = verdict == Verdict::Healthy;
        let state = InstanceState {
            instance: self.instance.clone(),
            node: node.clone(),
            phase: if ready {
                Phase::Running
            } else {
                Phase::Starting
            },
            ready,
            settling: false,
            pid: None,
            endpoint: Some(self.endpoint.clone()),
            ports: BTreeMap::new(),
            restarts: 0,
            reason: String::new(),
            message: words(verdict).unwrap_or_default(),
            status_text: String::new(),
            last_exit: None,
            started_at: None,
            next_start_at: None,
            observed_generation: 1,
            revision: String::new(),
            epoch: 0,
            self_stop: None,
            pre_stop_failure: None,
            recycle_due: false,
        };
        Fact::State(node.clone(), self.instance.clone(), Some(Box::new(state)))
    }
}

/// What a verdict other than a good one says.
fn words(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Healthy => None,
        Verdict::Starting(why) => why,
        Verdict::Unhealthy(why) | Verdict::Busy(why) => Some(why),
        Verdict::Failed(failure) => Some(failure.why),
    }
}
