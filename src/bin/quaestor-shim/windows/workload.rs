//! One process, from its start until nothing lives that descends from it.

use std::{process::Child, sync::mpsc::Sender, time::Duration};

use crate::{
    clock,
    launch::launch,
    log::{Queue, Stream},
    raw::{self, Job, StopEvent},
    shim::Event,
    wire::{
        log::Source,
        message::Signal,
        names,
        program::{Program, Stop},
        record::{Cause, End, Exit, Running},
    },
};

/// What is killed is gone after a turn or two.
const TURN: Duration = Duration::from_millis(5);

/// The variable that names the event by which a program without a console is asked to end.
const STOP_EVENT: &str = "QUAESTOR_STOP_EVENT";

pub(crate) struct Workload {
    /// Its number is its own for as long as this exists.
    child: Child,
    job: Job,
    stop_event: StopEvent,
    pub(crate) running: Running,
    streams: [Stream; 2],
    pub(crate) program: Program,
    /// While it is what prepares the start: when that is killed.
    prepare_until: Option<Duration>,
    /// Somebody asked what prepares the start to end: nothing is to follow.
    abandoned: bool,
    /// What ends it, if it ends now.
    cause: Cause,
    /// When its tree is killed: its time to stop is over.
    kill_at: Option<Duration>,
    /// How it ended, once it has; what it left behind is being killed.
    end: Option<End>,
    /// When it is looked whether that is gone.
    look_at: Option<Duration>,
}

fn stop_event(program: &Program) -> String {
    format!(r"Global\quaestor-stop-{}", program.instance)
}

/// Two pipes for output, and what a process writes to.
fn streams(
    queue: &Queue,
    events: &Sender<Event>,
) -> Result<([Stream; 2], [std::io::PipeWriter; 2]), String> {
    let pipe = |error| format!("cannot open a pipe for its output: {error}");
    let (out, out_end) = Stream::new(Source::Out, queue, events).map_err(pipe)?;
    let (err, err_end) = Stream::new(Source::Err, queue, events).map_err(pipe)?;
    Ok(([out, err], [out_end, err_end]))
}

impl Workload {
    /// Starts `program`. Returns once it is executing.
    ///
    /// # Errors
    /// What failed, on what, and why.
    pub(crate) fn start(
        program: Program,
        incarnation: u64,
        queue: &Queue,
        events: &Sender<Event>,
    ) -> Result<Self, String> {
        if program.identity.is_some() {
            return Err("on Windows all run as who their agent is: leave out `user`".to_owned());
        }
        if program.notify.is_some() {
            return Err(
                "Windows has no sd_notify: use another check than `health.notify`".to_owned(),
            );
        }
        let job = |error| format!("cannot make a job for it: {error}");
        let job = Job::new(Some(&names::job(&program.instance))).map_err(job)?;
        let event = stop_event(&program);
        let failed = |error| format!("cannot make the event `{event}`: {error}");
        let stop_event = StopEvent::new(&event).map_err(failed)?;
        let first = program.pre_start.as_ref();
        let arguments = first.map_or(&program.arguments, |first| &first.arguments);
        let prepare_until = first.map(|first| clock::now().saturating_add(first.timeout));
        let (streams, ends) = streams(queue, events)?;
        let variables = [(STOP_EVENT, event)];
        let child = launch(&program, arguments, &variables, &job, ends, events)?;
        let running = Running {
            preparing: prepare_until.is_some(),
            incarnation,
            pid: child.id(),
            start_time: raw::start_time(&child),
            // No boot has processes of another one's times.
            boot_id: String::new(),
            instance: program.instance.clone(),
            at: clock::wall(),
        };
        Ok(Self {
            child,
            job,
            stop_event,
            running,
            streams,
            program,
            prepare_until,
            abandoned: false,
            cause: Cause::Own,
            kill_at: None,
            end: None,
            look_at: None,
        })
    }

