//! One process, from its start until nothing lives that descends from it.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    children, clock,
    errand::Errands,
    fate::Fate,
    launch,
    log::{Sink, Stream},
    notices::Notices,
    raw,
    wire::{
        message::{self, Message},
        notice::Notice,
        program::{Program, Stop},
        record::{Cause, End, Exit, Running},
    },
};

/// How long after a start most of what belongs to it has been done.
const QUIET: Duration = Duration::from_secs(1);

/// How long a line may wait for its end before what there is of it is written.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Workload {
    /// The leader of its session and group: our child, and unreaped for as long as this exists.
    pid: Pid,
    pub(crate) running: Running,
    pub(crate) streams: [Stream; 2],
    /// What it says of itself; none: its program does not ask it to.
    notices: Option<Notices>,
    cgroup: Option<Cgroup>,
    pub(crate) program: Program,
    pub(crate) fate: Fate,
    /// When a partial line is written.
    flush_at: Option<Duration>,
    /// When code that only starts need is given back; none once it is.
    quiet_at: Option<Duration>,
}

/// The control files of a cgroup of its own.
struct Cgroup {
    path: PathBuf,
    /// How many of its processes had been killed for memory before the start.
    oom_kills: u64,
}

impl Workload {
    /// Starts `program`. Returns once it is executing.
    ///
    /// # Errors
    /// What failed, on what, and why.
    pub(crate) fn start(
        program: Program,
        incarnation: u64,
        boot_id: &str,
        sink: &Sink,
    ) -> Result<Self, String> {
        let (streams, ends) = sink.streams()?;
        let listen = |error| format!("cannot listen to what it says of itself: {error}");
        let notices = Notices::open(&program).map_err(listen)?;
        let cgroup = program.cgroup.as_deref().map(Cgroup::new);
        let first = program.pre_start.as_ref();
        let arguments = first.map_or(&program.arguments, |first| &first.arguments);
        let prepare_until = first.map(|first| clock::now().saturating_add(first.timeout));
        // What prepares the start has nothing to say.
        let speaker = notices.as_ref().filter(|_| first.is_none());
        let variables = speaker.map_or_else(Vec::new, Notices::environment);
        let pid = launch::launch(&program, arguments, &variables, ends)?;
        let running = Running {
            preparing: prepare_until.is_some(),
            incarnation,
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            // It is there, as it is our child and unreaped.
            start_time: children::start_time(pid).unwrap_or(0),
            boot_id: boot_id.to_owned(),
            instance: program.instance.clone(),
            at: clock::wall(),
        };
        Ok(Self {
            pid,
            running,
            streams,
            notices,
            cgroup,
            program,
            fate: Fate::new(prepare_until),
            flush_at: None,
            quiet_at: Some(clock::now() + QUIET),
        })
    }

    /// Starts the program itself, after what prepared that.
    ///
    /// # Errors
    /// What failed, on what, and why.
    pub(crate) fn go_on(&mut self, sink: &mut Sink) -> Result<(), String> {
        let (streams, ends) = sink.streams()?;
        for stream in std::mem::replace(&mut self.streams, streams) {
            stream.finish(sink);
        }
        let program = &self.program;
        let variables = (self.notices.as_ref()).map_or_else(Vec::new, Notices::environment);
        let launched = launch::launch(program, &program.arguments, &variables, ends);
        self.pid = launched.inspect_err(|_| self.fate.fail())?;
        self.fate.go_on();
        self.running = Running {
            pid: self.pid.as_raw_nonzero().get().unsigned_abs(),
            start_time: children::start_time(self.pid).unwrap_or(0),
            at: clock::wall(),
            preparing: false,
            ..self.running.clone()
        };
        Ok(())
    }

    /// Sends a signal to the process. What prepares a start is not followed by one then.
    pub(crate) fn ask(&mut self, signal: message::Signal) -> Result<(), String> {
        self.fate.abandon();
        self.signal(signal)
    }

    fn signal(&self, signal: message::Signal) -> Result<(), String> {
        let signal = match signal {
            message::Signal::Hup => Signal::HUP,
            message::Signal::Int => Signal::INT,
            message::Signal::Quit => Signal::QUIT,
            message::Signal::Kill => Signal::KILL,
            message::Signal::Usr1 => Signal::USR1,
            message::Signal::Usr2 => Signal::USR2,
            message::Signal::Term => Signal::TERM,
        };
        kill_process(self.pid, signal).map_err(|error| error.to_string())
    }

