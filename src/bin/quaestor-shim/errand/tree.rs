//! The process of an errand with all that it starts. These are told from what the workload has started by a variable.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, time::Duration};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
    process::Pid,
};

use super::{Errands, MOST_TOLD};
use crate::{
    children, launch,
    log::{Sink, Stream},
    records,
    wire::{errand::Kind, program::Program, record::End},
};

pub(super) struct Tree {
    /// Our child, unreaped for as long as this exists.
    leader: Pid,
    /// A variable with its value, as the environments of its processes have it.
    mark: String,
    output: Output,
}

enum Output {
    Logged([Stream; 2]),
    /// Its last bytes.
    Told(OwnedFd, Vec<u8>),
}

impl Tree {
    /// Starts what an errand of that kind runs, for the process of `program`.
    ///
    /// # Errors
    /// What failed, on what, and why.
    pub(super) fn start(
        program: &Program,
        kind: Kind,
        mark: (&str, String),
        sink: &Sink,
    ) -> Result<Self, String> {
        let errand = records::errand(kind)?;
        let (output, ends) = Output::open(kind, sink)?;
        let arguments = &errand.arguments;
        let leader = launch::launch(program, arguments, std::slice::from_ref(&mark), ends)?;
        Ok(Self {
            leader,
            mark: format!("{}={}", mark.0, mark.1),
            output,
        })
    }

    /// Kills all of it.
    pub(super) fn kill(&self) {
        children::kill_marked(self.leader, &self.mark);
    }

    /// How it ended, once it has and nothing lives of what it started. It is reaped then.
    pub(super) fn look(&mut self) -> Option<End> {
        children::look(self.leader)?;
        children::kill_marked(self.leader, &self.mark)
            .then(|| children::reap(self.leader))
            .flatten()
    }

    /// When to look again: the end of every child is told.
    pub(super) fn next_look(&self) -> Option<Duration> {
        None
    }

    /// What is told of its output, now that it has ended.
    pub(super) fn finish(self, sink: &mut Sink) -> Vec<u8> {
        match self.output {
            Output::Logged(streams) => {
                for stream in streams {
                    stream.finish(sink);
                }
                Vec::new()
            }
            Output::Told(pipe, mut text) => {
                keep(&pipe, &mut text);
                text
            }
        }
    }

    fn pipes(&self) -> impl Iterator<Item = &OwnedFd> {
        let (streams, told): (&[Stream], _) = match &self.output {
            Output::Logged(streams) => (streams, None),
            Output::Told(pipe, _) => (&[], Some(pipe)),
        };
        streams.iter().filter_map(Stream::pipe).chain(told)
    }

    fn read(&mut self, sink: &mut Sink) {
        match &mut self.output {
            Output::Logged(streams) => {
                for stream in streams {
                    stream.read(sink);
                }
            }
            Output::Told(pipe, text) => keep(pipe, text),
        }
    }
}

impl Errands {
    /// Their leaders.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.list.iter().map(|errand| errand.tree.leader).collect()
    }

    /// What to wait for.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = &OwnedFd> {
        self.list.iter().flat_map(|errand| errand.tree.pipes())
    }

    /// Reads what there is of their output, once.
    pub(crate) fn read(&mut self, sink: &mut Sink) {
        for errand in &mut self.list {
            errand.tree.read(sink);
        }
    }
}

impl Output {
    /// Where the output of an errand goes, and what it writes to.
    fn open(kind: Kind, sink: &Sink) -> Result<(Self, [OwnedFd; 2]), String> {
        if kind == Kind::PreStop {
            let (streams, ends) = sink.streams()?;
            return Ok((Self::Logged(streams), ends));
        }
        let open = || {
            let (pipe, end) = pipe_with(PipeFlags::CLOEXEC)?;
            fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
            let other = end.try_clone()?;
            Ok((Self::Told(pipe, Vec::new()), [end, other]))
        };
        open()
            .map_err(|error: std::io::Error| format!("cannot open a pipe for its output: {error}"))
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
