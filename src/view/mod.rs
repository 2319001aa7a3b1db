//! What a balancer knows, and how it chooses: pure, with time and randomness as arguments.
//!
//! ```text
//!   Fact --> Index --> Directory <-- questions
//!            (one writer)  (any number of readers, no locks)
//! ```
//!
//! - `index`, `roster`: put the facts of all nodes together and keep the directory up to date
//! - `directory`, `question`: answers: which endpoints serve a name; `watched`: when they change;
//!   `cell`: what stands under one name
//! - `members`: the endpoints of one name, in an order that the policies build on; `roll`: that order, `hosts`: who
//!   shares a host, `near`: who is preferred
//! - `leaving`: endpoints that clients are being sent away from
//! - `ejection`: who comes after all others because calls to it fail, as clients say
//! - `tree`: the least of many loads, without a lock
//! - `endpoint`, `node`, `pending`: one endpoint: where it is, its load, picks that no report covers yet
//! - `share`: what clients need to know that choose by themselves
//! - `dial`: what all loads depend on as time goes by
//! - `policy`: how `Pick` chooses; `random`, `top`, `ranking`: how quaestor-mini-cluster's calls do
//! - `spelled`: names whose spelling is not certain
//! - `bits`, `numbers`: small tools
//!
//! Membership is an immutable snapshot per name, replaced when a member comes or goes; both share what that leaves as it
//! was. What changes
//! often, load and picks, lies in atomics of the endpoints, which the snapshots share: a new load report
//! replaces nothing. The tree of a snapshot holds copies of the loads; a pick looks at the endpoint before it
//! believes one.

mod bits;
mod cell;
mod dial;
mod directory;
mod ejection;
mod endpoint;
mod hosts;
mod index;
mod leaving;
mod members;
mod near;
mod node;
mod numbers;
mod pending;
mod policy;
mod question;
mod random;
mod ranking;
mod roll;
mod roster;
mod share;
mod spelled;
mod top;
mod tree;
mod watched;

pub use directory::{Directory, Listed, Outcome, TICK};
pub use endpoint::{Counts, Endpoint, Load};
pub use index::{Fact, Index};
pub use leaving::{Leaver, Leaving};
pub use node::Node;
pub use question::{NotSynced, Question, Refusal};
pub use share::Share;
pub use spelled::Spelled;
pub use watched::Described;

#[cfg(test)]
mod tests;
