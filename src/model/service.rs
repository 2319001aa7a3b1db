//! The manifest kind `Service`: what an operator asks for.

mod agent_stop;
mod artifact;
mod balance;
mod hooks;
mod load;
mod logs;
mod notify;
mod partition;
mod placement;
mod port;
mod port_range;
mod recycle;
mod requirement;
mod restarts;
mod rollout;
mod secret;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{name::Name, quantity::Period, resources::Resources, run_as::RunAs, time::Timestamp};

pub use agent_stop::OnAgentStop;
pub use artifact::{ArtifactSpec, Digest};
pub use balance::{BalanceSpec, EjectionSpec, Policy, PreferSpec, Weighing};
pub use hooks::{ExecCheck, Hook};
pub use load::{HttpLoad, LoadSpec, ProcessLoad};
pub use logs::LogSpec;
pub use notify::NotifySpec;
pub use partition::{OnPartition, SELF_STOP};
pub use placement::{Capacity, Placement, Requests};
pub use port::PortSpec;
pub use port_range::PortRange;
pub use recycle::{RecycleSpec, RecycleWhen};
pub use requirement::{InvalidRequirement, Requirement};
pub use restarts::Restarts;
pub use rollout::{Budget, RolloutSpec};
pub use secret::{FileMode, FileSpec, FromFile, Variable};

/// Labels of a service or node: short texts by which others select it.
pub type Labels = BTreeMap<String, String>;

/// What lies under `spec/service/<name>`: the last applied manifest and how often it changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceObject {
    /// Name and labels.
    pub metadata: Metadata,
    /// Grows by one with every change of `metadata` or `spec` and with every request (for a restart, a
    /// pause, or its end); the first is 1.
    pub generation: u64,
    /// The restarts that were asked for.
    #[serde(default, skip_serializing_if = "Restarts::is_none")]
    pub restarts: Restarts,
    /// Whether nothing is replaced until the operator says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What is wanted.
    pub spec: ServiceSpec,
}

/// What lies under `spec/deleted/<name>`: the service was deleted by an operator, and did not just
/// vanish. Only this, never a missing key, stops its instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// The generation that the deletion made; a later `apply` goes on from it.
    pub generation: u64,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// What a manifest says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Metadata {
    /// Unique among the services of the cluster.
    pub name: Name,
    /// Free labels, for people and selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

/// A named set of identical processes, or of endpoints that somebody else runs (`external`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ServiceSpec {
    /// How many instances to run, at most 10000; 0 keeps the service without any. Default 1. Not
    /// together with `onePerNode` or `external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10000))]
    pub replicas: Option<u32>,
    /// Run one instance on every node that `placement` admits. Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub one_per_node: bool,
    /// Which nodes may run it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: Placement,
    /// What one instance takes of its node's memory and processors.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: Requests,
    /// Never two of an instance at a time, not on different nodes either: on a node that is away it is not
    /// replaced before an operator has deleted the node; with `onPartition: stop`, not before it has stopped by
    /// itself. Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub singleton: bool,
    /// Program and arguments; no shell. Placeholders: `{host}`, `{port}`, `{port.<name>}`,
    /// `{instance}`, `{slot}`, `{node}`, `{service}`, `{cluster}`, `{quaestor}`, `{files}`, the
    /// directory of `files`, and `{artifact}`, that of `artifact`; `{{` and `}}` for literal braces. A command that begins with `{quaestor}` finds this cluster by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// The software that it is started from, fetched by its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactSpec>,
    /// Where the process starts; placeholders as in `command`. Default: a directory of its own
    /// under the agent's state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment variables; placeholders as in `command`. Values are text: numbers stand in
    /// quotes. Or `{fromFile: PATH}`, for what only the host knows. `PORT` (the first port) and
    /// `QUAESTOR_INSTANCE` are always set, and reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Variable>,
    /// Files of the host that the process is given copies of, in the directory `{files}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub files: Vec<FileSpec>,
    /// As whom it runs, and what it may use up.
    #[serde(flatten)]
    pub run_as: RunAs,
    /// How much memory and processor time each instance may have. New values reach what runs at once; the first
    /// limit, and removing the last one, takes a new process.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// The ports it listens on. The first is the one that clients are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortSpec>,
    /// The names under which clients ask for it; gRPC health checks ask for each of them. Default:
    /// clients use the service's own name and checks ask for the empty name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub service_names: Vec<String>,
    /// Whether the balancer answers with it. Default true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub published: bool,
    /// How balancers choose among its instances.
    #[serde(default, skip_serializing_if = "is_default")]
    pub balance: BalanceSpec,
    /// Services that come first: an instance is not started on a node before each of them has a ready
    /// instance. What runs is not stopped when one of them is not ready later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub after: Vec<Name>,
    /// How its health is checked. Default: a running process is healthy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health: HealthSpec,
    /// Where its load comes from. Default: nowhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub load: LoadSpec,
    /// When and how fast an ended process is started again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: RestartSpec,
    /// When a process is replaced only because it is old. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycle: Option<RecycleSpec>,
    /// Run before each start of the process, which is not started unless this exits with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_start: Option<Hook>,
    /// Run before the process is asked to end, after its work is finished. A failure is recorded and stops
    /// nothing from being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    /// How it is stopped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop: StopSpec,
    /// How a changed template reaches what runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollout: RolloutSpec,
    /// What becomes of the processes when their node's agent is told to end. Default `keep`. With
    /// `quaestor dev` everything ends, whatever this says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_agent_stop: OnAgentStop,
    /// Whether a program that is not ours, but already holds the port, is used as it is: checked and
    /// answered to clients, never signalled. When it goes away, a process of ours takes its place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub adopt: bool,
    /// What becomes of the processes when their node is cut off from the cluster, so that others may be
    /// started elsewhere in their place. Default `keep`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_partition: OnPartition,
    /// How much of its output is kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub logs: LogSpec,
    /// `host:port` of endpoints that somebody else runs: probed and served, never started or
    /// stopped. Takes the place of `command` and all else that is about a process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub external: Vec<String>,
}

