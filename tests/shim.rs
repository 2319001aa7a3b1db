//! `quaestor-shim`, driven over its socket as an agent does it.
//!
//! - [`lifecycle`]: starts, ends, signals, restarts; what is refused
//! - [`tree`]: nothing that descends from a process outlives it
//! - [`clients`]: agents that come, go, and speak other versions
//! - [`logs`]: lines whole and in order; floods, full and hanging disks
//! - [`flood`]: as much output as is promised, in full length
//! - [`deadline`]: the stop that no agent has to ask for
//! - [`setting`]: environment, descriptors, identity and limits of the process
//! - [`notices`]: what the process says of itself, and who is listened to
//! - [`published`]: messages and records as every published version wrote them
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start programs in real time"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "shim/clients.rs"]
mod clients;
#[path = "shim/deadline.rs"]
mod deadline;
#[path = "shim/flood.rs"]
mod flood;
#[path = "shim/harness.rs"]
mod harness;
#[path = "shim/lifecycle.rs"]
mod lifecycle;
#[path = "shim/logs.rs"]
mod logs;
#[path = "shim/notices.rs"]
mod notices;
#[path = "shim/published.rs"]
mod published;
#[path = "shim/setting.rs"]
mod setting;
mod support;
#[path = "shim/tree.rs"]
mod tree;
#[path = "shim/worker.rs"]
mod worker;
