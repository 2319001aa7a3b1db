//! What is reported of an instance.

use super::{super::Config, Managed};
use crate::{
    model::{InstanceState, Moment, Run, state::Endpoint},
    plan::report::report,
};

/// The reason of what runs well, but without all of its limits.
const NOT_ENFORCED: &str = "ResourcesNotEnforced";

impl Managed {
    /// What is reported of it. The epoch is filled in by who writes it.
    pub(in crate::agent) fn state(
        &self,
        config: &Config,
        agent_ends: bool,
        settling: bool,
        lacking: Option<(&'static str, String)>,
        now: Moment,
    ) -> InstanceState {
        let mut report = report(&self.goal(agent_ends, now), &self.life);
        if let Some(unenforced) = &self.unenforced {
            report.note(NOT_ENFORCED, unenforced);
        }
        let lives = self.life.lives();
        if let Some((reason, message)) = lacking {
            report.lack(reason, message, lives);
        }
        InstanceState {
            instance: self.assignment.instance.clone(),
            node: config.node.clone(),
            phase: report.phase,
            ready: report.ready,
            settling: settling && report.ready,
            pid: self.process.as_ref().map(|process| process.pid()),
            endpoint: self.endpoint(config),
            ports: self
                .ports
                .iter()
                .map(|(name, number)| (name.to_string(), *number))
                .collect(),
            restarts: self.starts.saturating_sub(1),
            reason: report.reason.to_owned(),
            message: report.message,
            status_text: self.status_text(),
            last_exit: self.last_exit.clone(),
            started_at: self.started_at.filter(|_| lives),
            next_start_at: self.next_start_at,
            observed_generation: self.assignment.generation,
            revision: self.life.revision().to_owned(),
            self_stop: self.self_stop(),
            epoch: 0,
        }
    }

    /// Where clients reach it.
    pub(in crate::agent) fn endpoint(&self, config: &Config) -> Option<Endpoint> {
        match &self.assignment.run {
            Run::External { host, port } => Some(Endpoint {
                host: host.clone(),
                port: *port,
            }),
            Run::Process(_) => {
                let first = self.assignment.ports.first()?;
                Some(Endpoint {
                    host: first.advertise.as_ref().unwrap_or(&config.address).clone(),
                    port: *self.ports.get(&first.name)?,
                })
            }
        }
    }
}
