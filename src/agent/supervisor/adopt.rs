//! Going on with what the agent before this one has left, and leaving things to the next.

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
        instance::{Managed, What},
        memory::{self, Memory, Record},
    },
    Supervisor,
};

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
        let incarnation = record.incarnation;
        // Whether a process was meant to live; an older agent may not know what to call that.
        let lived = life.as_ref().is_none_or(Life::lives);
        let alive = life
            .filter(Life::lives)
            .unwrap_or_else(|| plainly_alive(&record, now));
        let rest = serde_json::from_value(record.life.clone()).ok();
        let rest = rest.filter(|life: &Life| !life.lives());
        let mut managed = Managed::recall(record);
        if managed.is_local && self.local.is_none() {
            tracing::warn!(
                node = %self.config.node, instance = %name,
                "it ran by the agent's own manifests, and now no --manifests are named: it is left running"
            );
            managed.orphaned = true;
        }
        let node = &self.config.node;
        match found {
            Ok(Found::Running {
                incarnation: found,
                started,
            }) if found == incarnation => {
                let Started { process, ended } = started;
                tracing::info!(%node, instance = %name, pid = process.pid(), "adopted");
                managed.life = alive;
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
                managed.life = alive;
                self.instances.insert(name.clone(), managed);
                tracing::info!(%node, instance = %name, "ended while no agent was there");
                // Its back-off has run since then. The wall clock, which may have been set since, is not asked;
                // an older shim tells nothing else.
                self.ended(name, end, end.moment.map_or(now, |moment| moment.min(now)));
            }
            Ok(Found::Idle { .. }) if !lived => {
                managed.life = rest.unwrap_or(Life::Fresh);
                self.instances.insert(name.clone(), managed);
            }
            // The start was recorded, but did not happen; or whatever lives makes room for it.
            found => {
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

    /// Writes down what the next agent has to know of an instance, if that has changed.
    pub(super) fn remember(&mut self, name: &Instance) -> std::io::Result<()> {
        let Some(managed) = self.instances.get_mut(name) else {
            return Ok(());
        };
        let record = managed.record(self.home.boot_id());
        if managed.remembered.as_ref() != Some(&record) {
            let path = memory::path(&self.home, name);
            self.host.disk.write(&path, &record.seal(), false)?;
            managed.remembered = Some(record);
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

/// The number of the last start that is known of: the next has to be higher.
fn highest(found: &std::io::Result<Found>) -> u64 {
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
