//! Decisions: pure functions that say what to do next, why, and what they wait for. Time and randomness
//! are arguments.
//!
//! - [`agent`], [`health`], [`restart`], [`report`], [`load`]: one instance on its node

pub mod agent;
pub mod health;
pub mod load;
pub mod report;
pub mod restart;
