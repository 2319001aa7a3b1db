//! One instance on this node: what was assigned, what lives, who asks it how it is.
//!
//! - `shown`: what is reported of it
//! - `beside`, `load`, `notice`: what is run beside its process, what load it reports, what it says of itself

mod shown;

mod beside;
mod load;
mod notice;

use futures::{FutureExt as _, future::BoxFuture};

use super::{Config, Home, errands, memory::Record, ports::Ports};
use crate::{
    host::Host,
    model::{
        Assignment, Desired, Exit, Instance, LoadReport, Moment, Name, Run, Timestamp, Units,
        notice::Notice,
        quantity::Period,
        service::{Digest, OnAgentStop},
        state::HookFailure,
    },
    plan::{
        agent::{Goal, Life},
        drain::Drain,
        health::{Checks, Failure, Verdict},
        recycle::Turn,
        reservation::Ledger,
        restart::BackOff,
    },
    probe::{Check, Load, Prober, Target, Unhealthy},
    process::{End, Found, Process},
};

/// Something that happened to the `run`th start of an instance.
pub(super) struct Event {
    pub(super) instance: Instance,
    pub(super) run: u64,
    pub(super) what: What,
}

/// What happened.
pub(super) enum What {
    /// The process ended.
    Ended(End),
    /// A check that was begun at `asked` brought this.
    Checked {
        asked: Moment,
        result: Result<(), Unhealthy>,
    },
    /// The `preStop` command ended; why it failed, if it did.
    PreStopped(Result<(), String>),
    /// What there is of its process, which could not be found out at first.
    Found(std::io::Result<Found>),
    /// Its process is another one than before, of the same start, or says something new of itself.
    Changed,
    /// Whether clients know what the store says since this revision: that it drains.
    Inquired { revision: i64, known: bool },
    /// A load report came, or did not.
    Loaded {
        asked: Moment,
        result: Result<Load, Unhealthy>,
    },
}

/// An instance and everything that belongs to it.
pub(super) struct Managed {
    pub(super) assignment: Assignment,
    /// What its processes are recognised by.
    pub(super) uuid: String,
    /// The number of the last start, over all agents.
    pub(super) incarnation: u64,
    /// What was last written down of it: the body of its record.
    pub(super) remembered: Option<String>,
    /// The store's revision of the assignment.
    pub(super) stored_at: i64,
    /// The assignment vanished without saying absent.
    pub(super) orphaned: bool,
    /// It runs by the agent's own manifests.
    pub(super) is_local: bool,
    pub(super) life: Life,
    pub(super) back_off: BackOff,
    /// Lives exactly while `life` says so.
    pub(super) process: Option<Box<dyn Process>>,
    /// The moment that the process was last told to stop by, on its own; the outer none: it is not known
    /// what it was told.
    pub(super) told_deadline: Option<Option<Moment>>,
    /// The grace that the shim of the last start gives it, should it have to stop by itself; none: not known.
    pub(super) stop_grace: Option<Period>,
    /// Counts starts, so that news of an earlier process is not taken for news of this one.
    pub(super) run: u64,
    /// The ports of the last start.
    pub(super) ports: Ports,
    /// Starts and failed starts so far.
    pub(super) starts: u32,
    pub(super) started_at: Option<Timestamp>,
    pub(super) next_start_at: Option<Timestamp>,
    pub(super) last_exit: Option<Exit>,
    /// How its `preStop` command failed before the last stop.
    pub(super) pre_stop_failure: Option<HookFailure>,
    /// Why it cannot be found out whether the process lives that `life` tells of. Until it is, nothing is
    /// done about it.
    pub(super) doubt: Option<String>,
    /// Whether it may be recycled.
    pub(super) turn: Turn,
    /// What of its resources is not enforced while it lives, and why; none: all of them are.
    pub(super) unenforced: Option<String>,
    /// Who has its process to himself.
    pub(super) tickets: Ledger,
    /// The artifact that its process was started from.
    pub(super) artifact: Option<Digest>,
    /// While it drains: since which revision the store says so, of which the balancers were asked.
    pub(super) inquired: Option<i64>,
    /// Since when clients may be sent to it without a break.
    ready_since: Option<Moment>,
    health: Question,
    load: Question,
    pre_stop: PreStop,
    /// What its process last said of itself.
    notice: Option<Notice>,
    next_load: Moment,
    /// The last load report, and when it was asked for.
    report: Option<(LoadReport, Moment)>,
}

/// How far the `preStop` command of a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PreStop {
    /// It was not sent.
    #[default]
    Unsent,
    /// It runs.
    Running,
    /// It has ended, or the time for it has.
    Over,
}

/// Something that is asked over and over.
#[derive(Default)]
struct Question {
    /// Made when it is first needed; made anew when it fell silent or its target changed.
    prober: Option<Prober>,
    /// An answer is awaited.
    asking: bool,
}

