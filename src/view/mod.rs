//! What a balancer knows, and how it chooses: pure, with time and randomness as arguments.
//!
//! ```text
//!   Fact --> Index --> Directory <-- questions
//!            (one writer)  (any number of readers, no locks)
//! ```
//!
//! - `index`: puts the facts of all nodes together and keeps the directory up to date
//! - `directory`: answers: which endpoints serve a name
//! - `members`: the endpoints of one name, in an order that the policies build on
//! - `endpoint`: one endpoint: where it is, its load, when it was last handed out
//! - `random`, `top`: the policies
//!
//! Membership is an immutable snapshot per name, replaced when a member comes or goes. What changes
//! often, load and the time of the last answer, lies in atomics of the endpoints, which the
//! snapshots share: a new load report replaces nothing.

mod directory;
mod endpoint;
mod index;
mod members;
mod random;
mod top;

pub use directory::{Directory, NotSynced};
pub use endpoint::Endpoint;
pub use index::{Fact, Index};
