//! One process, from its start until nothing lives that descends from it.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    children, clock, launch,
    log::{Buffer, Queue, Stream},
    notices::Notices,
    raw,
    wire::{
        log::Source,
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
    /// While it is what prepares the start: when that is killed.
    prepare_until: Option<Duration>,
    /// Somebody asked what prepares the start to end: nothing is to follow.
    abandoned: bool,
    /// What ends it, if it ends now.
    cause: Cause,
    /// When its tree is killed: its time to stop is over.
    kill_at: Option<Duration>,
    /// When a partial line is written.
    flush_at: Option<Duration>,
    /// When code that only starts need is given back; none once it is.
    quiet_at: Option<Duration>,
    /// Set once the process has ended; what it left behind is being killed.
    ended: bool,
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
    pub(crate) fn start(program: Program, incarnation: u64, boot_id: &str) -> Result<Self, String> {
        let pipe = |error| format!("cannot open a pipe for its output: {error}");
        let (out, out_end) = Stream::new(Source::Out).map_err(pipe)?;
        let (err, err_end) = Stream::new(Source::Err).map_err(pipe)?;
        let listen = |error| format!("cannot listen to what it says of itself: {error}");
        let notices = Notices::open(&program).map_err(listen)?;
        let cgroup = program.cgroup.as_deref().map(Cgroup::new);
        let first = program.pre_start.as_ref();
        let arguments = first.map_or(&program.arguments, |first| &first.arguments);
        let prepare_until = first.map(|first| clock::now().saturating_add(first.timeout));
        // What prepares the start has nothing to say.
        let speaker = notices.as_ref().filter(|_| first.is_none());
        let variables = speaker.map_or_else(Vec::new, Notices::environment);
        let pid = launch::launch(&program, arguments, &variables, out_end, err_end)?;
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
            streams: [out, err],
            notices,
            cgroup,
            program,
            prepare_until,
            abandoned: false,
            cause: Cause::Own,
            kill_at: None,
            flush_at: None,
            quiet_at: Some(clock::now() + QUIET),
            ended: false,
        })
    }

    /// Whether the process itself has ended.
    pub(crate) fn is_ending(&self) -> bool {
        self.ended
    }

    /// Whether the program itself is to be started, now that the first process has ended with `end`.
    pub(crate) fn is_prepared(&self, end: End) -> bool {
        let may_go_on = !self.abandoned && self.cause == Cause::Own;
        self.prepare_until.is_some() && end == End::Code(0) && may_go_on
    }

    /// Starts the program itself, after what prepared that.
    ///
    /// # Errors
    /// What failed, on what, and why.
    pub(crate) fn go_on(&mut self, buffer: &mut Buffer, queue: &Queue) -> Result<(), String> {
        let pipe = |error| format!("cannot open a pipe for its output: {error}");
        let (out, out_end) = Stream::new(Source::Out).map_err(pipe)?;
        let (err, err_end) = Stream::new(Source::Err).map_err(pipe)?;
        for stream in std::mem::replace(&mut self.streams, [out, err]) {
            stream.finish(buffer, queue);
        }
        let program = &self.program;
        let variables = (self.notices.as_ref()).map_or_else(Vec::new, Notices::environment);
        let launched = launch::launch(program, &program.arguments, &variables, out_end, err_end);
        self.pid = launched.inspect_err(|_| self.cause = Cause::NotStarted)?;
        self.prepare_until = None;
        self.ended = false;
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
    pub(crate) fn ask(&mut self, signal: message::Signal) -> Result<(), rustix::io::Errno> {
        self.abandoned = true;
        self.signal(signal)
    }

    fn signal(&self, signal: message::Signal) -> Result<(), rustix::io::Errno> {
        let signal = match signal {
            message::Signal::Hup => Signal::HUP,
            message::Signal::Int => Signal::INT,
            message::Signal::Quit => Signal::QUIT,
            message::Signal::Kill => Signal::KILL,
            message::Signal::Usr1 => Signal::USR1,
            message::Signal::Usr2 => Signal::USR2,
            message::Signal::Term => Signal::TERM,
        };
        kill_process(self.pid, signal)
    }

    /// Kills it and what descends from it, because of `cause`.
    pub(crate) fn kill(&mut self, cause: Cause, errands: &[Pid]) {
        // The cause that came first is what made it end.
        if self.cause == Cause::Own && !self.ended {
            self.cause = cause;
        }
        self.kill_at = None;
        self.kill_tree(errands);
    }

    /// Stops it, because of `cause`: signal, grace, kill.
    pub(crate) fn stop(&mut self, cause: Cause, now: Duration) {
        if self.cause == Cause::Own && !self.ended {
            self.cause = cause;
        }
        let Stop { signal, grace } = self.program.stop;
        let _ = self.signal(signal);
        self.kill_at = Some(now.saturating_add(grace));
    }

    /// When [`Workload::on_time`] has something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let prepare_until = self.prepare_until.filter(|_| !self.ended);
        let notices = self.notices.as_ref().and_then(Notices::next_moment);
        let moments = [
            self.kill_at,
            self.flush_at,
            self.quiet_at,
            prepare_until,
            notices,
        ];
        moments.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Duration, queue: &Queue) {
        if self.kill_at.is_some_and(|moment| moment <= now) {
            self.kill(self.cause, &[]);
        }
        if !self.ended && self.prepare_until.is_some_and(|moment| moment <= now) {
            // Once: from now on it is about to end.
            self.prepare_until = Some(Duration::MAX);
            self.kill(Cause::PreStartTimeout, &[]);
        }
        if self.flush_at.is_some_and(|moment| moment <= now) {
            self.flush_at = None;
            for stream in &mut self.streams {
                stream.flush(queue);
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
    pub(crate) fn look(&mut self, errands: &[Pid]) -> Option<End> {
        if !self.ended {
            children::reap_orphans(&[&[self.pid], errands].concat());
            children::look(self.pid)?;
            self.ended = true;
            self.kill_at = None;
        }
        self.kill_tree(errands).then(|| children::reap(self.pid))?
    }

    /// True once nothing lives but, perhaps, the process itself.
    fn kill_tree(&self, errands: &[Pid]) -> bool {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        children::kill_tree(self.pid, errands)
    }

    /// Closes its streams and says how it ended. Call it when nothing lives any more.
    pub(crate) fn finish(self, end: End, buffer: &mut Buffer, queue: &Queue) -> Exit {
        for stream in self.streams {
            stream.finish(buffer, queue);
        }
        let out_of_memory = self.cgroup.is_some_and(Cgroup::leave);
        let killed = end == End::Signal(Signal::KILL.as_raw());
        let cause = match self.cause {
            Cause::Own if out_of_memory && killed => Cause::Memory,
            Cause::Own if self.prepare_until.is_some() && !self.abandoned => Cause::PreStart,
            cause => cause,
        };
        Exit {
            incarnation: self.running.incarnation,
            pid: self.running.pid,
            end,
            cause,
            at: clock::wall(),
            since_boot: u64::try_from(clock::now().as_millis()).ok(),
        }
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
