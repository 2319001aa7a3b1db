//! Decisions: pure functions that say what to do next, why, and what they wait for. Time and randomness
//! are arguments.
//!
//! - [`agent`], [`health`], [`restart`], [`recycle`], [`drain`], [`report`], [`load`], [`notice`]: one
//!   instance on its node; [`reservation`]: who has it to himself; [`proof`]: whether its clients know that it goes
//! - [`artifact`]: which artifacts a node fetches and keeps; [`local`]: what it runs by manifests of its own
//! - [`cluster`], [`node`]: all that the leader knows, kept up to date change by change
//! - [`absence`]: nodes that are away, and when that is a loss; [`scope`]: what has to be planned again
//! - [`controller`]: the plan for a cluster: what the leader writes, and what it waits for
//! - [`service`], [`blueprint`], [`roster`], [`rollout`]: the same for one service, what its spec makes
//!   of an instance, who stays and who ends, whose turn it is to be replaced
//! - `running`, `course`: the steps of such a plan, and what they share; `recycling`: whose turn it is to be recycled
//! - [`lineage`]: which template is in force, and what becomes of its rollout
//! - [`placement`], [`room`]: which node takes a new instance; ports and load of the nodes
//! - [`merge`], [`impact`]: what becomes of a manifest that others have changed, and what a change does to what runs
//! - [`access`]: who may ask for what
//! - [`queue`]: who gets the next ticket of a service
//! - [`xds`]: what stock gRPC clients are told, and when
//! - [`rate`]: how often one peer may ask; [`mirror`]: keys that others delete
//! - [`stored`]: a key, and what is made of values that cannot be read
//! - [`conditions`], [`overview`]: what is reported
//! - [`news`], [`journal`]: what of that is an event, and which events are kept
//! - [`why`]: the chain of causes for the state of a service, an instance or a node
//! - [`check`]: an independent judge of the leader's plans

pub mod absence;
pub mod access;
pub mod agent;
pub mod artifact;
pub mod blueprint;
pub mod check;
pub mod cluster;
pub mod conditions;
pub mod controller;
mod course;
pub mod drain;
pub mod health;
pub mod impact;
pub mod journal;
pub mod lineage;
pub mod load;
pub mod local;
pub mod merge;
pub mod mirror;
pub mod news;
pub mod node;
pub mod notice;
pub mod overview;
pub mod placement;
pub mod proof;
pub mod queue;
pub mod rate;
pub mod recycle;
mod recycling;
mod replacing;
pub mod report;
pub mod reservation;
pub mod restart;
pub mod rollout;
pub mod room;
pub mod roster;
mod running;
pub mod scope;
pub mod service;
pub mod stored;
pub mod usage;
pub mod why;
pub mod xds;
