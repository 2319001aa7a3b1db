//! Beside quaestor-mini-cluster: its registry in etcd, read and written.
//!
//! - `import`: what is registered there is found here as well
//! - [`mirror`]: what is found here is registered there, so that its balancers find it

mod import;
pub mod mirror;

pub(super) use import::{Import, NODE};
