//! A shim to test, and clients of it.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command as Start, ExitStatus, Stdio},
    time::Duration,
};

use quaestor::process::shim::{
    socket::Address,
    wire::{
        LEVEL, VERSION,
        log::Line,
        message::{Command, Message, Refusal, Signal, Status},
        names,
        program::{LogLimits, Program, Stop},
        record::{Exit, Running},
    },
};

use crate::support::{PATIENCE, eventually};

/// A running shim in a directory of its own; killed with all that it runs when dropped.
pub(crate) struct Shim {
    process: Child,
    directory: tempfile::TempDir,
}

impl Shim {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self::in_directory(directory)
    }

    /// A shim that serves `directory`, and that says that it is ready.
    pub(crate) fn in_directory(directory: tempfile::TempDir) -> Self {
        Self::started_by(Start::new(program()).arg(directory.path()), directory)
    }

    /// The same, with a command of the test's own.
    pub(crate) fn started_by(command: &mut Start, directory: tempfile::TempDir) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut word = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut word).unwrap();
        assert_eq!(word, "ready\n");
        Self { process, directory }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in the directory where the program starts.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// A client that has said hello.
    pub(crate) fn connect(&self) -> Client {
        let mut client = self.connect_silently();
        let hello = client.ask(Command::Hello { version: VERSION });
        assert_eq!(
            hello,
            Message::Hello {
                version: VERSION,
                pid: self.pid(),
                level: LEVEL,
            }
        );
        client
    }

    /// A client that has said nothing yet.
    pub(crate) fn connect_silently(&self) -> Client {
        let address = Address::new(self.directory()).unwrap();
        let stream = UnixStream::connect(address.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            lines: BufReader::new(stream),
            events: VecDeque::new(),
        }
    }

    /// Sets what the next start starts.
    pub(crate) fn program(&self, program: &Program) {
        fs::write(self.file(names::PROGRAM), program.seal()).unwrap();
    }

    /// `/bin/sh -c script`, starting in this shim's directory.
    pub(crate) fn script(&self, script: &str) -> Program {
        Program {
            is_secret: false,
            pre_start: None,
            notify: None,
            instance: "3c1e".to_owned(),
            arguments: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            directory: self.directory().to_owned(),
            umask: 0o022,
            identity: None,
            logon: None,
            limits: Vec::new(),
            nice: None,
            oom_score_adj: None,
            no_new_privileges: true,
            cgroup: None,
            stop: Stop {
                signal: Signal::Term,
                grace: Duration::from_secs(60),
            },
            logs: LogLimits {
                max_bytes: 10_000_000,
                files: 3,
            },
        }
    }

    /// A client of a shim that runs a script as incarnation 1.
    pub(crate) fn run(&self, script: &str) -> (Client, Running) {
        self.program(&self.script(script));
        let mut client = self.connect();
        let running = client.start(1);
        (client, running)
    }

    pub(crate) fn exit_record(&self) -> Option<Exit> {
        let content = fs::read(self.file(names::EXIT)).ok()?;
        Some(Exit::open(&content).unwrap())
    }

    pub(crate) fn running_record(&self) -> Option<Running> {
        let content = fs::read(self.file(names::RUNNING)).ok()?;
        Some(Running::open(&content).unwrap())
    }

    /// Everything in the log files, the oldest first.
    pub(crate) fn log(&self) -> Vec<u8> {
        log_files(self.directory())
            .iter()
            // The current one may just be renamed.
            .flat_map(|file| fs::read(file).unwrap_or_default())
            .collect()
    }

    /// The texts of all lines of a log, each behind its source: `Out text`.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        let log = self.log();
        // What stands behind the last end is just being written.
        let end = log.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = log[..end].split(|byte| *byte == b'\n');
        let show = |line: &[u8]| {
            let shown = String::from_utf8_lossy(line);
            let line = Line::read(line).unwrap_or_else(|| panic!("no line: {shown}"));
            let plus = if line.continues { "+" } else { "" };
            format!(
                "{:?}{plus} {}",
                line.source,
                String::from_utf8_lossy(line.text)
            )
        };
        lines.filter(|line| !line.is_empty()).map(show).collect()
    }

    /// Waits until the log has a line.
    #[track_caller]
    pub(crate) fn await_line(&self, line: &str) {
        eventually(&format!("the log has the line `{line}`"), || {
            self.log_lines().iter().any(|found| found == line)
        });
    }

    /// Kills the shim, as nobody should.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.process.kill().unwrap();
        self.process.wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the shim ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends the shim and gives its directory to the next.
    pub(crate) fn killed(mut self) -> tempfile::TempDir {
        self.kill();
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // A test that failed leaves no tree behind either.
        if let Ok(None) = self.process.try_wait() {
            let address = Address::new(self.directory()).unwrap();
            if let Ok(mut stream) = UnixStream::connect(address.path()) {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let _ = stream.write_all(b"hello version=1\nkill\nstatus\n");
                let is_over = |line: String| line.contains("exited") || line.contains("idle");
                let mut lines = BufReader::new(stream).lines();
                lines.any(|line| line.map_or(true, is_over));
            }
            self.kill();
        }
    }
}

