//! Quaestor keeps processes running on a few machines and tells clients which one to call.
//!
//! The modules form levels; a module may use those above it in this list, never those below
//! (`tests/layers.rs` holds the rule):
//!
//! | level | modules | what lives there |
//! |---|---|---|
//! | 0 nouns | [`model`], [`keys`], [`proto`] | types, validation, key names, wire messages; no I/O, no clock |
//! | 1 decisions | [`plan`], [`view`] | pure functions and indexes; time and randomness are arguments |
//! | 2 adapters | [`host`], [`metrics`], [`store`], [`process`], [`probe`], [`grpc`], [`tls`], [`retry`], [`task`] | the outside world, no policy |
//! | 3 loops | [`agent`], [`controller`], [`balancer`], [`operator`] | gather, decide, act, report |
//! | 4 surfaces | [`rpc`], [`http`], [`dns`], [`worker`] | what others call |
//! | 5 entry | [`cli`] | the command line |
//!
//! Features: `cluster` (default) is all of that; `worker` alone is [`worker`] and [`proto`], for those who write
//! workers.

#[cfg(feature = "cluster")]
pub mod keys;
#[cfg(feature = "cluster")]
pub mod model;
pub mod proto;

#[cfg(feature = "cluster")]
pub mod plan;
#[cfg(feature = "cluster")]
pub mod view;

#[cfg(feature = "cluster")]
pub mod grpc;
#[cfg(feature = "cluster")]
pub mod host;
#[cfg(feature = "cluster")]
pub mod metrics;
#[cfg(feature = "cluster")]
pub mod probe;
#[cfg(feature = "cluster")]
pub mod process;
#[cfg(feature = "cluster")]
pub mod retry;
#[cfg(feature = "cluster")]
pub mod store;
#[cfg(feature = "cluster")]
pub mod task;
#[cfg(feature = "cluster")]
pub mod tls;

#[cfg(feature = "cluster")]
pub mod agent;
#[cfg(feature = "cluster")]
pub mod balancer;
#[cfg(feature = "cluster")]
pub mod controller;
#[cfg(feature = "cluster")]
pub mod operator;

#[cfg(feature = "cluster")]
pub mod dns;
#[cfg(feature = "cluster")]
pub mod http;
#[cfg(feature = "cluster")]
pub mod rpc;
#[cfg(feature = "worker")]
pub mod worker;

#[cfg(feature = "cluster")]
pub mod cli;
