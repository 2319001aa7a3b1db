//! What happened, as somebody sees it who knows nothing of the program's decisions: which worker processes lived when,
//! by the table of processes, and what a balancer answered.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{network::enter, support::balancer::places};

/// The variable by which processes of workers are known: `<mark>:<node>:<instance>`.
pub(crate) const VARIABLE: &str = "RECORDED";

/// Time between two looks, at the processes and at the balancer.
const PAUSE: Duration = Duration::from_millis(50);

/// A process of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) node: String,
    pub(crate) instance: String,
    pub(crate) pid: u32,
}

/// When a process was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// The first and the last look that saw it.
    looks: (u64, u64),
    /// When these were.
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    looks: u64,
    lives: BTreeMap<Process, Life>,
    /// What the balancer said; none: nothing.
    answers: Vec<(Instant, Option<Vec<String>>)>,
}

/// Looks until it is dropped.
pub(crate) struct Recorder {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Begins to look at the processes with that mark, and at the balancer at `http`, which is reached from `space`.
    pub(crate) fn start(mark: &str, http: String, space: Option<File>) -> Self {
        let mut recorder = Self {
            seen: Arc::default(),
            over: Arc::default(),
            watchers: Vec::new(),
        };
        let mark = format!("{VARIABLE}={mark}:");
        recorder.watch(None, move |seen| {
            let living = living(&mark);
            let mut seen = seen.lock().unwrap();
            seen.looks += 1;
            let (look, now) = (seen.looks, Timestamp::now());
            for process in living {
                let fresh = Life {
                    looks: (look, look),
                    from: now,
                    until: now,
                };
                let life = seen.lives.entry(process).or_insert(fresh);
                life.looks.1 = look;
                life.until = now;
            }
        });
        recorder.watch(space, move |seen| {
            let answer = places(&http, "Worker");
            let now = Instant::now();
            seen.lock().unwrap().answers.push((now, answer));
        });
        recorder
    }

    fn watch(&mut self, space: Option<File>, look: impl Fn(&Mutex<Seen>) + Send + 'static) {
        let (seen, over) = (self.seen.clone(), self.over.clone());
        self.watchers.push(std::thread::spawn(move || {
            enter(space.as_ref());
            while !over.load(Ordering::Relaxed) {
                look(&seen);
                std::thread::sleep(PAUSE);
            }
        }));
    }

    /// The processes that live, by a look that begins after this call.
    pub(crate) fn living(&self) -> Vec<Process> {
        let looks = || self.seen.lock().unwrap().looks;
        let begun = looks();
        while looks() < begun + 2 {
            std::thread::sleep(PAUSE / 5);
        }
        let seen = self.seen.lock().unwrap();
        let lives = seen.lives.iter();
        let living = lives.filter(|(_, life)| life.looks.1 == seen.looks);
        living.map(|(process, _)| process.clone()).collect()
    }

    /// Every process that there was, with when it was seen.
    pub(crate) fn lives(&self) -> BTreeMap<Process, Life> {
        self.seen.lock().unwrap().lives.clone()
    }

    /// How many processes an instance has had.
    pub(crate) fn count(&self, instance: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let lives = seen.lives.keys();
        lives.filter(|life| life.instance == instance).count()
    }

    /// Checks that no instance ever had two processes on one host, nor one of `singles` two anywhere. A look takes
    /// its time: what it sees of an end and a start that come one after the other is no overlap.
    #[track_caller]
    pub(crate) fn check(&self, singles: &[&str]) {
        let lives = self.seen.lock().unwrap().lives.clone();
        let lives: Vec<_> = lives.iter().collect();
        for (at, (one, life)) in lives.iter().enumerate() {
            let (first, last) = life.looks;
            for (other, beside) in &lives[at + 1..] {
                let (start, end) = beside.looks;
                let alike = one.instance == other.instance
                    && (one.node == other.node || singles.contains(&one.instance.as_str()));
                let together = last.min(end) > first.max(start);
                assert!(
                    !(alike && together),
                    "two at once: {one:?} in looks {first}-{last}, {other:?} in {start}-{end}"
                );
            }
        }
    }

    /// Checks that the balancer has answered each time since then, with at least so many endpoints.
    #[track_caller]
    pub(crate) fn check_answers(&self, since: Instant, least: usize) {
        let answers = self.seen.lock().unwrap().answers.clone();
        let answers = answers.iter().filter(|(at, _)| *at >= since);
        let mut count = 0;
        for (at, answer) in answers {
            let after = at.duration_since(since);
            let places = answer.as_ref();
            let places = places.unwrap_or_else(|| panic!("no answer after {after:?}"));
            assert!(places.len() >= least, "after {after:?}: {places:?}");
            count += 1;
        }
        assert!(count > 0, "the balancer was asked");
    }

    /// The balancer's last answer; none where there was none.
    pub(crate) fn answer(&self) -> Option<Vec<String>> {
        let seen = self.seen.lock().unwrap();
        seen.answers.last().and_then(|(_, answer)| answer.clone())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for watcher in self.watchers.drain(..) {
            let _ = watcher.join();
        }
    }
}

/// The processes whose environment says that they are workers with that mark. One that has ended has none.
fn living(mark: &str) -> Vec<Process> {
    let process = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let own = variables.find_map(|variable| variable.strip_prefix(mark.as_bytes()))?;
        let (node, instance) = std::str::from_utf8(own).ok()?.split_once(':')?;
        Some(Process {
            node: node.to_owned(),
            instance: instance.to_owned(),
            pid,
        })
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.filter_map(process).collect()
}
