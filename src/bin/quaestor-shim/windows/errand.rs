//! Errands: short programs beside the process. One lives no longer than its time, than the client that sent
//! it, and than the process.

use std::{process::Child, sync::mpsc::Sender, time::Duration};

use crate::{
    clock,
    launch::launch,
    log::{Queue, Stream, Tail},
    raw::Job,
    records,
    shim::Event,
    wire::{
        errand::{Kind, Outcome},
        log::Source,
        message::Refusal,
        program::Program,
        record::End,
    },
};

/// How much of its output is told, in bytes: the last line or two.
const MOST_TOLD: usize = 300;

/// What is killed is gone after a turn or two.
const TURN: Duration = Duration::from_millis(5);

struct Errand {
    kind: Kind,
    /// The client that sent it.
    client: u64,
    child: Child,
    /// All that it starts.
    job: Job,
    output: Output,
    kill_at: Duration,
    killed: bool,
    /// How it ended; what it left behind is being killed.
    end: Option<End>,
}

enum Output {
    Logged([Stream; 2]),
    /// Its last bytes.
    Told(Tail),
}

/// All that run: at most one of each kind.
#[derive(Default)]
pub(crate) struct Errands(Vec<Errand>);

impl Errands {
    /// Starts one for `client`, beside the process of `program`.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn start(
        &mut self,
        program: &Program,
        (kind, timeout): (Kind, Duration),
        client: u64,
        queue: &Queue,
        events: &Sender<Event>,
    ) -> Result<(), (Refusal, String)> {
        if self.0.iter().any(|errand| errand.kind == kind) {
            return Err((Refusal::Busy, format!("a {} runs already", kind.name())));
        }
        let errand = Errand::start(program, (kind, timeout), client, queue, events);
        self.0
            .push(errand.map_err(|text| (Refusal::StartFailed, text))?);
        Ok(())
    }

    /// When there is something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let moment = |errand: &Errand| match errand.end {
            Some(_) => Some(clock::now() + TURN),
            None => (!errand.killed).then_some(errand.kill_at),
        };
        self.0.iter().filter_map(moment).min()
    }

    /// Kills those whose time is over.
    pub(crate) fn on_time(&mut self, now: Duration) {
        self.kill_if(|errand| errand.kill_at <= now);
    }

    /// Kills those that nobody waits for any more.
    pub(crate) fn keep_those_of(&mut self, is_there: impl Fn(u64) -> bool) {
        self.kill_if(|errand| !is_there(errand.client));
    }

    /// Kills all: their process has ended.
    pub(crate) fn kill(&mut self) {
        self.kill_if(|_| true);
    }

    fn kill_if(&mut self, due: impl Fn(&Errand) -> bool) {
        for errand in &mut self.0 {
            if !errand.killed && due(errand) {
                errand.killed = true;
                errand.job.kill();
            }
        }
    }

    /// One that has ended, with all that it started: who sent it, and what is told of it.
    pub(crate) fn ended(&mut self, queue: &Queue) -> Option<(u64, Outcome)> {
        let at = self.0.iter_mut().position(Errand::is_gone)?;
        let errand = self.0.remove(at);
        let (kind, client) = (errand.kind, errand.client);
        let outcome = errand.finish(queue);
        if kind != Kind::Check {
            let how = outcome
                .end
                .map_or("killed before its end".to_owned(), describe);
            queue.say(&format!("{}: {how}", kind.name()));
        }
        Some((client, outcome))
    }
}

/// An end, for people.
pub(crate) fn describe(end: End) -> String {
    match end {
        End::Code(code) => format!("exit code {code}"),
        End::Signal(signal) => format!("signal {signal}"),
    }
}

impl Errand {
    fn start(
        program: &Program,
        (kind, timeout): (Kind, Duration),
        client: u64,
        queue: &Queue,
        events: &Sender<Event>,
    ) -> Result<Self, String> {
        let errand = records::errand(kind)?;
        let job = Job::new(None).map_err(|error| format!("cannot make a job for it: {error}"))?;
        let pipe = |error| format!("cannot open a pipe for its output: {error}");
        let (output, ends) = match kind {
            Kind::PreStop => {
                let (out, out_end) = Stream::new(Source::Out, queue, events).map_err(pipe)?;
                let (err, err_end) = Stream::new(Source::Err, queue, events).map_err(pipe)?;
                (Output::Logged([out, err]), [out_end, err_end])
            }
            Kind::Check => {
                let (tail, end) = Tail::new(MOST_TOLD).map_err(pipe)?;
                let other = end.try_clone().map_err(pipe)?;
                (Output::Told(tail), [end, other])
            }
        };
        let child = launch(program, &errand.arguments, &[], &job, ends, events)?;
        Ok(Self {
            kind,
            client,
            child,
            job,
            output,
            kill_at: clock::now().saturating_add(timeout),
            killed: false,
            end: None,
        })
    }

    /// Whether it has ended, and nothing lives of what it started.
    fn is_gone(&mut self) -> bool {
        if self.end.is_none() {
            let status = self.child.try_wait().ok().flatten();
            self.end = status.map(|status| End::Code(status.code().unwrap_or(-1)));
        }
        if self.end.is_some() {
            self.job.kill();
        }
        self.end.is_some() && self.job.is_empty()
    }

    /// What is told of it.
    fn finish(self, queue: &Queue) -> Outcome {
        let told = match self.output {
            Output::Told(tail) => tail.finish(),
            Output::Logged(streams) => {
                for stream in streams {
                    stream.finish(queue);
                }
                Vec::new()
            }
        };
        Outcome {
            end: self.end.filter(|_| !self.killed),
            text: String::from_utf8_lossy(&told).trim().to_owned(),
        }
    }
}
