//! Records: small files that tell, across the ends of programs, what runs and how it ended.
//!
//! ```text
//! quaestor exit 1
//! incarnation=3
//! ...
//! checksum=9c1185a5c5e9fc54
//! ```
//! The checksum is FNV-1a (64 bits) of everything before its line. It finds what was cut off or
//! overwritten; it protects from nobody.

use std::fmt;

use super::{
    VERSION,
    fields::{Fields, Malformed},
};

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is cut off, was overwritten, or is another kind of file. Put it aside and do without it.
    Damaged(String),
    /// A younger program wrote it. Leave it alone.
    Newer {
        /// The version that it was written in.
        version: u32,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "the record is damaged: {what}"),
            Self::Newer { version } => write!(
                f,
                "the record has version {version}, and {VERSION} is the last known here"
            ),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Malformed> for Broken {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error.0)
    }
}

/// The name that a damaged record is put aside under, so that a person can look at it.
pub fn quarantine(name: &str, at: u64) -> String {
    format!("{name}.broken-{at}")
}

/// A record of the given kind.
pub fn seal(kind: &str, fields: &Fields) -> String {
    let mut text = format!("quaestor {kind} {VERSION}");
    fields.write('\n', &mut text);
    text.push('\n');
    let sum = checksum(text.as_bytes());
    text.push_str(&format!("checksum={sum:016x}\n"));
    text
}

/// The fields of a record of the given kind.
///
/// # Errors
/// When it is damaged, or written by a younger program.
pub fn open(kind: &str, content: &[u8]) -> Result<Fields, Broken> {
    let damaged = |what: &str| Broken::Damaged(what.to_owned());
    let text = str::from_utf8(content).map_err(|_| damaged("it is not text"))?;
    let body = text
        .strip_suffix('\n')
        .and_then(|text| text.rfind('\n'))
        .ok_or_else(|| damaged("its end is missing"))?;
    let (body, last) = text.split_at(body + 1);
    let sum = format!("checksum={:016x}\n", checksum(body.as_bytes()));
    if last != sum {
        return Err(damaged("its checksum is wrong"));
    }
    let mut lines = body.lines();
    let head = lines.next().unwrap_or_default();
    let version = head
        .strip_prefix("quaestor ")
        .and_then(|head| head.strip_prefix(kind))
        .and_then(|head| head.trim_start().parse::<u32>().ok())
        .ok_or_else(|| Broken::Damaged(format!("`{head}` is not the head of `{kind}`")))?;
    if version > VERSION {
        return Err(Broken::Newer { version });
    }
    Ok(Fields::read(lines)?)
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A living process: enough to tell it from every other of this and any other boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which start this was, as the agent counts.
    pub incarnation: u64,
    /// Its process id, which is also that of its session and group.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The uuid of the instance, from its program.
    pub instance: String,
    /// When it started, in milliseconds since 1970.
    pub at: u64,
    /// Whether it is not the program itself yet, but what prepares its start.
    pub preparing: bool,
}

impl Running {
    const KIND: &str = "running";

    /// The record.
    pub fn seal(&self) -> String {
        let mut fields = Fields::default();
        self.add_to(&mut fields, "");
        seal(Self::KIND, &fields)
    }

    /// The content of a record.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(content: &[u8]) -> Result<Self, Broken> {
        Ok(Self::take_from(&open(Self::KIND, content)?, "")?)
    }

    pub(super) fn add_to(&self, fields: &mut Fields, prefix: &str) {
        let name = |name| format!("{prefix}{name}");
        fields.show(&name("incarnation"), self.incarnation);
        fields.show(&name("pid"), self.pid);
        fields.show(&name("start-time"), self.start_time);
        fields.add(&name("boot-id"), &self.boot_id);
        fields.add(&name("instance"), &self.instance);
        fields.show(&name("at"), self.at);
        if self.preparing {
            fields.show(&name("preparing"), true);
        }
    }

    pub(super) fn take_from(fields: &Fields, prefix: &str) -> Result<Self, Malformed> {
        let name = |name| format!("{prefix}{name}");
        Ok(Self {
            preparing: fields.parse_if_there(&name("preparing"))?.unwrap_or(false),
            incarnation: fields.parse(&name("incarnation"))?,
            pid: fields.parse(&name("pid"))?,
            start_time: fields.parse(&name("start-time"))?,
            boot_id: fields.parse(&name("boot-id"))?,
            instance: fields.parse(&name("instance"))?,
            at: fields.parse(&name("at"))?,
        })
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which start it came from.
    pub incarnation: u64,
    /// The process id that it had.
    pub pid: u32,
    /// Its last word.
    pub end: End,
    /// What made it end.
    pub cause: Cause,
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// The same since boot, on the clock that nobody sets; none from older shims.
    pub since_boot: Option<u64>,
}

/// The last word of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It left with an exit code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// What made a process end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself, or somebody sent it a signal.
    Own,
    /// The agent said `kill`.
    Kill,
    /// The shim stopped it, because the agent did not renew the deadline.
    Deadline,
    /// The memory of its cgroup was used up.
    Memory,
    /// It was what prepares the start, and failed.
    PreStart,
    /// It was what prepares the start, and took too long.
    PreStartTimeout,
    /// What prepares the start succeeded, but then the program could not be started: the log says why.
    NotStarted,
}

