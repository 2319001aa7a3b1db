//! One line of text per message, on a Unix stream socket.
//!
//! A client says `hello` first and then sends commands; each is answered, in order, by one line: a `hello`, a
//! `status`, `ok` or `error`. From its hello on, a client is also told every event: `started`,
//! `start-failed`, `deadline-passed`, `noticed`, `exited`. What a command brings about is told before its answer; only how
//! an errand ended (`ran`) comes later, to the one client that sent it, and it ends with that client.
//!
//! ```text
//! > hello version=1                     < hello version=1 pid=4711
//! > start 3                             < started incarnation=3 pid=4712 ...
//!                                       < ok
//! > dance                               < error refusal=unknown text=...
//!                                       < exited incarnation=3 pid=4712 code=0 cause=own at=...
//! ```

use std::{fmt, str::FromStr, time::Duration};

use super::{
    errand::{Kind, Outcome},
    fields::{Fields, Malformed},
    notice::Notice,
    record::{Exit, Running},
};

/// The longest line that is read, its end included.
pub const LONGEST: usize = 4096;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Comes first. Answered with [`Message::Hello`].
    Hello {
        /// The highest version that the client speaks.
        version: u32,
    },
    /// Answered with [`Message::Status`].
    Status,
    /// Start what `program` says. Each start has a number of its own, higher than any before, so that
    /// one which is said twice happens once.
    Start {
        /// That number.
        incarnation: u64,
    },
    /// Send a signal to the process, and to none of its children.
    Signal(Signal),
    /// Kill the process and all that descends from it. It is `ok` if nothing lives.
    Kill,
    /// Unless another deadline is set before: stop the process this long from now, by a clock that goes
    /// on while the machine is suspended. None: never. A deadline that has passed lets nothing start,
    /// until another is set.
    Deadline(Option<Duration>),
    /// Run the errand whose record lies there, and kill it after this long. Answered with `ok` once it runs.
    Run(Kind, Duration),
    /// End the shim. Refused while something lives.
    Release,
}

/// What a shim says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The answer to a hello.
    Hello {
        /// The version spoken from here on: the lower of both sides' highest.
        version: u32,
        /// The shim's process id.
        pid: u32,
        /// What it has learnt: [`LEVEL`](super::LEVEL) of its time.
        level: u32,
    },
    /// The answer to a status command.
    Status(Box<Status>),
    /// The command was carried out.
    Ok,
    /// The command was not carried out.
    Error {
        /// Why, for programs.
        refusal: Refusal,
        /// Why, for people.
        text: String,
    },
    /// Event: a process runs. Told again when it follows on its preparation.
    Started(Running),
    /// Event: a process could not be started.
    StartFailed {
        /// The start's number; it is not used up.
        incarnation: u64,
        /// What failed, on what, and why.
        text: String,
    },
    /// Event: the deadline has passed; the process, if one lives, is being stopped.
    DeadlinePassed,
    /// Event: the process has said something new of itself, or has said nothing for too long.
    Noticed {
        /// The number of its start.
        incarnation: u64,
        /// All that is known of it by now.
        notice: Notice,
    },
    /// Event: a process has ended, and with it all that descended from it.
    Exited(Exit),
    /// Event for who sent it: an errand has ended.
    Ran(Outcome),
}

/// What a shim knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether something lives.
    pub phase: Phase,
    /// The highest number of a start so far; 0: none.
    pub incarnation: u64,
    /// What lives; none when idle.
    pub running: Option<Running>,
    /// What it says of itself; none when its program does not ask it to.
    pub notice: Option<Notice>,
    /// The time to the deadline; none when there is none.
    pub deadline: Option<Duration>,
    /// The last end; none before the first.
    pub last: Option<Exit>,
}

/// Whether something lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing lives: a start may come.
    Idle,
    /// The process lives.
    Running,
    /// The process has ended, and what it left behind is being killed.
    Ending,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command is not known: this shim is older than the client.
    Unknown,
    /// The command is not understood.
    Malformed,
    /// There was no hello before.
    NoHello,
    /// Something lives.
    Busy,
    /// Nothing lives.
    Idle,
    /// The number of the start is not higher than those before.
    Stale,
    /// The deadline has passed.
    Deadline,
    /// The start failed.
    StartFailed,
    /// The system did not let the shim do it.
    System,
}

