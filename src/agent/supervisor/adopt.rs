//! Going on with what the agent before this one has left, and leaving things to the next.

use std::{io, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};

use crate::{
    model::{Instance, Moment},
    plan::{
        agent::{HowEnded, Life},
        health::Checks,
    },
    process::{Found, Started},
};

use super::{
    super::{
        instance::{Event, Managed, What},
        memory::{self, Memory, Record},
    },
    Supervisor,
};

/// Pause before it is asked again what there is of a process.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Takes over what was found. Call it before [`Supervisor::run`].
    pub(in super::super) fn adopt(&mut self, memories: Vec<Memory>) {
        let now = self.host.clock.now();
        for memory in memories {
            let name = memory.record.assignment.instance.clone();
            self.adopt_one(&name, memory, now);
            self.wakes.by(&name, now);
        }
    }

    fn adopt_one(&mut self, name: &Instance, memory: Memory, now: Moment) {
        let Memory {
            record,
            life,
            found,
        } = memory;
        // Whether a process was meant to live; an older agent may not know what to call that.
        let lived = life.as_ref().is_none_or(Life::lives);
        let alive = life
            .filter(Life::lives)
            .unwrap_or_else(|| plainly_alive(&record, now));
        let rest = serde_json::from_value(record.life.clone()).ok();
        let rest = rest.filter(|life: &Life| !life.lives());
        let mut managed = Box::new(Managed::recall(record));
        if managed.is_local && self.local.is_none() {
            tracing::warn!(
                node = %self.config.node, instance = %name,
                "it ran by the agent's own manifests, and now no --manifests are named: it is left running"
            );
            managed.orphaned = true;
        }
        managed.life = match lived {
            true => alive,
            false => rest.unwrap_or(Life::Fresh),
        };
        self.go_on(name, managed, found, now);
    }

    /// Takes in what there is of a process that could not be found out about at first.
    pub(super) fn found(&mut self, name: &Instance, found: io::Result<Found>, now: Moment) {
        if let Some(mut managed) = self.instances.remove(name) {
            managed.doubt = None;
            self.go_on(name, managed, found, now);
        }
    }

    /// Goes on with an instance, of which its life tells what the last agent knew, and `found` what there is.
    fn go_on(
        &mut self,
        name: &Instance,
        mut managed: Box<Managed>,
        found: io::Result<Found>,
        now: Moment,
    ) {
        let node = &self.config.node;
        let (incarnation, lived) = (managed.incarnation, managed.life.lives());
        match found {
            Ok(Found::Running {
                incarnation: found,
                started,
            }) if found == incarnation => {
                let Started { process, ended } = started;
                tracing::info!(%node, instance = %name, pid = process.pid(), "adopted");
                if !lived {
                    let revision = managed.life.revision().to_owned();
                    managed.life = Life::started(&revision, now);
                }
                managed.process = Some(process);
                managed.look_at_process(now);
                self.events.extend(managed.watch_process());
                self.events.push(managed.tagged(ended, What::Ended));
                self.instances.insert(name.clone(), managed);
                self.confine(name);
            }
            Ok(Found::Idle {
                last: Some((last, end)),
            }) if lived && last == incarnation => {
                self.instances.insert(name.clone(), managed);
                tracing::info!(%node, instance = %name, "ended while no agent was there");
                // Its back-off has run since then. The wall clock, which may have been set since, is not asked;
                // an older shim tells nothing else.
                self.ended(name, end, end.moment.map_or(now, |moment| moment.min(now)));
            }
            // Nothing lived, and a start would have been written down.
            Ok(Found::Idle { .. }) if !lived => {
                self.instances.insert(name.clone(), managed);
            }
            Err(error) if lived && is_doubt(&error) => {
                tracing::error!(
                    %node, instance = %name, %error,
                    "whether its process lives cannot be found out; it is waited for"
                );
                managed.doubt = Some(error.to_string());
                self.events.push(self.find_again(name, &managed));
                self.instances.insert(name.clone(), managed);
            }
            // The start was recorded, but did not happen; or whatever lives makes room for it.
            found => {
                if let Err(error) = &found {
                    tracing::error!(%node, instance = %name, %error, "its process cannot be gone on with");
                }
                managed.incarnation = incarnation.max(highest(&found));
                let is_untouched = matches!(found, Ok(Found::Idle { last: None }));
                // Where nobody can tell, it may have happened: the next start is a restart.
                if found.is_ok() {
                    managed.starts = managed.starts.saturating_sub(1);
                }
                managed.life = match is_untouched {
                    true => Life::Fresh,
                    false => due(&managed, now),
                };
                self.instances.insert(name.clone(), managed);
            }
        }
    }

    /// Asks for the process of an instance until it is known what there is.
    fn find_again(&self, name: &Instance, managed: &Managed) -> BoxFuture<'static, Event> {
        let place = self.home.place(name, &managed.uuid);
        let (processes, host) = (Arc::clone(&self.processes), self.host.clone());
        let finding = async move {
            loop {
                host.clock.sleep(LOOK_AGAIN).await;
                match processes.find(&place).await {
                    Err(error) if is_doubt(&error) => {}
                    found => return found,
                }
            }
        };
        managed.tagged(finding.boxed(), What::Found)
    }

    /// Writes down what the next agent has to know of an instance, if that has changed.
    pub(super) fn remember(&mut self, name: &Instance) -> io::Result<()> {
        let Some(managed) = self.instances.get_mut(name) else {
            return Ok(());
        };
        let body = managed.record(self.home.boot_id()).body();
        if managed.remembered.as_ref() != Some(&body) {
            let path = memory::path(&self.home, name);
            self.host.disk.write(&path, &memory::seal(&body), false)?;
            managed.remembered = Some(body);
        }
        Ok(())
    }

    /// Whether an instance is left as it is when the agent ends.
    pub(super) fn is_kept(&self, managed: &Managed) -> bool {
        !self.config.ends_all && managed.is_kept()
    }

    /// Whether there is nothing for the next agent to go on with.
    pub(in super::super) fn leaves_nothing(&self) -> bool {
        self.instances.is_empty()
    }
}

/// A living process, of which only the plainest is known.
fn plainly_alive(record: &Record, now: Moment) -> Life {
    Life::Alive {
        revision: record.revision.clone(),
        since: now,
        checks: Checks::resume(now, record.ready),
    }
}

/// Whether a failure to find a process leaves open whether it lives: a shim that is frozen, or that cannot be
/// reached for want of something. Who lives there and is not ours, or tells nonsense, is no doubt.
fn is_doubt(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::InvalidData
}

/// The number of the last start that is known of: the next has to be higher.
fn highest(found: &io::Result<Found>) -> u64 {
    match found {
        Ok(Found::Running { incarnation, .. }) => *incarnation,
        Ok(Found::Idle {
            last: Some((last, _)),
        }) => *last,
        _ => 0,
    }
}

/// To be started now.
fn due(managed: &Managed, now: Moment) -> Life {
    let Some(exit) = managed.last_exit.clone() else {
        return Life::Fresh;
    };
    Life::Ended {
        revision: managed.assignment.revision.clone(),
        until: now,
        how: HowEnded::Exited(exit),
        streak: managed.back_off.streak(),
    }
}