/// How health is checked: one kind of check, and its timing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HealthSpec {
    /// Ask `grpc.health.v1.Health/Check`, for every name in `serviceNames`; all must be SERVING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<PortCheck>,
    /// `GET` a path; any 2xx or 3xx status is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<PortCheck>,
    /// Run a command beside the process; exit code 0 is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecCheck>,
    /// Listen to the process: healthy from its `READY=1` on, as systemd's `Type=notify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifySpec>,
    /// No check: a running process is healthy. The default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Nothing>,
    /// Time from one check to the next. Default 5s.
    #[serde(default = "HealthSpec::interval_default")]
    pub interval: Period,
    /// A check without an answer for this long has failed. Default 2s.
    #[serde(default = "HealthSpec::timeout_default")]
    pub timeout: Period,
    /// The instance leaves the answers at the first failure and is restarted at this many in a row.
    /// Default 3.
    #[serde(default = "HealthSpec::failure_threshold_default")]
    #[schemars(range(min = 1))]
    pub failure_threshold: u32,
    /// For this long after its start, failed checks do not count until one has succeeded. Default 30s.
    #[serde(default = "HealthSpec::startup_grace_default")]
    pub startup_grace: Period,
    /// Busy is not dead: while the load report advances or tells of work, failed checks make the
    /// instance unready but restart it only after this long. Needs `load`. Default: no such delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_deadline: Option<Period>,
}

impl HealthSpec {
    /// Whether anything tells a healthy process from one that merely runs.
    pub fn is_checked(&self) -> bool {
        let over_a_port = self.grpc.is_some() || self.http.is_some() || self.tcp.is_some();
        over_a_port || self.exec.is_some() || self.notify.is_some()
    }

    const fn interval_default() -> Period {
        Period::from_secs(5)
    }

    const fn timeout_default() -> Period {
        Period::from_secs(2)
    }

    const fn failure_threshold_default() -> u32 {
        3
    }

    const fn startup_grace_default() -> Period {
        Period::from_secs(30)
    }
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            grpc: None,
            http: None,
            tcp: None,
            exec: None,
            notify: None,
            none: None,
            interval: Self::interval_default(),
            timeout: Self::timeout_default(),
            failure_threshold: Self::failure_threshold_default(),
            startup_grace: Self::startup_grace_default(),
            busy_deadline: None,
        }
    }
}

/// A check or report over one of the service's ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PortCheck {
    /// The name of the port. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
}

