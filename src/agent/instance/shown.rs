//! What is reported of an instance.

use super::{super::Config, Managed};
use crate::{
    model::{InstanceState, Moment, Run, state::Endpoint},
    plan::report::report,
};

/// The reason of what runs well, but without all of its limits.
const NOT_ENFORCED: &str = "ResourcesNotEnforced";

/// The reason of what may live or not: nobody can say.
const SHIM_SILENT: &str = "ShimSilent";

/// The reason of what is stopped although the command before that failed, if there is no other.
const PRE_STOP_FAILED: &str = "PreStopFailed";

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
        if let Some(failure) = self.failed_before_stop() {
            let message = format!("its preStop command failed: {}", failure.message);
            report.note(PRE_STOP_FAILED, &message);
        }
        if let Some(doubt) = &self.doubt {
            report.reason = SHIM_SILENT;
            report.message = format!(
                "whether its process lives cannot be found out, and is waited for: {doubt}"
            );
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
            pre_stop_failure: self.pre_stop_failure.clone(),
            recycle_due: self.turn.is_due(),
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
