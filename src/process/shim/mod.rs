//! The agent's side of `quaestor-shim`: the small program that stands between an agent and a process,
//! so that agents come and go while the process, its exit code and its output stay.
//!
//! - [`wire`]: what both say to each other; the shim compiles it too
//! - [`socket`]: how to reach a shim whatever the length of its path
//!
//! The shim itself is `src/bin/quaestor-shim`.

pub mod socket;
pub mod wire;