impl Cause {
    const WORDS: [(Self, &str); 7] = [
        (Self::Own, "own"),
        (Self::Kill, "kill"),
        (Self::Deadline, "deadline"),
        (Self::Memory, "memory"),
        (Self::PreStart, "pre-start"),
        (Self::PreStartTimeout, "pre-start-timeout"),
        (Self::NotStarted, "not-started"),
    ];

    /// Its name in records.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(cause, _)| *cause == self);
        found.map_or("own", |(_, word)| *word)
    }
}

impl Exit {
    const KIND: &str = "exit";

    /// The record.
    pub fn seal(&self) -> String {
        let mut fields = Fields::default();
        self.add_to(&mut fields, "");
        seal(Self::KIND, &fields)
    }

    /// The content of a record.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(content: &[u8]) -> Result<Self, Broken> {
        Ok(Self::take_from(&open(Self::KIND, content)?, "")?)
    }

    pub(super) fn add_to(&self, fields: &mut Fields, prefix: &str) {
        let name = |name| format!("{prefix}{name}");
        fields.show(&name("incarnation"), self.incarnation);
        fields.show(&name("pid"), self.pid);
        match self.end {
            End::Code(code) => fields.show(&name("code"), code),
            End::Signal(signal) => fields.show(&name("signal"), signal),
        }
        fields.add(&name("cause"), self.cause.word());
        fields.show(&name("at"), self.at);
        if let Some(millis) = self.since_boot {
            fields.show(&name("since-boot"), millis);
        }
    }

    pub(super) fn take_from(fields: &Fields, prefix: &str) -> Result<Self, Malformed> {
        let name = |name| format!("{prefix}{name}");
        let end = match fields.parse_if_there(&name("signal"))? {
            Some(signal) => End::Signal(signal),
            None => End::Code(fields.parse(&name("code"))?),
        };
        let cause: String = fields.parse(&name("cause"))?;
        let cause = Cause::WORDS.iter().find(|(_, word)| *word == cause);
        Ok(Self {
            incarnation: fields.parse(&name("incarnation"))?,
            pid: fields.parse(&name("pid"))?,
            end,
            // A cause that only a younger shim knows must not hide that the process ended.
            cause: cause.map_or(Cause::Own, |(cause, _)| *cause),
            at: fields.parse(&name("at"))?,
            since_boot: fields.parse_if_there(&name("since-boot"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exit() -> Exit {
        Exit {
            incarnation: 3,
            pid: 77,
            end: End::Signal(9),
            cause: Cause::Deadline,
            at: 1_763_796_679_123,
            since_boot: Some(17_388_692),
        }
    }

    #[test]
    fn a_record_that_was_cut_off_anywhere_is_damaged() {
        let whole = exit().seal();
        for length in 0..whole.len() {
            let cut = Exit::open(&whole.as_bytes()[..length]);
            assert!(matches!(cut, Err(Broken::Damaged(_))), "cut at {length}");
        }
        assert_eq!(Exit::open(whole.as_bytes()), Ok(exit()));
    }

    #[test]
    fn a_record_with_a_flipped_bit_is_damaged() {
        let whole = exit().seal().into_bytes();
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            assert!(Exit::open(&flipped).is_err(), "at {position}");
        }
    }

    #[test]
    fn a_record_of_another_kind_is_not_taken_for_this_one() {
        assert!(matches!(
            Running::open(exit().seal().as_bytes()),
            Err(Broken::Damaged(_))
        ));
    }

    #[test]
    fn a_record_of_a_younger_program_is_left_alone() {
        let mut text = "quaestor exit 2\nnothing=known\n".to_owned();
        text.push_str(&format!("checksum={:016x}\n", checksum(text.as_bytes())));
        assert_eq!(
            Exit::open(text.as_bytes()),
            Err(Broken::Newer { version: 2 })
        );
    }

    #[test]
    fn a_cause_that_is_not_known_does_not_hide_the_end() {
        let mut fields = Fields::default();
        exit().add_to(&mut fields, "");
        fields.add("cause", "boredom");
        assert_eq!(Exit::take_from(&fields, "").unwrap().cause, Cause::Own);
    }

    proptest! {
        #[test]
        fn exits_come_back(
            incarnation: u64, pid: u32, number: i32, signalled: bool, cause in 0..4_usize, at: u64,
            since_boot: Option<u64>,
        ) {
            let end = if signalled { End::Signal(number) } else { End::Code(number) };
            let exit = Exit { incarnation, pid, end, cause: Cause::WORDS[cause].0, at, since_boot };
            prop_assert_eq!(Exit::open(exit.seal().as_bytes()), Ok(exit));
        }

        #[test]
        fn running_processes_come_back(
            incarnation: u64, pid: u32, start_time: u64, boot_id: String, instance: String, at: u64
        ) {
            let running = Running { incarnation, pid, start_time, boot_id, instance, at, preparing: false };
            prop_assert_eq!(Running::open(running.seal().as_bytes()), Ok(running));
        }

        #[test]
        fn no_content_makes_it_panic(content: Vec<u8>) {
            prop_assert!(Exit::open(&content).is_err());
        }
    }
}
