//! What stock gRPC clients are told by xDS: decisions without wire or clock.
//!
//! - [`Stream`]: one client: what it has subscribed to, what it is sent next, what it has taken
//! - [`Demand`]: what all clients want, and how much that may be
//! - [`Weights`], [`Seat`]: who gets how much of a service's calls, told anew only when that is worth it
//! - [`Addresses`]: where host names lead, as clients take addresses in digits only
//!
//! What stock clients need, and refuse, was found out by running them. A service's listener and cluster are
//! functions of its name; what changes are its endpoints alone.

mod addresses;
mod demand;
mod stream;
mod weights;

pub use addresses::{Addresses, Found, is_name};
pub use demand::Demand;
pub use stream::{Heard, Kind, Push, Request, Stream, Subscription, TooMuch, Versions};
pub use weights::{Candidate, Part, Seat, Weights};
