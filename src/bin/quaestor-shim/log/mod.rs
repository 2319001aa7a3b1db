//! The output of the process: read by the loop, split into lines, queued, and written to files by a
//! thread of its own.
//!
//! - [`lines`]: lines out of chunks
//! - [`queue`]: between the loop and the thread; bounded, and never waits
//! - [`files`]: the rotated files
//! - [`stream`]: one output of a process
//!
//! **What may be lost.** The worker never waits for a disk: the loop reads on whatever happens. While the
//! disk hangs lines gather in the queue; once that is full, and when a write fails, whole lines are dropped,
//! and a line of the shim says how many.

mod files;
mod lines;
mod queue;
#[cfg_attr(windows, path = "../windows/stream.rs")]
mod stream;

pub(crate) use queue::Queue;
#[cfg(unix)]
pub(crate) use stream::Buffer;
pub(crate) use stream::Stream;
#[cfg(windows)]
pub(crate) use stream::Tail;
