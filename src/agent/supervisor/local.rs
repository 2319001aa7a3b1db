//! Running the agent's own manifests beside what the store assigns.
//!
//! Their instances are the node's alone: nothing of them is written to the store, where a state without
//! an assignment would mean something else. A file in the state directory shows them. Where the store
//! assigns an instance of the same name, the agent's own one runs, and the other is reported as not
//! started; it gets its turn when the name is free again.

use std::collections::BTreeMap;

use crate::{
    model::{Assignment, Desired, Instance, InstanceState, Moment, Phase},
    plan::local::{Seat, plan},
};

use super::{super::instance::Managed, Supervisor};

/// The reason of an assigned instance whose name belongs to one of the agent's own.
const NAME_TAKEN: &str = "NameTaken";

impl Supervisor {
    /// Looks at the agent's own manifests if that is due, and brings their instances in line.
    pub(super) fn look_at_manifests(&mut self, now: Moment) {
        let Some(local) = self.local.as_mut().filter(|it| now >= it.next_look()) else {
            return;
        };
        local.look(&*self.host.disk, now);
        // What the last agent ran stays as it was while the manifests cannot be read.
        let Some(services) = local.services() else {
            return;
        };
        let own = self.instances.iter().filter(|(_, it)| it.is_local);
        let seats = own.map(|(name, managed)| {
            let seat = Seat {
                assignment: &managed.assignment,
                revision: managed.life.revision(),
                ready: managed.is_ready(),
            };
            (name.clone(), seat)
        });
        let plan = plan(services, &seats.collect(), &self.config.labels);
        if plan.waiting != self.waiting {
            for wait in &plan.waiting {
                tracing::info!(node = %self.config.node, "{wait}");
            }
            self.waiting = plan.waiting;
        }
        for assignment in plan.assign {
            self.assign_own(assignment, now);
        }
    }

    fn assign_own(&mut self, assignment: Assignment, now: Moment) {
        let name = assignment.instance.clone();
        let theirs = match self.instances.get(&name) {
            Some(managed) if managed.is_local => None,
            Some(managed) => Some((managed.assignment.clone(), managed.stored_at)),
            None => {
                let uuid = self.host.entropy.uuid();
                let managed = Box::new(Managed::new(assignment.clone(), 0, uuid));
                self.instances.insert(name.clone(), managed);
                None
            }
        };
        let Some(managed) = self.instances.get_mut(&name) else {
            return;
        };
        managed.is_local = true;
        self.reassign(&name, assignment, 0);
        self.wakes.by(&name, now);
        if let Some((theirs, stored_at)) = theirs {
            self.shadow(name, theirs, stored_at);
        }
    }

    /// Takes in an assignment of the store whose name belongs to an instance of the agent's own.
    pub(super) fn shadow(&mut self, name: Instance, theirs: Assignment, stored_at: i64) {
        if theirs.desired == Desired::Absent {
            // Nothing of it runs here.
            return self.unshadow(&name);
        }
        let message = format!(
            "{name} on this node is the agent's own, by its --manifests: give one of the two another name"
        );
        tracing::error!(node = %self.config.node, instance = %name, "not started as assigned: {message}");
        let state = InstanceState {
            instance: name.clone(),
            node: self.config.node.clone(),
            phase: Phase::StartFailed,
            ready: false,
            settling: false,
            pid: None,
            endpoint: None,
            ports: BTreeMap::new(),
            restarts: 0,
            reason: NAME_TAKEN.to_owned(),
            message,
            status_text: String::new(),
            last_exit: None,
            pre_stop_failure: None,
            recycle_due: false,
            started_at: None,
            next_start_at: None,
            observed_generation: theirs.generation,
            revision: String::new(),
            self_stop: None,
            epoch: 0,
        };
        self.reporter.want(&name, Some(state));
        self.shadowed.insert(name, (theirs, stored_at));
    }

    /// The store does not ask any more for an instance whose name belongs to one of the agent's own.
    pub(super) fn unshadow(&mut self, name: &Instance) {
        self.shadowed.remove(name);
        self.reporter.want(name, None);
    }

    /// The name of one of the agent's own is free again: whoever waited for it gets it.
    pub(super) fn yield_name(&mut self, name: &Instance, now: Moment) {
        if let Some((theirs, stored_at)) = self.shadowed.remove(name) {
            let uuid = self.host.entropy.uuid();
            let managed = Box::new(Managed::new(theirs, stored_at, uuid));
            self.instances.insert(name.clone(), managed);
            self.wakes.by(name, now);
        }
    }

    /// Shows the agent's own instances in a file, if there is anything new to show.
    pub(super) fn show_own(&mut self, now: Moment) {
        if !std::mem::take(&mut self.own_changed) {
            return;
        }
        let agent_ends = self.ends_by.is_some();
        let own = self.instances.values().filter(|managed| managed.is_local);
        let own = own.map(|managed| {
            let lacking = self.lacking(managed);
            managed.state(&self.config, agent_ends, false, lacking, now)
        });
        let own: Vec<_> = own.collect();
        // Plain data with text keys cannot fail to become JSON.
        let mut text = serde_json::to_vec_pretty(&own).unwrap_or_default();
        text.push(b'\n');
        if text != self.own_shown {
            let written = self.host.disk.write(&self.home.own_states(), &text, false);
            if let Err(error) = written {
                tracing::error!(%error, "the agent's own instances cannot be shown");
            }
            self.own_shown = text;
            self.own_told.send_replace(own);
        }
    }
}
