//! Errands: short programs beside the process. One lives no longer than its time, than the client that sent
//! it, and than the process.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, time::Duration};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
    process::Pid,
};

use crate::{
    children, clock, launch,
    log::{Buffer, Queue, Stream},
    records,
    wire::{
        errand::{Kind, Outcome},
        log::Source,
        message::Refusal,
        program::Program,
        record::End,
    },
};

/// The variable by which what an errand started is told from what the process started.
const MARK: &str = "QUAESTOR_ERRAND";

/// How much of its output is told, in bytes: the last line or two.
const MOST_TOLD: usize = 300;

struct Errand {
    kind: Kind,
    /// The client that sent it.
    client: u64,
    /// Our child, unreaped for as long as this exists.
    pid: Pid,
    /// `MARK` with its value, as the environments of its processes have it.
    mark: String,
    output: Output,
    kill_at: Duration,
    killed: bool,
}

/// All that run: at most one of each kind.
#[derive(Default)]
pub(crate) struct Errands {
    list: Vec<Errand>,
    /// How many there were.
    count: u64,
}

impl Errands {
    /// Starts one for `client`, beside the process of `program`.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn start(
        &mut self,
        program: &Program,
        kind: Kind,
        client: u64,
        timeout: Duration,
    ) -> Result<(), (Refusal, String)> {
        if self.list.iter().any(|errand| errand.kind == kind) {
            return Err((Refusal::Busy, format!("a {} runs already", kind.name())));
        }
        self.count += 1;
        let errand = Errand::start(program, kind, client, self.count, timeout);
        let errand = errand.map_err(|text| (Refusal::StartFailed, text))?;
        self.list.push(errand);
        Ok(())
    }

    /// Their leaders.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.list.iter().map(|errand| errand.pid).collect()
    }

    /// What to wait for.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = &OwnedFd> {
        self.list.iter().flat_map(Errand::pipes)
    }

    /// Reads what there is of their output, once.
    pub(crate) fn read(&mut self, buffer: &mut Buffer, queue: &Queue) {
        for errand in &mut self.list {
            errand.read(buffer, queue);
        }
    }

    /// When [`Errands::on_time`] has something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let living = self.list.iter().filter(|errand| !errand.killed);
        living.map(|errand| errand.kill_at).min()
    }

    /// Kills those whose time is over.
    pub(crate) fn on_time(&mut self, now: Duration) {
        self.kill_if(|errand| errand.kill_at <= now);
    }

    /// Kills those that nobody waits for any more.
    pub(crate) fn keep_those_of(&mut self, is_there: impl Fn(u64) -> bool) {
        self.kill_if(|errand| !is_there(errand.client));
    }

    fn kill_if(&mut self, due: impl Fn(&Errand) -> bool) {
        for errand in &mut self.list {
            if !errand.killed && due(errand) {
                errand.kill();
            }
        }
    }

    /// One that has ended, with all that it started: who sent it, and what is told of it.
    pub(crate) fn ended(&mut self, buffer: &mut Buffer, queue: &Queue) -> Option<(u64, Outcome)> {
        let mut ends = self.list.iter_mut().map(Errand::look);
        let (at, end) = ends
            .by_ref()
            .enumerate()
            .find_map(|(at, end)| Some((at, end?)))?;
        let errand = self.list.remove(at);
        let (kind, client) = (errand.kind, errand.client);
        let outcome = errand.finish(end, buffer, queue);
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

enum Output {
    Logged([Stream; 2]),
    /// Its last bytes.
    Told(OwnedFd, Vec<u8>),
}

impl Errand {
    /// Starts the errand `number` for the process of `program`.
    ///
    /// # Errors
    /// What failed, on what, and why.
    fn start(
        program: &Program,
        kind: Kind,
        client: u64,
        number: u64,
        timeout: Duration,
    ) -> Result<Self, String> {
        let errand = records::errand(kind)?;
        let mark = (MARK, format!("{}-{number}", program.instance));
        let (output, [out, err]) = Output::open(kind)
            .map_err(|error| format!("cannot open a pipe for its output: {error}"))?;
        let arguments = &errand.arguments;
        let pid = launch::launch(program, arguments, std::slice::from_ref(&mark), out, err)?;
        Ok(Self {
            kind,
            client,
            pid,
            mark: format!("{}={}", mark.0, mark.1),
            output,
            kill_at: clock::now().saturating_add(timeout),
            killed: false,
        })
    }

    /// Kills it and all that it started.
    fn kill(&mut self) {
        self.killed = true;
        children::kill_marked(self.pid, &self.mark);
    }

    /// What to wait for.
    fn pipes(&self) -> impl Iterator<Item = &OwnedFd> {
        let (streams, told): (&[Stream], _) = match &self.output {
            Output::Logged(streams) => (streams, None),
            Output::Told(pipe, _) => (&[], Some(pipe)),
        };
        streams.iter().filter_map(Stream::pipe).chain(told)
    }

    /// Reads what there is of its output, once.
    fn read(&mut self, buffer: &mut Buffer, queue: &Queue) {
        match &mut self.output {
            Output::Logged(streams) => {
                for stream in streams {
                    stream.read(buffer, queue);
                }
            }
            Output::Told(pipe, text) => keep(pipe, text),
        }
    }

    /// How it ended, once it has and nothing lives of what it started. It is reaped then.
    fn look(&mut self) -> Option<End> {
        children::look(self.pid)?;
        children::kill_marked(self.pid, &self.mark)
            .then(|| children::reap(self.pid))
            .flatten()
    }

    /// What is told of it, now that it has ended.
    fn finish(mut self, end: End, buffer: &mut Buffer, queue: &Queue) -> Outcome {
        let mut told = Vec::new();
        match &mut self.output {
            Output::Told(pipe, text) => {
                keep(pipe, text);
                told = std::mem::take(text);
            }
            Output::Logged(_) => {}
        }
        if let Output::Logged(streams) = self.output {
            for stream in streams {
                stream.finish(buffer, queue);
            }
        }
        Outcome {
            end: (!self.killed).then_some(end),
            text: String::from_utf8_lossy(&told).trim().to_owned(),
        }
    }
}

impl Output {
    /// Where the output of an errand goes, and what it writes to.
    fn open(kind: Kind) -> std::io::Result<(Self, [OwnedFd; 2])> {
        match kind {
            Kind::PreStop => {
                let (out, out_end) = Stream::new(Source::Out)?;
                let (err, err_end) = Stream::new(Source::Err)?;
                Ok((Self::Logged([out, err]), [out_end, err_end]))
            }
            Kind::Check => {
                let (pipe, end) = pipe_with(PipeFlags::CLOEXEC)?;
                fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
                let other = end.try_clone()?;
                Ok((Self::Told(pipe, Vec::new()), [end, other]))
            }
        }
    }
}

/// Reads what a pipe holds, and keeps the last of it.
fn keep(pipe: &OwnedFd, text: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    let Ok(clone) = pipe.try_clone() else {
        return;
    };
    let mut pipe = File::from(clone);
    // No more than one pipe's worth: who writes without end is not waited for.
    for _ in 0..16 {
        match pipe.read(&mut chunk) {
            Ok(length) if length > 0 => text.extend_from_slice(&chunk[..length]),
            _ => break,
        }
        text.drain(..text.len().saturating_sub(MOST_TOLD));
    }
}