impl Managed {
    pub(super) fn new(assignment: Assignment, stored_at: i64, uuid: String) -> Self {
        Self {
            assignment,
            uuid,
            incarnation: 0,
            remembered: None,
            stored_at,
            orphaned: false,
            is_local: false,
            life: Life::Fresh,
            back_off: BackOff::default(),
            process: None,
            told_deadline: None,
            stop_grace: None,
            run: 0,
            ports: Ports::new(),
            starts: 0,
            started_at: None,
            next_start_at: None,
            last_exit: None,
            pre_stop_failure: None,
            doubt: None,
            turn: Turn::default(),
            unenforced: None,
            tickets: Ledger::default(),
            artifact: None,
            inquired: None,
            ready_since: None,
            health: Question::default(),
            load: Question::default(),
            pre_stop: PreStop::default(),
            notice: None,
            next_load: Moment::default(),
            report: None,
        }
    }

    /// What another agent has written down of it. Its life and process are not in there.
    pub(super) fn recall(record: Record) -> Self {
        Self {
            incarnation: record.incarnation,
            orphaned: record.orphaned,
            is_local: record.local,
            back_off: record.back_off,
            ports: record.ports,
            starts: record.starts,
            started_at: record.started_at,
            next_start_at: record.next_start_at,
            last_exit: record.last_exit,
            pre_stop_failure: record.pre_stop_failure,
            tickets: record.tickets,
            artifact: record.artifact,
            ready_since: record.ready_since,
            stop_grace: record.stop_grace,
            ..Self::new(record.assignment, record.stored_at, record.uuid)
        }
    }

    /// What the next agent has to know of it.
    pub(super) fn record(&self, boot_id: &str) -> Record {
        Record {
            boot_id: boot_id.to_owned(),
            uuid: self.uuid.clone(),
            incarnation: self.incarnation,
            assignment: self.assignment.clone(),
            stored_at: self.stored_at,
            orphaned: self.orphaned,
            local: self.is_local,
            // Plain data cannot fail to become JSON.
            life: serde_json::to_value(&self.life).unwrap_or_default(),
            revision: self.life.revision().to_owned(),
            ready: self.is_ready(),
            back_off: self.back_off,
            ports: self.ports.clone(),
            starts: self.starts,
            started_at: self.started_at,
            next_start_at: self.next_start_at,
            last_exit: self.last_exit.clone(),
            pre_stop_failure: self.pre_stop_failure.clone(),
            tickets: self.tickets.clone(),
            artifact: self.artifact.clone(),
            ready_since: self.ready_since,
            stop_grace: self.stop_grace,
        }
    }

    /// Whether it is left as it is when its agent is told to end.
    pub(super) fn is_kept(&self) -> bool {
        self.assignment.on_agent_stop == OnAgentStop::Keep
    }

