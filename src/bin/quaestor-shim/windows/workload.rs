//! One process, from its start until nothing lives that descends from it.

use std::time::Duration;

use crate::{
    clock,
    errand::Errands,
    fate::Fate,
    launch::launch,
    log::{Sink, Stream},
    raw::{self, Job, Leader, StopEvent},
    wire::{
        message::Signal,
        names,
        notice::Notice,
        program::{Program, Stop},
        record::{Cause, End, Exit, Running},
    },
};

/// What is killed is gone after a turn or two.
const TURN: Duration = Duration::from_millis(5);

pub(crate) struct Workload {
    leader: Leader,
    job: Job,
    stop_event: StopEvent,
    pub(crate) running: Running,
    streams: [Stream; 2],
    pub(crate) program: Program,
    pub(crate) fate: Fate,
    /// How it ended, once it has; what it left behind is being killed.
    end: Option<End>,
    /// When it is looked whether that is gone.
    look_at: Option<Duration>,
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
        if program.identity.is_some() {
            return Err("Windows knows accounts by name, not by number".to_owned());
        }
        if program.notify.is_some() {
            return Err(
                "Windows has no sd_notify: use another check than `health.notify`".to_owned(),
            );
        }
        let job = |error| format!("cannot make a job for it: {error}");
        let job = Job::new(Some(&names::job(&program.instance))).map_err(job)?;
        let event = names::stop_event(&program.instance);
        let failed = |error| format!("cannot make the event `{event}`: {error}");
        let stop_event = StopEvent::new(&event).map_err(failed)?;
        let first = program.pre_start.as_ref();
        let arguments = first.map_or(&program.arguments, |first| &first.arguments);
        let prepare_until = first.map(|first| clock::now().saturating_add(first.timeout));
        let (streams, ends) = sink.streams()?;
        let variables = [(names::STOP_EVENT_VARIABLE, event)];
        let leader = launch(&program, arguments, &variables, &job, ends, sink)?;
        let running = Running {
            preparing: prepare_until.is_some(),
            incarnation,
            pid: leader.id(),
            start_time: raw::start_time(&leader),
            boot_id: boot_id.to_owned(),
            instance: program.instance.clone(),
            at: clock::wall(),
        };
        Ok(Self {
            leader,
            job,
            stop_event,
            running,
            streams,
            program,
            fate: Fate::new(prepare_until),
            end: None,
            look_at: None,
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
        let variables = [(
            names::STOP_EVENT_VARIABLE,
            names::stop_event(&program.instance),
        )];
        let arguments = &program.arguments;
        let launched = launch(program, arguments, &variables, &self.job, ends, sink);
        self.leader = launched.inspect_err(|_| self.fate.fail())?;
        self.fate.go_on();
        self.end = None;
        self.running = Running {
            pid: self.leader.id(),
            start_time: raw::start_time(&self.leader),
            at: clock::wall(),
            preparing: false,
            ..self.running.clone()
        };
        Ok(())
    }

    /// What it says of itself: nothing, as Windows has no sd_notify.
    pub(crate) fn notice(&self) -> Option<Notice> {
        None
    }

    /// Asks the process to end. What prepares a start is not followed by one then.
    pub(crate) fn ask(&mut self, signal: Signal) -> Result<(), String> {
        self.fate.abandon();
        self.signal(signal)
    }

    /// Programs with a console see Ctrl-Break, others an event: nobody can tell from outside which of them listens to what.
    fn signal(&self, signal: Signal) -> Result<(), String> {
        match signal {
            Signal::Term | Signal::Int | Signal::Quit | Signal::Hup => {
                let set = self.stop_event.set();
                // It fails for a program without a console.
                let _ = raw::press_break(&self.leader);
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
    pub(crate) fn kill(&mut self, cause: Cause, errands: &mut Errands) {
        self.fate.kill(cause);
        self.job.kill();
        errands.kill();
    }

    /// Stops it, because of `cause`: asks, waits, kills.
    pub(crate) fn stop(&mut self, cause: Cause, now: Duration) {
        let Stop { signal, grace } = self.program.stop;
        let _ = self.signal(signal);
        self.fate.stop(cause, now.saturating_add(grace));
    }

    /// When [`Workload::on_time`] or [`Workload::look`] has something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let streams = self.streams.iter().filter_map(Stream::next_moment);
        let moments = [self.fate.next_moment(), self.look_at];
        moments.into_iter().flatten().chain(streams).min()
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Duration, errands: &mut Errands, sink: &Sink) {
        if let Some(cause) = self.fate.due(now) {
            self.kill(cause, errands);
        }
        for stream in &self.streams {
            stream.on_time(now, &sink.queue);
        }
    }

    /// Looks after its processes. Once nothing lives any more: how it ended.
    pub(crate) fn look(&mut self, errands: &mut Errands) -> Option<End> {
        if self.end.is_none() {
            self.end = Some(End::Code(self.leader.ended()?));
            self.fate.end();
        }
        self.job.kill();
        errands.kill();
        let is_gone = self.job.is_empty();
        self.look_at = (!is_gone).then(|| clock::now() + TURN);
        self.end.filter(|_| is_gone)
    }

    /// Closes its streams and says how it ended. Call it when nothing lives any more.
    pub(crate) fn finish(self, end: End, sink: &mut Sink) -> Exit {
        for stream in self.streams {
            stream.finish(sink);
        }
        self.fate.exit(&self.running, end, None)
    }
}
