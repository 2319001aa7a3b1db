//! What an agent and a shim say to each other, over their socket and through the files of their directory.
//!
//! Both programs compile this module, and `quaestor-shim` is built on std and rustix only: nothing here may
//! use more than std.
//!
//! - [`fields`]: values by name, as text
//! - [`message`]: one line on the socket: [`Command`](message::Command) to the shim,
//!   [`Message`](message::Message) from it
//! - [`record`]: a file with a version and a checksum; [`Running`](record::Running) and
//!   [`Exit`](record::Exit)
//! - [`program`]: the record that says what to start
//! - [`errand`]: short programs beside the process
//! - [`notice`]: what the process says of itself
//! - [`log`]: the names of log files, and their lines
//!
//! # Versions
//! An agent meets shims that are older and younger than itself. Whatever was published as version 1 stays
//! readable for good (`tests/shim/published.rs` holds samples). Readers skip fields that they do not
//! know, so a field may be added within a version; a new version is for what an old reader would get wrong.

pub mod errand;
pub mod fields;
pub mod log;
pub mod message;
pub mod notice;
pub mod program;
pub mod record;

/// The version of messages and records that this code writes.
pub const VERSION: u32 = 1;

/// How much this code has learnt within the version. A shim says it in its hello; none is 0. What a shim has
/// not learnt it skips, so an agent that must not be misunderstood asks for it first.
///
/// 1: `pre-start-...` of a program, and `run`. 2: `notify` of a program. 3: `logon-...` of a program.
pub const LEVEL: u32 = 3;

/// Names within the directory of a shim.
pub mod names {
    /// Locked by the shim for as long as it lives.
    pub const LOCK: &str = "lock";
    /// Where the shim listens.
    pub const SOCKET: &str = "socket";
    /// The [`Program`](super::program::Program) to start; the agent writes it.
    pub const PROGRAM: &str = "program";
    /// The [`Running`](super::record::Running) process; there while one lives.
    pub const RUNNING: &str = "running";
    /// The last [`Exit`](super::record::Exit).
    pub const EXIT: &str = "exit";
    /// The directory of log files, or a link to one; on Windows, where links take privileges, a file that
    /// says where the directory is.
    pub const LOG: &str = "log";

    /// The variable that names, on Windows, the event by which a program without a console is asked to end.
    pub const STOP_EVENT_VARIABLE: &str = "QUAESTOR_STOP_EVENT";

    /// That event.
    pub fn stop_event(uuid: &str) -> String {
        format!(r"Global\quaestor-stop-{uuid}")
    }

    /// The job object, on Windows, in which all processes of an instance live.
    pub fn job(uuid: &str) -> String {
        format!(r"Global\quaestor-{uuid}")
    }
}

/// What is said outside of the socket.
pub mod words {
    /// The argument by which the shim ends, with all that lives, at the end of its standard input.
    pub const TETHERED: &str = "--tethered";
    /// What it says on standard output once it listens.
    pub const READY: &str = "ready\n";
}

/// How `quaestor-shim` ends.
pub mod exit_codes {
    /// It was released, or nothing lived when it was asked to end.
    pub const RELEASED: u8 = 0;
    /// It was not told its directory.
    pub const USAGE: u8 = 64;
    /// Its directory or socket cannot be used; standard error says why.
    pub const UNUSABLE: u8 = 73;
    /// Another shim serves the directory.
    pub const HELD: u8 = 75;
}