/// Log files of a shim's directory, the oldest first.
pub(crate) fn log_files(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory.join(names::LOG)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    // `current.log` sorts behind all numbers.
    files.sort();
    files
}

/// A connection to a shim.
pub(crate) struct Client {
    lines: BufReader<UnixStream>,
    events: VecDeque<Message>,
}

impl Client {
    /// Sends a line and returns its answer; events that come before it are kept.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: impl std::fmt::Display) -> Message {
        writeln!(self.lines.get_mut(), "{command}").unwrap();
        loop {
            let message = self.read().expect("the shim answers");
            if message.is_answer() {
                return message;
            }
            self.events.push_back(message);
        }
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Message {
        let kept = self.events.pop_front();
        kept.or_else(|| self.read())
            .expect("the shim tells an event")
    }

    /// The next line; none at the end of the connection.
    #[track_caller]
    fn read(&mut self) -> Option<Message> {
        let mut line = String::new();
        let length = self
            .lines
            .read_line(&mut line)
            .expect("the shim says something in time");
        (length > 0).then(|| Message::read(&line).unwrap().expect("a known message"))
    }

    /// Whether the shim has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read().is_none()
    }

    /// Starts what the program record says.
    #[track_caller]
    pub(crate) fn start(&mut self, incarnation: u64) -> Running {
        assert_eq!(self.ask(Command::Start { incarnation }), Message::Ok);
        match self.event() {
            Message::Started(running) => running,
            other => panic!("not started: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn exited(&mut self) -> Exit {
        match self.event() {
            Message::Exited(exit) => exit,
            other => panic!("not an end: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> Status {
        match self.ask(Command::Status) {
            Message::Status(status) => *status,
            other => panic!("not a status: {other:?}"),
        }
    }

    /// Sends a command that is refused; why, for programs and for people.
    #[track_caller]
    pub(crate) fn refused(&mut self, command: impl std::fmt::Display) -> (Refusal, String) {
        match self.ask(command) {
            Message::Error { refusal, text } => (refusal, text),
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// The shim under test: this build's, unless `QUAESTOR_SHIM` names another.
fn program() -> PathBuf {
    let named = std::env::var_os("QUAESTOR_SHIM");
    named.map_or_else(|| env!("CARGO_BIN_EXE_quaestor-shim").into(), PathBuf::from)
}

/// Whether a process lives: it exists and is not merely waiting to be reaped.
pub(crate) fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z") && !stat.contains(") X"))
}

/// The number in a file, once it is there.
#[track_caller]
pub(crate) fn number_in(file: &Path) -> u32 {
    let mut content = String::new();
    eventually(&format!("`{}` has a line", file.display()), || {
        content = fs::read_to_string(file).unwrap_or_default();
        content.ends_with('\n')
    });
    content.trim().parse().unwrap()
}