    /// Kills it and what descends from it, because of `cause`.
    pub(crate) fn kill(&mut self, cause: Cause, errands: &mut Errands) {
        self.fate.kill(cause);
        self.kill_tree(&errands.pids());
    }

    /// Stops it, because of `cause`: signal, grace, kill.
    pub(crate) fn stop(&mut self, cause: Cause, now: Duration) {
        let Stop { signal, grace } = self.program.stop;
        let _ = self.signal(signal);
        self.fate.stop(cause, now.saturating_add(grace));
    }

    /// When [`Workload::on_time`] has something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let notices = self.notices.as_ref().and_then(Notices::next_moment);
        let moments = [
            self.fate.next_moment(),
            self.flush_at,
            self.quiet_at,
            notices,
        ];
        moments.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Duration, errands: &mut Errands, sink: &Sink) {
        if let Some(cause) = self.fate.due(now) {
            self.kill(cause, errands);
        }
        if self.flush_at.is_some_and(|moment| moment <= now) {
            self.flush_at = None;
            for stream in &mut self.streams {
                stream.flush(&sink.queue);
            }
        }
        if let Some(notices) = &mut self.notices {
            notices.on_time(now);
        }
        if self.quiet_at.is_some_and(|moment| moment <= now) {
            self.quiet_at = None;
            raw::give_back_code();
        }
    }

    /// What is to wait for: output, and what it says of itself.
    pub(crate) fn ears(&self) -> impl Iterator<Item = &OwnedFd> {
        let pipes = self.streams.iter().filter_map(Stream::pipe);
        pipes.chain(self.notices.as_ref().map(Notices::socket))
    }

    /// Reads what it says of itself.
    pub(crate) fn listen(&mut self, now: Duration) {
        if let Some(notices) = &mut self.notices {
            notices.read(now);
        }
    }

    /// What is known of what it says of itself; none when it is not asked to say anything.
    pub(crate) fn notice(&self) -> Option<Notice> {
        self.notices
            .as_ref()
            .map(|notices| notices.notice().clone())
    }

    /// What it has newly said of itself, to tell others.
    pub(crate) fn news(&mut self, now: Duration) -> Option<Message> {
        let notice = self.notices.as_mut()?.news(now)?;
        let incarnation = self.running.incarnation;
        Some(Message::Noticed {
            incarnation,
            notice,
        })
    }

    /// Takes note of output that was read.
    pub(crate) fn was_read(&mut self, now: Duration) {
        let is_partial = self.streams.iter().any(Stream::has_partial_line);
        // The first moment stands: a line that grows slowly is written in pieces all the same.
        self.flush_at = match self.flush_at {
            _ if !is_partial => None,
            None => Some(now + PATIENCE),
            set => set,
        };
    }

    /// Looks after its processes. Once nothing lives any more: how it ended.
    pub(crate) fn look(&mut self, errands: &mut Errands) -> Option<End> {
        let errands = errands.pids();
        if !self.fate.has_ended() {
            children::reap_orphans(&[&[self.pid], errands.as_slice()].concat());
            children::look(self.pid)?;
            self.fate.end();
        }
        self.kill_tree(&errands).then(|| children::reap(self.pid))?
    }

    /// True once nothing lives but, perhaps, the process itself.
    fn kill_tree(&self, errands: &[Pid]) -> bool {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        children::kill_tree(self.pid, errands)
    }

    /// Closes its streams and says how it ended. Call it when nothing lives any more.
    pub(crate) fn finish(self, end: End, sink: &mut Sink) -> Exit {
        for stream in self.streams {
            stream.finish(sink);
        }
        let out_of_memory = self.cgroup.is_some_and(Cgroup::leave);
        let killed = end == End::Signal(Signal::KILL.as_raw());
        let found = (out_of_memory && killed).then_some(Cause::Memory);
        self.fate.exit(&self.running, end, found)
    }
}

impl Cgroup {
    fn new(path: &Path) -> Self {
        let path = path.to_owned();
        let oom_kills = oom_kills(&path);
        Self { path, oom_kills }
    }

    fn kill(&self) {
        // Before Linux 5.14 there is no such file; the tree is killed all the same.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    /// Gives it up, as nothing lives in it. Whether any of its processes was killed for memory.
    fn leave(self) -> bool {
        let was_out_of_memory = oom_kills(&self.path) > self.oom_kills;
        // The agent makes it anew for the next start, and removes what is left of it.
        let _ = fs::remove_dir(&self.path);
        was_out_of_memory
    }
}

fn oom_kills(cgroup: &Path) -> u64 {
    let events = fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
