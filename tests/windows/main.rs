//! Windows: the processes of an agent there, under Wine, and a cluster of Linux and Windows (`scripts/test windows`).
//!
//! 1. [`processes`]: compiled for Windows: what an agent asks of its processes
//! 2. [`actor`]: the program that they run: this one, in a role
//! 3. [`paths`]: those of other drives, on shares and deep down, and how programs are named
//! 4. [`handles`]: that many starts leave none behind
//! 5. [`worker`]: the demo worker
//! 6. [`accounts`]: as whom processes run
//! 7. [`mixed`]: on Linux: both systems on one etcd
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run processes as they like"
)]

#[cfg(windows)]
mod accounts;
#[cfg(windows)]
mod actor;
#[cfg(windows)]
mod handles;
#[cfg(unix)]
mod mixed;
#[cfg(windows)]
mod paths;
#[cfg(windows)]
#[path = "../support/ports.rs"]
mod ports;
#[cfg(windows)]
mod processes;
#[cfg(unix)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(windows)]
mod worker;
#[cfg(windows)]
mod world;
