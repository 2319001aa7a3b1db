//! Quaestor keeps processes running on a few machines and tells clients which one to call.
//!
//! The modules form levels; a module may use those above it in this list, never those below
//! (`tests/layers.rs` holds the rule):
//!
//! | level | modules | what lives there |
//! |---|---|---|
//! | 0 nouns | [`model`], [`keys`], [`proto`] | types, validation, key names, wire messages; no I/O, no clock |
//! | 1 decisions | [`plan`], [`view`] | pure functions and indexes; time and randomness are arguments |
//! | 2 adapters | [`host`], [`store`], [`process`], [`probe`], [`grpc`], [`retry`], [`task`] | the outside world, no policy |
//! | 3 loops | [`agent`], [`controller`], [`balancer`], [`operator`] | gather, decide, act, report |
//! | 4 surfaces | [`rpc`], [`http`], [`worker`] | what others call |
//! | 5 entry | [`cli`] | the command line |

pub mod keys;
pub mod model;
pub mod proto;

pub mod plan;
pub mod view;

pub mod grpc;
pub mod host;
pub mod probe;
pub mod process;
pub mod retry;
pub mod store;
pub mod task;

pub mod agent;
pub mod balancer;
pub mod controller;
pub mod operator;

pub mod http;
pub mod rpc;
pub mod worker;

pub mod cli;
