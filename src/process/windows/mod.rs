//! What only Windows has: job objects, and its ways to tell about the machine.
//!
//! - `jobs`: memory, processor time and the end of all that an instance has started
//! - `machine`: boot, memory, who may see a directory
//! - `service`: this program as a service
//! - `holder`: who listens on a port
//! - `account`: who somebody is, and what they may see
//! - `stop_event`: being asked to end without a console
//! - `handle`: what is closed when it is dropped

#![allow(
    unsafe_code,
    reason = "neither std nor a well kept crate has a safe way to job objects; each block says why it is right"
)]

pub(super) mod account;
mod handle;
pub(super) mod holder;
mod jobs;
pub(super) mod machine;
pub(super) mod service;
pub(super) mod stop_event;

pub(super) use jobs::Jobs;
