//! The process of an errand with all that it starts, in a job of its own.

use std::{io::PipeWriter, time::Duration};

use super::{Errands, MOST_TOLD};
use crate::{
    clock,
    launch::launch,
    log::{Sink, Stream, Tail},
    raw::{Job, Leader},
    records,
    wire::{errand::Kind, program::Program, record::End},
};

/// What is killed is gone after a turn or two.
const TURN: Duration = Duration::from_millis(5);

pub(super) struct Tree {
    leader: Leader,
    job: Job,
    output: Output,
    /// How the leader ended; what it left behind is being killed.
    end: Option<End>,
}

enum Output {
    Logged([Stream; 2]),
    /// Its last bytes.
    Told(Tail),
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
        let job = Job::new(None).map_err(|error| format!("cannot make a job for it: {error}"))?;
        let (output, ends) = Output::open(kind, sink)?;
        let arguments = &errand.arguments;
        let leader = launch(program, arguments, &[mark], &job, ends, sink)?;
        Ok(Self {
            leader,
            job,
            output,
            end: None,
        })
    }

    /// Kills all of it.
    pub(super) fn kill(&self) {
        self.job.kill();
    }

    /// How it ended, once it has and nothing lives of what it started.
    pub(super) fn look(&mut self) -> Option<End> {
        if self.end.is_none() {
            self.end = Some(End::Code(self.leader.ended()?));
        }
        self.job.kill();
        self.end.filter(|_| self.job.is_empty())
    }

    /// When to look again: nobody tells when a job is empty.
    pub(super) fn next_look(&self) -> Option<Duration> {
        self.end.map(|_| clock::now() + TURN)
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
            Output::Told(tail) => tail.finish(),
        }
    }
}

impl Errands {
    /// Kills all: their process has ended.
    pub(crate) fn kill(&mut self) {
        self.kill_if(|_| true);
    }
}

impl Output {
    /// Where the output of an errand goes, and what it writes to.
    fn open(kind: Kind, sink: &Sink) -> Result<(Self, [PipeWriter; 2]), String> {
        if kind == Kind::PreStop {
            let (streams, ends) = sink.streams()?;
            return Ok((Self::Logged(streams), ends));
        }
        let open = || {
            let (tail, end) = Tail::new(MOST_TOLD)?;
            let other = end.try_clone()?;
            Ok((Self::Told(tail), [end, other]))
        };
        open()
            .map_err(|error: std::io::Error| format!("cannot open a pipe for its output: {error}"))
    }
}
