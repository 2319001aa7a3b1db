//! What an agent observes of an instance.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    name::{Instance, Name},
    quantity::{Period, Size},
    time::Timestamp,
};

/// What lies under `state/<node>/<instance>`. Written by that node's agent, only when it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceState {
    /// Which instance.
    pub instance: Instance,
    /// The node that runs it.
    pub node: Name,
    /// What it is doing.
    pub phase: Phase,
    /// Whether clients may be sent to it: it runs, and its last check succeeded.
    pub ready: bool,
    /// Whether it has been ready for less than the manifest asks (`rollout.minReady`): clients are sent to
    /// it, but a rollout does not build on it yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settling: bool,
    /// Process id, while a process lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Where clients reach it: the first port. None for an instance without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Its ports, by name.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// Starts after the first, since the instance was assigned to this node.
    #[serde(default)]
    pub restarts: u32,
    /// Why it is in its phase, one CamelCase word for programs; empty when there is nothing to say.
    #[serde(default)]
    pub reason: String,
    /// The same for people.
    #[serde(default)]
    pub message: String,
    /// What its process says that it does (`STATUS=`), as it was when it last said something that
    /// matters: a change of this alone is not written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status_text: String,
    /// How its process ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// How its `preStop` command failed, if it did so before the last stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop_failure: Option<HookFailure>,
    /// Whether its process is old and idle enough to be recycled, and waits for its turn, or has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recycle_due: bool,
    /// When the living process was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the next start is due, in the phases `BackOff`, `CrashLoop` and `StartFailed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_at: Option<Timestamp>,
    /// The assignment's generation that this state reflects.
    pub observed_generation: u64,
    /// The revision of the process that lives or lived last; empty before the first start.
    #[serde(default)]
    pub revision: String,
    /// How long it takes at most to stop by itself once its agent is cut off from the store (`onPartition: stop`):
    /// the grace that its shim gives it. None: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_stop: Option<Period>,
    /// The session under which the agent wrote this: the mod-revision of its session key.
    pub epoch: i64,
}

impl InstanceState {
    /// Whether a rollout may build on it: it has been ready for long enough.
    pub fn is_available(&self) -> bool {
        self.ready && !self.settling
    }
}

/// Host and port of an instance, as clients are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// What `text` says as `host:port`, an IPv6 address in brackets; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then_some(Self { host, port })
    }
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What an instance is doing. Says per phase what a start and a stop mean in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Assigned, nothing started yet. A start is due at once, within the node's width of starts.
    Pending,
    /// A process lives but no check has succeeded yet. A stop ends it as in `Running`.
    Starting,
    /// A process lives and has been healthy. A stop signals it, and kills it after the grace.
    Running,
    /// A process lives and is to stop: clients are not sent to it any more, and it finishes its work
    /// (`stop.drain`). It runs on if it is wanted again before it was asked to stop.
    Draining,
    /// The process was asked to stop and has not ended yet. It is not started before it has.
    Stopping,
    /// The process ended; the next start is due at `nextStartAt`. A stop cancels it.
    BackOff,
    /// As `BackOff`, after the third end in a row without a run of `restart.resetAfter` between them.
    CrashLoop,
    /// The program could not be started at all; tried again as in `BackOff`.
    StartFailed,
    /// The process ended and its restart policy asks for no further one. Only a new revision starts it.
    Completed,
    /// `restart.maxAttempts` starts in a row came to an end. Only a new revision or a restart request
    /// starts it.
    Failed,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its exit code, when it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When.
    pub at: Timestamp,
    /// What ended it, where that is known and was not the process itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ExitCause>,
    /// How much memory it could have, where it ran out of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Size>,
}

/// How a command beside a process failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFailure {
    /// What went wrong, for people.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// What ended a process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitCause {
    /// Its processes used up the memory that they may have (`resources.memory`), or the host had no more.
    OutOfMemory,
    /// Its agent could not confirm its session for as long as `onPartition: stop` allows.
    Partition,
    /// Something that only a younger version knows.
    #[serde(other)]
    Unknown,
}
