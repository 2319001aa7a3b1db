//! What the supervisor does to one instance: start, stop, kill, forget, and take in its end.

use std::sync::Arc;

use crate::{
    model::{Exit, ExitCause, Instance, Moment, Run, service::StopSignal},
    plan::{
        agent::{Action, Life, NotStarted, PRE_START_FAILED, START_FAILED},
        report::describe,
    },
    process::{End, Ended, Program, Started},
};

use super::{
    super::{
        instance::{Managed, What},
        memory, ports, program,
    },
    START_TIME, Supervisor,
};

impl Supervisor {
    /// Carries out what was decided.
    pub(super) async fn act(&mut self, name: &Instance, action: Action, now: Moment) {
        self.disturb();
        let node = &self.config.node;
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        match action {
            Action::Start => self.start(name, now).await,
            Action::Attach => {
                tracing::info!(%node, instance = %name, "external endpoint attached");
                let life = Life::attached(&managed.assignment.revision, now);
                managed.begin(life);
            }
            Action::Drain(cause) => {
                tracing::info!(%node, instance = %name, %cause, "clients are sent elsewhere");
                managed.change(|life| life.draining(cause, now));
            }
            Action::Resume => {
                tracing::info!(%node, instance = %name, "wanted again before it was asked to stop");
                managed.change(Life::resumed);
            }
            Action::Stop(cause) => {
                tracing::info!(%node, instance = %name, %cause, "asked to stop");
                let assignment = managed.assignment.clone();
                managed.change(|life| life.stopping(&assignment, cause, now));
                if matches!(managed.life, Life::Stopping { asked_at: None, .. }) {
                    managed.pre_stop_failure = None;
                    send(managed, assignment.stop.signal);
                }
            }
            Action::Signal(cause) => {
                tracing::info!(%node, instance = %name, %cause, "asked to stop, after preStop");
                let assignment = managed.assignment.clone();
                // Unless its end has been heard of.
                let late = Err("it did not end in time, and was killed".to_owned());
                managed.pre_stopped(late, self.host.clock.timestamp());
                managed.change(|life| life.signalled(&assignment, now));
                send(managed, assignment.stop.signal);
            }
            Action::Kill(cause) => {
                tracing::warn!(%node, instance = %name, %cause, "killed: its grace is over");
                managed.change(Life::killed);
                send(managed, StopSignal::SigKill);
            }
            Action::Forget => {
                tracing::info!(%node, instance = %name, "forgotten");
                self.forget(name).await;
            }
        }
    }

    /// Starts a process, or records why that cannot be.
    async fn start(&mut self, name: &Instance, now: Moment) {
        let prepared = self.prepare(name, now).await;
        if let Err(why) = &prepared
            && self.adopt_stranger(name, why, now)
        {
            return;
        }
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let revision = managed.assignment.revision.clone();
        if managed.life.revision() != revision {
            // A new program gets a new chance.
            managed.back_off = Default::default();
        }
        if !matches!(&prepared, Err(why) if why.is_obstruction()) {
            managed.starts = managed.starts.saturating_add(1);
        }
        let started = match prepared {
            Ok(program) => self.launch(name, &revision, &program, now).await,
            Err(why) => Err(why),
        };
        if started.is_err() {
            self.take_back_files(name);
        }
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let node = &self.config.node;
        match started {
            Ok(Started { process, ended }) => {
                let pid = process.pid();
                tracing::info!(%node, instance = %name, pid, revision, "started");
                self.events.push(managed.tagged(ended, What::Ended));
                managed.process = Some(process);
                managed.look_at_process(now);
                self.events.extend(managed.watch_process());
                if managed.is_starting() {
                    self.starting.insert(name.clone(), now + START_TIME);
                }
                self.confine(name);
            }
            Err(why) => {
                tracing::warn!(%node, instance = %name, reason = why.reason, "{}", why.message);
                let fraction = self.host.entropy.fraction();
                let restart = &managed.assignment.restart;
                let back_off = &mut managed.back_off;
                let life = Life::not_started(&revision, restart, back_off, why, fraction, now);
                managed.begin(life);
                self.show_next_start(name);
            }
        }
    }

    /// Starts the process. It is written down first: were the agent to die in between, the next one would ask
    /// the shim whether it was started.
    async fn launch(
        &mut self,
        name: &Instance,
        revision: &str,
        program: &Program,
        now: Moment,
    ) -> Result<Started, NotStarted> {
        let managed = self.instances.get_mut(name).ok_or_else(forgotten)?;
        managed.begin(match program.pre_start {
            Some(_) => Life::preparing(revision, now),
            None => Life::started(revision, now),
        });
        managed.started_at = Some(self.host.clock.timestamp());
        managed.stop_grace = Some(managed.assignment.stop.grace);
        managed.artifact = managed
            .assignment
            .run
            .artifact()
            .map(|it| it.sha256.clone());
        managed.incarnation += 1;
        let incarnation = managed.incarnation;
        let place = self.home.place(name, &managed.uuid);
        self.remember(name).map_err(|error| NotStarted {
            reason: "StateDirectory",
            message: format!("its start cannot be written down: {error}"),
        })?;
        let starting = self.processes.start(&place, incarnation, program);
        starting.await.map_err(|error| NotStarted {
            reason: START_FAILED,
            message: error.to_string(),
        })
    }