    /// What is wanted of it.
    pub(super) fn goal(&self, agent_ends: bool, now: Moment) -> Goal<'_> {
        Goal {
            assignment: &self.assignment,
            stored_at: self.stored_at,
            orphaned: self.orphaned,
            agent_ends,
            reserved: self.tickets.valid(now) > 0,
            cut_off: false,
            lacks_artifact: false,
        }
    }

    /// Takes a new assignment.
    pub(super) fn assign(&mut self, assignment: Assignment, stored_at: i64) {
        self.assignment = self.assignment.clone().then(assignment);
        self.stored_at = stored_at;
        self.orphaned = false;
        self.health.prober = None;
        self.load.prober = None;
    }

    /// Goes on to the next stage of the same run.
    pub(super) fn change(&mut self, next: impl FnOnce(Life) -> Life) {
        self.life = next(std::mem::replace(&mut self.life, Life::Fresh));
    }

    /// Begins another run: whatever is still heard of earlier ones is not meant.
    pub(super) fn begin(&mut self, life: Life) {
        self.life = life;
        self.run += 1;
        self.health = Question::default();
        self.load = Question::default();
        self.pre_stop = PreStop::default();
        self.turn = Turn::default();
        self.notice = None;
        self.report = None;
        self.ready_since = None;
        self.next_start_at = None;
        self.tickets.clear();
        self.unenforced = None;
        self.told_deadline = None;
        self.inquired = None;
    }

    /// Whether clients may be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        let draining = matches!(self.life, Life::Draining { .. });
        let verdict = self.life.checks();
        let verdict = verdict.map(|checks| checks.verdict(&self.assignment.health));
        !draining && verdict == Some(Verdict::Healthy)
    }

    /// Takes in whether it is ready at `now`. Returns when it will have been for long enough.
    pub(super) fn note_readiness(&mut self, now: Moment) -> Option<Moment> {
        self.ready_since = match self.is_ready() {
            true => Some(self.ready_since.unwrap_or(now)),
            false => None,
        };
        let settled = self.ready_since? + self.assignment.min_ready.get();
        (settled > now).then_some(settled)
    }

    /// Its drain, while the store has not been seen to say that it is not ready.
    pub(super) fn untold(&mut self) -> Option<&mut Drain> {
        match &mut self.life {
            Life::Draining { drain, .. } if !drain.is_told() => Some(drain),
            _ => None,
        }
    }

    /// Whether it lives and has not been healthy yet.
    pub(super) fn is_starting(&self) -> bool {
        if matches!(self.life, Life::Preparing { .. }) {
            return true;
        }
        matches!(self.life, Life::Alive { .. })
            && Checks::wanted(&self.assignment.health)
            && !self.life.checks().is_some_and(Checks::succeeded)
    }

    /// What is to be had of it by tickets; none for what clients share.
    pub(super) fn units(&self, agent_ends: bool) -> Option<Units> {
        self.assignment.tickets?;
        let stays = self.assignment.desired == Desired::Present && !agent_ends;
        let current = self.life.revision() == self.assignment.revision;
        let reported = self.life.checks().and_then(Checks::capacity);
        Some(Units {
            capacity: reported.unwrap_or(1),
            taken: self.tickets.taken(),
            open: stays && current && self.is_ready(),
        })
    }

    /// Asks what is due at `now`. Returns the questions, and when the next is due.
    pub(super) fn ask(
        &mut self,
        config: &Config,
        home: &Home,
        host: &Host,
        now: Moment,
    ) -> (Vec<BoxFuture<'static, Event>>, Option<Moment>) {
        let mut questions = Vec::new();
        questions.extend(self.pre_stop(config, home, now));
        let health = self.ask_health(config, home, host, now, &mut questions);
        let load = self.ask_load(config, host, now, &mut questions);
        (questions, health.into_iter().chain(load).min())
    }

    fn ask_health(
        &mut self,
        config: &Config,
        home: &Home,
        host: &Host,
        now: Moment,
        questions: &mut Vec<BoxFuture<'static, Event>>,
    ) -> Option<Moment> {
        let spec = &self.assignment.health;
        let due = self.life.checks()?.due(spec)?;
        if self.health.asking {
            return None;
        }
        if due > now {
            return Some(due);
        }
        if spec.notify.is_some() {
            // It is listened to, not asked.
            return None;
        }
        if spec.exec.is_some() {
            let process = self.process.as_deref()?;
            let asking = errands::check(&self.words(config, home), process);
            self.health.asking = true;
            questions.push(self.tagged(asking, move |result| What::Checked { asked: now, result }));
            return None;
        }
        let (port, check) = Check::of(spec, &self.assignment.service_names)?;
        let timeout = spec.timeout.get();
        let prober = match &self.health.prober {
            Some(prober) => Ok(prober.clone()),
            None => self.prober(port, config, host),
        };
        let asking = match prober {
            Ok(prober) => {
                self.health.prober = Some(prober.clone());
                prober.check(check, timeout)
            }
            Err(impossible) => futures::future::ready(Err(impossible)).boxed(),
        };
        self.health.asking = true;
        questions.push(self.tagged(asking, move |result| What::Checked { asked: now, result }));
        None
    }

    /// A future that says what became of `asking`, and of which run.
    pub(super) fn tagged<T: 'static>(
        &self,
        asking: BoxFuture<'static, T>,
        what: impl FnOnce(T) -> What + Send + 'static,
    ) -> BoxFuture<'static, Event> {
        let (instance, run) = (self.assignment.instance.clone(), self.run);
        let event = asking.map(move |answer| Event {
            instance,
            run,
            what: what(answer),
        });
        event.boxed()
    }

    /// Takes the result of a check.
    pub(super) fn checked(&mut self, asked: Moment, result: Result<(), Unhealthy>, now: Moment) {
        self.health.asking = false;
        let result = result.map_err(|why| {
            let silent = matches!(why, Unhealthy::Silent { .. });
            if silent {
                // The connection may be dead without anybody having said so.
                self.health.prober = None;
            }
            Failure {
                why: why.to_string(),
                silent,
            }
        });
        if result.is_err() && self.assignment.health.busy_deadline.is_some() {
            // Only its load report can tell whether it is busy or dead.
            self.next_load = now;
        }
        if let Some(checks) = self.life.checks_mut() {
            checks.record(&self.assignment.health, asked, result, now);
        }
    }

    fn prober(
        &self,
        port: Option<&Name>,
        config: &Config,
        host: &Host,
    ) -> Result<Prober, Unhealthy> {
        let impossible = |cause: String| Unhealthy::Unreachable {
            asked: format!("a check of {}", self.assignment.instance),
            cause,
        };
        let target = match &self.assignment.run {
            Run::External { host, port } => Target {
                host: host.clone(),
                port: *port,
            },
            Run::Process(_) => {
                let first = self.assignment.ports.first().map(|port| &port.name);
                let number = port.or(first).and_then(|name| self.ports.get(name));
                Target {
                    host: config.address.clone(),
                    port: *number.ok_or_else(|| impossible("it has no such port".to_owned()))?,
                }
            }
        };
        // A check and a load report of one port share a connection.
        let others = [&self.health.prober, &self.load.prober];
        let same = others
            .into_iter()
            .flatten()
            .find(|prober| *prober.target() == target);
        match same {
            Some(prober) => Ok(prober.clone()),
            None => Prober::new(target, host).map_err(|error| impossible(error.to_string())),
        }
    }
}