/// An HTTP check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HttpCheck {
    /// The name of the port. Default: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
    /// What is asked for. Default `/`.
    #[serde(default = "HttpCheck::path_default")]
    #[schemars(extend("pattern" = "^/"))]
    pub path: String,
}

impl HttpCheck {
    fn path_default() -> String {
        "/".to_owned()
    }
}

/// A choice without settings, written `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Nothing {}

/// When and how fast an ended process is started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RestartSpec {
    /// Which ends are followed by a start. Default `always`.
    #[serde(default)]
    pub policy: RestartPolicy,
    /// The pause before the first restart; it doubles with each further one. `0s` restarts at once, and pauses from
    /// the second in a row on: 10ms, 20ms and so on. Default 100ms.
    #[serde(default = "RestartSpec::delay_default")]
    pub delay: Period,
    /// The longest pause. Default 5m.
    #[serde(default = "RestartSpec::max_delay_default")]
    pub max_delay: Period,
    /// After running this long the next pause is `delay` again. Default 10m.
    #[serde(default = "RestartSpec::reset_after_default")]
    pub reset_after: Period,
    /// After so many starts in a row that came to an end within `resetAfter`, the instance is `Failed`:
    /// only a new revision or a restart request starts it again. Default: it is tried for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_attempts: Option<u32>,
}

impl RestartSpec {
    const fn delay_default() -> Period {
        Period::from_millis(100)
    }

    const fn max_delay_default() -> Period {
        Period::from_secs(300)
    }

    const fn reset_after_default() -> Period {
        Period::from_secs(600)
    }
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::default(),
            delay: Self::delay_default(),
            max_delay: Self::max_delay_default(),
            reset_after: Self::reset_after_default(),
            max_attempts: None,
        }
    }
}

/// Which ends of a process are followed by a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RestartPolicy {
    /// Every one.
    #[default]
    Always,
    /// Those with an exit code other than 0, or by a signal.
    OnFailure,
    /// None.
    Never,
}

/// How a process is stopped: clients are sent elsewhere, the work at hand is finished, the process is
/// asked to end, and killed if need be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StopSpec {
    /// Once clients are sent elsewhere, the process may finish its work for this long: until its load
    /// report says that it works on no request or, without `load`, for the whole time. Default 0s: it
    /// is asked to end as soon as the balancers know.
    #[serde(
        default = "StopSpec::drain_default",
        skip_serializing_if = "StopSpec::is_drain_default"
    )]
    pub drain: Period,
    /// What asks it to end. Default SIGTERM.
    #[serde(default)]
    pub signal: StopSignal,
    /// A process that lives on for this long after the signal is killed, with its process group.
    /// Default 30s.
    #[serde(default = "StopSpec::grace_default")]
    pub grace: Period,
}

impl StopSpec {
    const fn drain_default() -> Period {
        Period::from_secs(0)
    }

    fn is_drain_default(drain: &Period) -> bool {
        *drain == Self::drain_default()
    }

    const fn grace_default() -> Period {
        Period::from_secs(30)
    }
}

impl Default for StopSpec {
    fn default() -> Self {
        Self {
            drain: Self::drain_default(),
            signal: StopSignal::default(),
            grace: Self::grace_default(),
        }
    }
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// Terminate.
    #[default]
    SigTerm,
    /// Interrupt, as Ctrl-C does.
    SigInt,
    /// Quit.
    SigQuit,
    /// Hang up.
    SigHup,
    /// User-defined 1.
    SigUsr1,
    /// User-defined 2.
    SigUsr2,
    /// Kill at once: the process cannot prepare.
    SigKill,
}

impl ServiceSpec {
    /// How long an instance has to be ready before it counts as available.
    pub fn min_ready(&self) -> Period {
        /// Without a check, this tells a process that works from one that ends at once.
        const PROOF: Period = Period::from_secs(2);
        let default = match self.health.is_checked() || !self.external.is_empty() {
            true => Period::from_secs(0),
            false => PROOF,
        };
        self.rollout.min_ready.unwrap_or(default)
    }

    /// The names by which clients find the service: `serviceNames`, else its own name.
    pub fn discovery_names<'a>(&'a self, name: &'a Name) -> Vec<&'a str> {
        if self.service_names.is_empty() {
            vec![name.as_str()]
        } else {
            self.service_names.iter().map(String::as_str).collect()
        }
    }
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn is_true(value: &bool) -> bool {
    *value
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