    /// Everything up to the start of the process.
    async fn prepare(&mut self, name: &Instance, now: Moment) -> Result<Program, NotStarted> {
        let certain_until = *self.session.certain_until.borrow();
        let others = self.instances.iter().filter(|(other, _)| *other != name);
        let taken = others
            .flat_map(|(_, other)| other.ports.values().copied())
            .collect();
        let processes = Arc::clone(&self.processes);
        let own = self.neighbours(name);
        let holder = move |port: u16| match own.get(&port) {
            Some(neighbour) => Some(format!("{neighbour} of this node")),
            None => processes.holder(port),
        };
        let managed = self.instances.get_mut(name).ok_or_else(forgotten)?;
        let assignment = &managed.assignment;
        let Run::Process(template) = &assignment.run else {
            return Err(forgotten());
        };
        managed.ports = ports::find(
            &*self.host.network,
            &self.config.address,
            &assignment.ports,
            &managed.ports,
            &taken,
            &holder,
        )
        .await?;
        let deadline = certain_until.filter(|_| managed.stops_when_cut_off());
        let program = program::resolve(
            &self.config,
            &self.home,
            &self.host,
            assignment,
            template,
            &managed.ports,
        )?;
        Ok(Program {
            stop_within: deadline.map(|deadline| deadline.since(now)),
            ..program
        })
    }

    /// Clears away what is kept of an instance that is to be no more.
    async fn forget(&mut self, name: &Instance) {
        let Some(managed) = self.instances.remove(name) else {
            return;
        };
        let place = self.home.place(name, &managed.uuid);
        let cleared = self.processes.forget(&place).await;
        self.take_back_files(name);
        // Last: as long as it lies there, an agent looks after the rest.
        let record = memory::path(&self.home, name);
        if let Err(error) = cleared.and_then(|()| self.host.disk.remove(&record)) {
            tracing::error!(instance = %name, %error, "what is left of it cannot be cleared away");
        }
        self.yield_name(name, self.host.clock.now());
    }

    /// Takes in the end of its process at `now`, which may be long ago.
    pub(super) fn ended(&mut self, name: &Instance, end: End, now: Moment) {
        self.disturb();
        self.take_back_files(name);
        let Some(managed) = self.instances.get_mut(name) else {
            return;
        };
        let exit = Exit {
            code: end.code,
            signal: end.signal,
            at: end.at.unwrap_or_else(|| self.host.clock.timestamp()),
            cause: end.cause,
            memory_limit: match end.cause {
                Some(ExitCause::OutOfMemory) => managed.assignment.resources.memory,
                _ => None,
            },
        };
        let cause = match &managed.life {
            Life::Stopping { cause, .. } => cause.to_string(),
            Life::Draining { drain, .. } => drain.cause.to_string(),
            _ => "by itself".to_owned(),
        };
        tracing::info!(
            node = %self.config.node, instance = %name, how = describe(&exit), cause, "ended"
        );
        let fraction = self.host.entropy.fraction();
        let life = managed.life.clone();
        let restart = &managed.assignment.restart;
        let back_off = &mut managed.back_off;
        let started = matches!(life, Life::Stopping { .. }) || end.of == Ended::Program;
        let life = match started {
            true => life.ended(restart, back_off, exit.clone(), fraction, now),
            false => {
                let why = not_prepared(end, &exit);
                let revision = life.revision();
                Life::not_started(revision, restart, back_off, why, fraction, now)
            }
        };
        managed.process = None;
        managed.artifact = None;
        managed.last_exit = Some(exit);
        managed.begin(life);
        self.show_next_start(name);
    }

    /// Removes the files that it was given: nobody needs them until its next start.
    fn take_back_files(&self, name: &Instance) {
        if let Err(error) = self.host.disk.take_back(&self.home.files(name)) {
            tracing::error!(instance = %name, %error, "the files that it was given cannot be removed");
        }
    }

    /// Notes on the wall clock when the next start is due: once, so that it does not change with time.
    fn show_next_start(&mut self, name: &Instance) {
        let now = self.host.clock.now();
        if let Some(managed) = self.instances.get_mut(name)
            && let Life::Ended { until, .. } = &managed.life
        {
            managed.next_start_at = Some(self.host.clock.timestamp() + until.since(now));
        }
    }
}

/// Why nothing was started after what prepares the start.
fn not_prepared(end: End, exit: &Exit) -> NotStarted {
    let (reason, message) = match end.of {
        Ended::PreStartTimeout => (
            PRE_START_FAILED,
            "its preStart command took too long".to_owned(),
        ),
        Ended::NotStarted => (
            START_FAILED,
            "it could not be started after its preStart command: its log says why".to_owned(),
        ),
        Ended::PreStart | Ended::Program => (
            PRE_START_FAILED,
            format!("its preStart command {}", describe(exit)),
        ),
    };
    NotStarted { reason, message }
}

fn forgotten() -> NotStarted {
    NotStarted {
        reason: "Forgotten",
        message: "it is not assigned any more".to_owned(),
    }
}

fn send(managed: &Managed, signal: StopSignal) {
    let Some(process) = &managed.process else {
        return;
    };
    if let Err(error) = process.signal(signal) {
        let instance = &managed.assignment.instance;
        tracing::error!(%instance, pid = process.pid(), %error, "cannot be signalled");
    }
}
