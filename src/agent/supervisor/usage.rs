//! What the processes of the node use up: looked at now and then, for all of them at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Supervisor;
use crate::{
    model::{Instance, Moment, Usage},
    plan::usage::{INTERVAL, Usages, cores, load},
};

/// What was seen last.
#[derive(Default)]
pub(super) struct Watch {
    next: Moment,
    /// Of each instance: which start it was, its processor time, and when that was seen.
    seen: BTreeMap<Instance, (u64, Duration, Moment)>,
}

impl Supervisor {
    /// Looks at what the processes use if that is due. Returns when to do so again; none while none lives.
    pub(super) fn look_at_usage(&mut self, now: Moment) -> Option<Moment> {
        if now < self.usage.next {
            return Some(self.usage.next);
        }
        // Of those that the store knows nothing of it is told nothing.
        let shared = (self.instances.iter()).filter(|(_, managed)| !managed.is_local);
        let living: BTreeMap<Instance, u32> = shared
            .filter_map(|(name, managed)| Some((name.clone(), managed.process.as_ref()?.pid())))
            .collect();
        if living.is_empty() {
            self.usage.seen.clear();
            self.load.usage(Usages::new());
            self.host.metrics.agent.use_up(&Usages::new());
            return None;
        }
        self.usage.next = now + INTERVAL;
        let pids: BTreeSet<u32> = living.values().copied().collect();
        let used = self.processes.usage(&pids);
        let before = std::mem::take(&mut self.usage.seen);
        let mut usages = Usages::new();
        for (name, pid) in living {
            let (Some(used), Some(managed)) = (used.get(&pid), self.instances.get_mut(&name))
            else {
                continue;
            };
            let run = managed.run;
            let last = before.get(&name).filter(|(of, ..)| *of == run);
            let cpu =
                last.and_then(|(_, processor, at)| cores((*processor, *at), (used.processor, now)));
            self.usage
                .seen
                .insert(name.clone(), (run, used.processor, now));
            let Some(cpu) = cpu else {
                // What it used since its start says little of now: the next look does.
                continue;
            };
            let usage = Usage {
                cpu: (cpu * 1000.0).round() / 1000.0,
                memory: used.memory,
                processes: used.processes,
            };
            usages.insert(name.clone(), usage);
            if let Some(spec) = &managed.assignment.load.process {
                let all = spec.cores.unwrap_or_else(|| self.processes.processors());
                managed.measured(load(usage.cpu, all));
                self.load.set(&name, managed.load_report(now));
            }
        }
        self.host.metrics.agent.use_up(&usages);
        self.load.usage(usages);
        Some(self.usage.next)
    }
}