    /// Whether the process itself has ended.
    pub(crate) fn is_ending(&self) -> bool {
        self.end.is_some()
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
    pub(crate) fn go_on(&mut self, queue: &Queue, events: &Sender<Event>) -> Result<(), String> {
        let (streams, ends) = streams(queue, events)?;
        for stream in std::mem::replace(&mut self.streams, streams) {
            stream.finish(queue);
        }
        let program = &self.program;
        let variables = [(STOP_EVENT, stop_event(program))];
        let arguments = &program.arguments;
        let launched = launch(program, arguments, &variables, &self.job, ends, events);
        self.child = launched.inspect_err(|_| self.cause = Cause::NotStarted)?;
        self.prepare_until = None;
        self.end = None;
        self.running = Running {
            pid: self.child.id(),
            start_time: raw::start_time(&self.child),
            at: clock::wall(),
            preparing: false,
            ..self.running.clone()
        };
        Ok(())
    }

    /// Asks the process to end. What prepares a start is not followed by one then.
    pub(crate) fn ask(&mut self, signal: Signal) -> Result<(), String> {
        self.abandoned = true;
        self.signal(signal)
    }

    /// Programs with a console see Ctrl-Break, others an event: nobody can tell from outside which of them listens to what.
    fn signal(&self, signal: Signal) -> Result<(), String> {
        match signal {
            Signal::Term | Signal::Int | Signal::Quit | Signal::Hup => {
                let set = self.stop_event.set();
                // It fails for a program without a console.
                let _ = raw::press_break(&self.child);
                set.map_err(|error| error.to_string())
            }
            Signal::Kill => {
                self.job.kill();
                Ok(())
            }
            Signal::Usr1 | Signal::Usr2 => {
                Err(format!("{} means nothing on Windows", signal.name()))
            }
        }
    }

    /// Kills it and what descends from it, because of `cause`.
    pub(crate) fn kill(&mut self, cause: Cause) {
        // The cause that came first is what made it end.
        if self.cause == Cause::Own && self.end.is_none() {
            self.cause = cause;
        }
        self.kill_at = None;
        self.job.kill();
    }

    /// Stops it, because of `cause`: asks, waits, kills.
    pub(crate) fn stop(&mut self, cause: Cause, now: Duration) {
        if self.cause == Cause::Own && self.end.is_none() {
            self.cause = cause;
        }
        let Stop { signal, grace } = self.program.stop;
        let _ = self.signal(signal);
        self.kill_at = Some(now.saturating_add(grace));
    }

    /// When [`Workload::on_time`] or [`Workload::look`] has something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let prepare_until = self.prepare_until.filter(|_| self.end.is_none());
        let streams = self.streams.iter().filter_map(Stream::next_moment);
        let moments = [self.kill_at, self.look_at, prepare_until];
        moments.into_iter().flatten().chain(streams).min()
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Duration, queue: &Queue) {
        if self.kill_at.is_some_and(|moment| moment <= now) {
            self.kill(self.cause);
        }
        if self.end.is_none() && self.prepare_until.is_some_and(|moment| moment <= now) {
            // Once: from now on it is about to end.
            self.prepare_until = Some(Duration::MAX);
            self.kill(Cause::PreStartTimeout);
        }
        for stream in &self.streams {
            stream.on_time(now, queue);
        }
    }

    /// Looks after its processes. Once nothing lives any more: how it ended.
    pub(crate) fn look(&mut self, now: Duration) -> Option<End> {
        if self.end.is_none() {
            let status = self.child.try_wait().ok().flatten()?;
            self.end = Some(End::Code(status.code().unwrap_or(-1)));
            self.kill_at = None;
        }
        self.job.kill();
        let is_gone = self.job.is_empty();
        self.look_at = (!is_gone).then(|| now + TURN);
        self.end.filter(|_| is_gone)
    }

    /// Closes its streams and says how it ended. Call it when nothing lives any more.
    pub(crate) fn finish(self, end: End, queue: &Queue) -> Exit {
        for stream in self.streams {
            stream.finish(queue);
        }
        let cause = match self.cause {
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