/// A signal that a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGKILL.
    Kill,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGTERM.
    Term,
}

impl Signal {
    /// All of them, with their names.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Hup, "SIGHUP"),
        (Self::Int, "SIGINT"),
        (Self::Quit, "SIGQUIT"),
        (Self::Kill, "SIGKILL"),
        (Self::Usr1, "SIGUSR1"),
        (Self::Usr2, "SIGUSR2"),
        (Self::Term, "SIGTERM"),
    ];

    /// Its name: `SIGTERM`.
    pub fn name(self) -> &'static str {
        word(&Self::ALL, self)
    }
}

impl FromStr for Signal {
    type Err = Malformed;

    fn from_str(name: &str) -> Result<Self, Malformed> {
        from_word(&Self::ALL, name)
    }
}

const PHASES: [(Phase, &str); 3] = [
    (Phase::Idle, "idle"),
    (Phase::Running, "running"),
    (Phase::Ending, "ending"),
];

const REFUSALS: [(Refusal, &str); 9] = [
    (Refusal::Unknown, "unknown"),
    (Refusal::Malformed, "malformed"),
    (Refusal::NoHello, "no-hello"),
    (Refusal::Busy, "busy"),
    (Refusal::Idle, "idle"),
    (Refusal::Stale, "stale"),
    (Refusal::Deadline, "deadline"),
    (Refusal::StartFailed, "start-failed"),
    (Refusal::System, "system"),
];

pub(super) fn word<T: PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    let found = words.iter().find(|(known, _)| *known == value);
    found.map_or("unknown", |(_, word)| *word)
}

pub(super) fn from_word<T: Copy>(words: &[(T, &str)], text: &str) -> Result<T, Malformed> {
    let found = words.iter().find(|(_, word)| *word == text);
    found
        .map(|(value, _)| *value)
        .ok_or_else(|| Malformed(format!("`{text}` is not known")))
}

impl fmt::Display for Command {
    /// The line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { version } => write!(f, "hello version={version}"),
            Self::Status => f.write_str("status"),
            Self::Start { incarnation } => write!(f, "start {incarnation}"),
            Self::Signal(signal) => write!(f, "signal {}", signal.name()),
            Self::Kill => f.write_str("kill"),
            Self::Deadline(None) => f.write_str("deadline none"),
            Self::Deadline(Some(time)) => write!(f, "deadline {}", time.as_millis()),
            Self::Run(kind, time) => write!(f, "run {} {}", kind.name(), time.as_millis()),
            Self::Release => f.write_str("release"),
        }
    }
}

impl Command {
    /// Reads a line. Words behind those that it needs are left to younger versions.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] or [`Refusal::Malformed`], and the reason.
    pub fn read(line: &str) -> Result<Self, (Refusal, String)> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let mut argument = || {
            let missing = || Malformed(format!("`{name}` needs a word behind it"));
            words.next().ok_or_else(missing)
        };
        let number = |text: &str| {
            let wrong = |_| Malformed(format!("`{text}` is not a number"));
            text.parse::<u64>().map_err(wrong)
        };
        let mut read = || {
            Ok(Some(match name {
                "hello" => Self::Hello {
                    version: Fields::read(std::iter::once(argument()?))?.parse("version")?,
                },
                "status" => Self::Status,
                "start" => Self::Start {
                    incarnation: number(argument()?)?,
                },
                "signal" => Self::Signal(argument()?.parse()?),
                "kill" => Self::Kill,
                "deadline" => Self::Deadline(match argument()? {
                    "none" => None,
                    time => Some(Duration::from_millis(number(time)?)),
                }),
                "run" => Self::Run(
                    argument()?.parse()?,
                    Duration::from_millis(number(argument()?)?),
                ),
                "release" => Self::Release,
                _ => return Ok(None),
            }))
        };
        match read() {
            Ok(Some(command)) => Ok(command),
            Ok(None) => Err((Refusal::Unknown, format!("`{name}` is no command"))),
            Err(Malformed(text)) => Err((Refusal::Malformed, text)),
        }
    }
}

