//! What the leader tells an agent to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    name::{Instance, Name},
    quantity::Period,
    resources::Resources,
    run_as::RunAs,
    service::{
        ArtifactSpec, FileSpec, HealthSpec, Hook, LoadSpec, LogSpec, NotifySpec, OnAgentStop,
        OnPartition, RecycleSpec, Requests, RestartSpec, StopSpec, Variable, is_default, is_true,
        yes,
    },
    ticket::TicketSpec,
    time::Timestamp,
};

/// What lies under `assign/<node>/<instance>`: everything that host needs, so that an agent reads
/// nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Which instance.
    pub instance: Instance,
    /// Whether it is to run. An instance is stopped because this says `absent`, never because the
    /// key is missing.
    pub desired: Desired,
    /// Generation of the service that this assignment carries out.
    pub generation: u64,
    /// Identifies the process template ([`crate::model::assignment::Template`]): an instance whose
    /// process runs another revision is replaced.
    pub revision: String,
    /// What is run.
    pub run: Run,
    /// It runs elsewhere as well, since its node was away: what runs is left running until it is decided which
    /// of the two ends, and nothing is started.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replaced: bool,
    /// What it takes of the node's capacity.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: Requests,
    /// Its ports, in the manifest's order; the first is the endpoint that clients are told.
    #[serde(default)]
    pub ports: Vec<AssignedPort>,
    /// The names asked of health checks and load reports.
    #[serde(default)]
    pub service_names: Vec<String>,
    /// Whether balancers answer with it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub published: bool,
    /// How it is given out, where clients have it to themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<TicketSpec>,
    /// How much memory and processor time it may have.
    #[serde(default, skip_serializing_if = "is_unlimited")]
    pub resources: Resources,
    /// How health is checked.
    #[serde(default)]
    pub health: HealthSpec,
    /// Where load comes from.
    #[serde(default)]
    pub load: LoadSpec,
    /// When it is started again.
    #[serde(default)]
    pub restart: RestartSpec,
    /// When its process is replaced only because it is old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycle: Option<RecycleSpec>,
    /// The process that was started then may be recycled now; any other has to wait for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycle_turn: Option<Timestamp>,
    /// How long it has to be ready before a rollout builds on it.
    #[serde(default = "at_once", skip_serializing_if = "is_at_once")]
    pub min_ready: Period,
    /// What is run before it is asked to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    /// How it is stopped.
    #[serde(default)]
    pub stop: StopSpec,
    /// What becomes of it when its agent is told to end.
    #[serde(default)]
    pub on_agent_stop: OnAgentStop,
    /// Whether whoever holds its port already is used as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// What becomes of it while its agent cannot confirm its session.
    #[serde(default)]
    pub on_partition: OnPartition,
    /// Whether it may never run twice: its agent announces it in the store before each first start under a session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub singleton: bool,
    /// How much of its output is kept.
    #[serde(default)]
    pub logs: LogSpec,
}

impl Assignment {
    /// What is to be gone by once the store says `next`. A leader that knew nothing but the state of what is to end
    /// could not say how: that stays as it is.
    #[must_use]
    pub fn then(self, next: Assignment) -> Assignment {
        let says_how = match &next.run {
            Run::Process(template) => !template.command.is_empty(),
            Run::External { .. } => true,
        };
        match next.desired {
            Desired::Absent if !says_how => Assignment {
                desired: next.desired,
                generation: next.generation,
                ..self
            },
            _ => next,
        }
    }
}

/// Whether an instance is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Desired {
    /// Run it and keep it running.
    Present,
    /// Stop it, then delete its state.
    Absent,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every assignment is of the large one"
)]
pub enum Run {
    /// A process of ours.
    Process(Template),
    /// An endpoint that somebody else runs: it is probed and reported, nothing else.
    External {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Run {
    /// What it is started from, where that is fetched.
    pub fn artifact(&self) -> Option<&ArtifactSpec> {
        match self {
            Self::Process(template) => template.artifact.as_ref(),
            Self::External { .. } => None,
        }
    }
}

/// The part of a spec that needs a new process when it changes. Placeholders are still in it: only
/// the agent knows its address and free ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Program and arguments.
    pub command: Vec<String>,
    /// What it is started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactSpec>,
    /// Where it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Variable>,
    /// Files of the host that it is given copies of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// What comes before its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_start: Option<Hook>,
    /// What it says of itself to its shim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifySpec>,
    /// As whom it runs, and what it may use up.
    #[serde(flatten)]
    pub run_as: RunAs,
}

/// A port of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedPort {
    /// The name from the manifest.
    pub name: Name,
    /// The number; none means that the agent takes a free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// The host that clients are told, where it is not the node's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}

fn is_unlimited(resources: &Resources) -> bool {
    !resources.is_limited()
}

const fn at_once() -> Period {
    Period::from_secs(0)
}

fn is_at_once(period: &Period) -> bool {
    *period == at_once()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_end_ends_as_was_said_before_where_the_leader_knew_only_its_state() {
        let text = r#"{"instance": "web-0", "desired": "present", "generation": 3, "revision": "a",
            "run": {"process": {"command": ["web"]}}, "stop": {"drain": "60s"},
            "ports": [{"name": "grpc", "port": 5001}]}"#;
        let known: Assignment = serde_json::from_str(text).unwrap();
        let mut next = known.clone();
        next.desired = Desired::Absent;
        next.stop = StopSpec::default();
        assert_eq!(known.clone().then(next.clone()), next, "it says all");
        if let Run::Process(template) = &mut next.run {
            template.command.clear();
        }
        next.ports.clear();
        next.generation = 4;
        let expected = Assignment {
            desired: Desired::Absent,
            generation: 4,
            ..known.clone()
        };
        assert_eq!(known.then(next), expected);
    }
}
