//! The nouns: what operators write, what lies in etcd, and what each field means.
//!
//! Everything here is plain data. Stored JSON is an interface: fields are added, never renamed,
//! and readers ignore what they do not know.

pub mod applied;
pub mod assignment;
pub mod cluster;
pub mod event;
pub mod identity;
pub mod legacy;
pub mod load;
pub mod log;
pub mod manifest;
pub mod name;
pub mod node;
pub mod notice;
pub mod placeholder;
pub mod quantity;
pub mod resources;
pub mod revision;
pub mod run_as;
pub mod score;
pub mod secrecy;
pub mod service;
pub mod state;
pub mod status;
pub mod ticket;
pub mod time;

pub use applied::{AppliedManifest, Authorship, Edit};
pub use assignment::{AssignedPort, Assignment, Desired, Run};
pub use cluster::{ClusterSpec, ClusterStatus, StoreIdentity};
pub use identity::{Caller, Identity, Role};
pub use load::{LoadReport, NodeLoad, ServerStats, Usage};
pub use log::{LogBatch, LogLine, LogPosition, LogQuery, LogSource};
pub use name::{Instance, Name};
pub use node::{NodeSpec, Presence, Session};
pub use resources::Resources;
pub use revision::Revision;
pub use run_as::RunAs;
pub use service::{ServiceObject, ServiceSpec, Tombstone};
pub use state::{Exit, ExitCause, InstanceState, Phase};
pub use status::{Condition, ConditionStatus, NodeStatus, RolledBack, Route, ServiceStatus};
pub use ticket::{TicketId, TicketSpec, Units};
pub use time::{Moment, Timestamp};
