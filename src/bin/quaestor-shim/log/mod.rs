//! The output of the process: read by the loop, split into lines, queued, and written to files by a
//! thread of its own.
//!
//! - [`lines`]: lines out of chunks
//! - [`queue`]: between the loop and the thread; bounded, and never waits
//! - [`files`]: the rotated files
//! - [`stream`]: one output of a process, and where all of it goes
//!
//! **What may be lost.** The worker never waits for a disk: the loop reads on whatever happens. While the
//! disk hangs lines gather in the queue; once that is full, and when a write fails, whole lines are dropped,
//! and a line of the shim says how many.

mod files;
mod lines;
mod queue;
#[cfg_attr(windows, path = "../windows/stream.rs")]
mod stream;

#[cfg(windows)]
pub(crate) use stream::Tail;
pub(crate) use stream::{Sink, Stream};

use self::stream::End;
use crate::wire::log::Source;

impl Sink {
    /// Two pipes for the outputs of a process, and what it writes to.
    ///
    /// # Errors
    /// What failed, and why.
    pub(crate) fn streams(&self) -> Result<([Stream; 2], [End; 2]), String> {
        let open = |source| {
            let opened = self.stream(source);
            opened.map_err(|error| format!("cannot open a pipe for its output: {error}"))
        };
        let ((out, out_end), (err, err_end)) = (open(Source::Out)?, open(Source::Err)?);
        Ok(([out, err], [out_end, err_end]))
    }
}
