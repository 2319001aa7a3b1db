//! Errands: short programs beside the process. One lives no longer than its time, than the client that sent
//! it, and than the process.

#[cfg_attr(windows, path = "windows/errand.rs")]
mod tree;

use std::time::Duration;

use self::tree::Tree;
use crate::{
    clock,
    log::Sink,
    wire::{
        errand::{Kind, Outcome},
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
    /// Its process, and all that this starts.
    tree: Tree,
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
        (kind, timeout): (Kind, Duration),
        client: u64,
        sink: &Sink,
    ) -> Result<(), (Refusal, String)> {
        if self.list.iter().any(|errand| errand.kind == kind) {
            return Err((Refusal::Busy, format!("a {} runs already", kind.name())));
        }
        self.count += 1;
        let mark = (MARK, format!("{}-{}", program.instance, self.count));
        let tree = Tree::start(program, kind, mark, sink);
        self.list.push(Errand {
            kind,
            client,
            tree: tree.map_err(|text| (Refusal::StartFailed, text))?,
            kill_at: clock::now().saturating_add(timeout),
            killed: false,
        });
        Ok(())
    }

    /// When there is something to do.
    pub(crate) fn next_moment(&self) -> Option<Duration> {
        let moments = self.list.iter().flat_map(|errand| {
            let kill_at = (!errand.killed).then_some(errand.kill_at);
            kill_at.into_iter().chain(errand.tree.next_look())
        });
        moments.min()
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
                errand.killed = true;
                errand.tree.kill();
            }
        }
    }

    /// One that has ended, with all that it started: who sent it, and what is told of it.
    pub(crate) fn ended(&mut self, sink: &mut Sink) -> Option<(u64, Outcome)> {
        let mut all = self.list.iter_mut().enumerate();
        let (at, end) = all.find_map(|(at, errand)| Some((at, errand.tree.look()?)))?;
        let errand = self.list.remove(at);
        let text = errand.tree.finish(sink);
        let outcome = Outcome {
            end: (!errand.killed).then_some(end),
            text: String::from_utf8_lossy(&text).trim().to_owned(),
        };
        if errand.kind != Kind::Check {
            let how = outcome
                .end
                .map_or("killed before its end".to_owned(), describe);
            sink.queue.say(&format!("{}: {how}", errand.kind.name()));
        }
        Some((errand.client, outcome))
    }
}

/// An end, for people.
pub(crate) fn describe(end: End) -> String {
    match end {
        End::Code(code) => format!("exit code {code}"),
        End::Signal(signal) => format!("signal {signal}"),
    }
}
