//! Plans on a world in memory, with agents that do at once what they are asked.
//!
//! - `world`: the world
//! - `cases`: what happens in one situation each
//! - `chance`: what holds whatever happens
//! - `garbage`: what cannot be read, under any key
//! - `histories`: what once did not hold
//! - `lifecycle`: restarts, and services that come before others
//! - `nodes`: nodes that are away, drained, cordoned or full
//! - `recycling`: processes that are old
//! - `rollouts`: budgets, stand-ins, canaries, pauses, going back

mod cases;
mod chance;
mod garbage;
mod histories;
mod lifecycle;
mod nodes;
mod recycling;
mod rollouts;
pub(in crate::plan) mod world;