impl fmt::Display for Message {
    /// The line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        let word = match self {
            Self::Hello {
                version,
                pid,
                level,
            } => {
                fields.show("version", version);
                fields.show("pid", pid);
                if *level > 0 {
                    fields.show("level", level);
                }
                "hello"
            }
            Self::Status(status) => {
                status.add_to(&mut fields);
                "status"
            }
            Self::Ok => "ok",
            Self::Error { refusal, text } => {
                fields.add("refusal", word(&REFUSALS, *refusal));
                fields.add("text", text);
                "error"
            }
            Self::Started(running) => {
                running.add_to(&mut fields, "");
                "started"
            }
            Self::StartFailed { incarnation, text } => {
                fields.show("incarnation", incarnation);
                fields.add("text", text);
                "start-failed"
            }
            Self::DeadlinePassed => "deadline-passed",
            Self::Noticed {
                incarnation,
                notice,
            } => {
                fields.show("incarnation", incarnation);
                notice.add_to(&mut fields, "");
                "noticed"
            }
            Self::Exited(exit) => {
                exit.add_to(&mut fields, "");
                "exited"
            }
            Self::Ran(outcome) => {
                outcome.add_to(&mut fields);
                "ran"
            }
        };
        let mut line = word.to_owned();
        fields.write(' ', &mut line);
        f.write_str(&line)
    }
}

impl Message {
    /// Reads a line; none for a kind of message that only younger shims send.
    ///
    /// # Errors
    /// When a known kind of message does not say what it should.
    pub fn read(line: &str) -> Result<Option<Self>, Malformed> {
        let mut words = line.split_ascii_whitespace();
        let word = words.next().unwrap_or_default();
        let fields = Fields::read(words)?;
        Ok(Some(match word {
            "hello" => Self::Hello {
                version: fields.parse("version")?,
                pid: fields.parse("pid")?,
                level: fields.parse_if_there("level")?.unwrap_or(0),
            },
            "status" => Self::Status(Box::new(Status::take_from(&fields)?)),
            "ok" => Self::Ok,
            "error" => Self::Error {
                // A refusal that only younger shims know is one all the same.
                refusal: from_word(&REFUSALS, &fields.parse::<String>("refusal")?)
                    .unwrap_or(Refusal::Unknown),
                text: fields.parse("text")?,
            },
            "started" => Self::Started(Running::take_from(&fields, "")?),
            "start-failed" => Self::StartFailed {
                incarnation: fields.parse("incarnation")?,
                text: fields.parse("text")?,
            },
            "deadline-passed" => Self::DeadlinePassed,
            "noticed" => Self::Noticed {
                incarnation: fields.parse("incarnation")?,
                notice: Notice::take_from(&fields, "")?,
            },
            "exited" => Self::Exited(Exit::take_from(&fields, "")?),
            "ran" => Self::Ran(Outcome::take_from(&fields)?),
            _ => return Ok(None),
        }))
    }

    /// Whether it answers a command; everything else tells an event.
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Hello { .. } | Self::Status(_) | Self::Ok | Self::Error { .. }
        )
    }
}

impl Status {
    const RUNNING: &str = "running-";
    const NOTICE: &str = "notice-";
    const LAST: &str = "last-";

    fn add_to(&self, fields: &mut Fields) {
        fields.add("phase", word(&PHASES, self.phase));
        fields.show("incarnation", self.incarnation);
        if let Some(running) = &self.running {
            running.add_to(fields, Self::RUNNING);
        }
        if let Some(notice) = &self.notice {
            notice.add_to(fields, Self::NOTICE);
        }
        if let Some(deadline) = self.deadline {
            fields.show("deadline", deadline.as_millis());
        }
        if let Some(last) = &self.last {
            last.add_to(fields, Self::LAST);
        }
    }

    fn take_from(fields: &Fields) -> Result<Self, Malformed> {
        let running = fields.find("running-pid");
        let notice = fields.find("notice-stage");
        let last = fields.find("last-pid");
        let deadline = fields.parse_if_there("deadline")?;
        Ok(Self {
            phase: from_word(&PHASES, &fields.parse::<String>("phase")?)?,
            incarnation: fields.parse("incarnation")?,
            running: running
                .map(|_| Running::take_from(fields, Self::RUNNING))
                .transpose()?,
            notice: notice
                .map(|_| Notice::take_from(fields, Self::NOTICE))
                .transpose()?,
            deadline: deadline.map(Duration::from_millis),
            last: last
                .map(|_| Exit::take_from(fields, Self::LAST))
                .transpose()?,
        })
    }
}

#[cfg(test)]
mod tests;
