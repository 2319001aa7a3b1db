//! Clusters of real processes on three members of etcd, and what the world does to them.
//!
//! - `answers`: writes happen, and their answers are lost or late
//! - `chaos`: faults of all kinds, drawn by chance, while clients call
//! - `certificates`: one expires while its owner runs
//! - `leaders`: the leading controller is killed, or paused for longer than its lease
//! - `partitions`: hosts are cut off, wholly and in one direction; a singleton is replaced once it has stopped by itself
//! - `losses`: one of the store's members is lost, then most of them
//! - `store`: compacted while somebody is away, full, deleted by hand, restored from a backup
//! - what everything stands on: `world`, on a `network` of namespaces or proxies, with `members` of the store;
//!   `recorder` sees what happens
//!
//! Namespaces take root (or what stands for it) and iproute2. Where they cannot be had the same faults go through proxies;
//! with `QUAESTOR_TEST_SKIP_NOTHING` in the environment, as in `.ci/run`, that is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests panic, start programs and wait in real time"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod certificates;
mod chaos;
#[path = "../embedded_differential/dice.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod dice;
#[path = "../security/ground.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod ground;
mod leaders;
mod losses;
mod members;
mod network;
mod partitions;
mod recorder;
mod store;
mod world;
