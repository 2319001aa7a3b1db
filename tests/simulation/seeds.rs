//! Running worlds: one in a process of its own, many, the fewest faults with which one still fails.

use std::{
    env, fmt, fs,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    chance,
    planted::Planted,
    schedule::{FAULTS, schedule},
    trace::Violation,
    world,
};

/// Names the file with the task of a world's process, and the one for its report.
const TASK: &str = "QUAESTOR_SIMULATION_TASK";

/// A world takes a second or so of a processor; one that takes this long hangs, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(900);

/// One world.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub seed: u64,
    /// Which faults of its schedule happen; none: all.
    pub kept: Option<Vec<usize>>,
    pub planted: Planted,
    /// Whether the whole record is wanted, and the program's log on stderr.
    pub verbose: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub violation: Option<Violation>,
    pub hash: u64,
    pub count: usize,
    pub lines: Vec<String>,
    /// Virtual time that passed.
    pub elapsed: Duration,
}

impl Task {
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            kept: None,
            planted: Planted::Nothing,
            verbose: false,
        }
    }

    /// Runs the world in a process of its own.
    pub fn run(&self) -> Report {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = env::temp_dir().join(format!("quaestor-world-{}-{number}", std::process::id()));
        let mut child = Command::new(env::current_exe().expect("this program has a path"))
            .args([
                "--exact",
                "one_world",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(
                TASK,
                format!(
                    "{}\n{}",
                    file.display(),
                    serde_json::to_string(self).expect("plain data")
                ),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(if self.verbose {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .expect("this program can be started");
        let start = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            if start.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = fs::read(&file);
        let _ = fs::remove_file(&file);
        let report = text
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        report.unwrap_or_else(|| Report {
            violation: Some(Violation {
                invariant: "world".to_owned(),
                what: "it panicked, or did not end in time; see `scripts/simulate --show SEED`"
                    .to_owned(),
            }),
            hash: 0,
            count: 0,
            lines: Vec::new(),
            elapsed: Duration::ZERO,
        })
    }

    /// The same world with the fewest faults that still break the same invariant.
    fn shrunk(&self, invariant: &str) -> (Self, Report) {
        let still = |kept: &[usize]| {
            let task = Self {
                kept: Some(kept.to_vec()),
                ..self.clone()
            };
            let report = task.run();
            let same = report
                .violation
                .as_ref()
                .is_some_and(|found| found.invariant == invariant);
            same.then_some((task, report))
        };
        let (_, found) = fewest(FAULTS, still);
        found.unwrap_or_else(|| (self.clone(), self.run()))
    }
}

/// The fewest of `count` things with which it is `still` so, none of which can be left out; and what came of them.
pub fn fewest<T>(
    count: usize,
    mut still: impl FnMut(&[usize]) -> Option<T>,
) -> (Vec<usize>, Option<T>) {
    let mut kept: Vec<usize> = (0..count).collect();
    let mut best = None;
    let mut size = count.div_ceil(2);
    while size > 0 {
        let before = kept.len();
        let mut start = 0;
        while start < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(start..(start + size).min(kept.len()));
            match still(&fewer) {
                Some(found) => {
                    kept = fewer;
                    best = Some(found);
                }
                None => start += size,
            }
        }
        // What was needed beside something that has gone since may be needed no more.
        let again = size == 1 && kept.len() < before;
        size = if again { 1 } else { size / 2 };
    }
    (kept, best)
}

/// What a world's process does.
pub fn report() {
    let Ok(text) = env::var(TASK) else { return };
    let (file, task) = text.split_once('\n').expect("a file and a task");
    let task: Task = serde_json::from_str(task).expect("a task");
    if task.verbose {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_timer(Virtual(std::sync::OnceLock::new()))
            .with_writer(std::io::stderr);
        subscriber.init();
    }
    let run = || world::run(task.seed, task.kept.as_deref(), task.planted);
    let outcome = chance::alone(run);
    let report = Report {
        violation: outcome.trace.first_violation(),
        hash: outcome.trace.hash(),
        count: outcome.trace.len(),
        lines: outcome.trace.lines(task.verbose),
        elapsed: outcome.elapsed,
    };
    fs::write(file, serde_json::to_vec(&report).expect("plain data"))
        .expect("a report can be written");
}

/// Virtual time in the log.
struct Virtual(std::sync::OnceLock<tokio::time::Instant>);

impl tracing_subscriber::fmt::time::FormatTime for Virtual {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> fmt::Result {
        if tokio::runtime::Handle::try_current().is_err() {
            return write!(writer, "?");
        }
        let origin = self.0.get_or_init(tokio::time::Instant::now);
        write!(writer, "{:>8.3}", origin.elapsed().as_secs_f64())
    }
}

/// Runs worlds, as many at a time as there are processors. Their reports, in order.
pub fn run_all(tasks: &[Task]) -> Vec<Report> {
    run_until(tasks, None)
}

/// The same, but begins none after `end`.
fn run_until(tasks: &[Task], end: Option<Instant>) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(vec![None; tasks.len()]);
    let work = || {
        while end.is_none_or(|end| Instant::now() < end) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(index) else { return };
            let report = task.run();
            if let (Some(found), Planted::Nothing) = (&report.violation, task.planted) {
                // At once: many worlds take long.
                eprintln!("seed {}: {}: {}", task.seed, found.invariant, found.what);
            }
            reports.lock().unwrap()[index] = Some(report);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let reports = reports.into_inner().unwrap();
    reports.into_iter().flatten().collect()
}

/// Looks for planted bugs: for each the number of worlds tried, at most `patience`, and what the last one broke.
pub fn hunt(bugs: &[Planted], patience: u64) -> Vec<(u64, Option<Violation>)> {
    let mut found: Vec<(u64, Option<Violation>)> = vec![(0, None); bugs.len()];
    for tried in 1..=patience {
        let open: Vec<usize> = (0..bugs.len())
            .filter(|bug| found[*bug].1.is_none())
            .collect();
        let tasks: Vec<Task> = open
            .iter()
            .map(|bug| Task {
                planted: bugs[*bug],
                ..Task::of(bugs[*bug].first_seed() + tried - 1)
            })
            .collect();
        for (bug, report) in open.into_iter().zip(run_all(&tasks)) {
            found[bug] = (tried, report.violation);
        }
    }
    found
}

/// The stories of those of `seeds` that fail. The first is explained; the others may have the same cause.
pub fn failures(seeds: &[u64]) -> Vec<String> {
    let tasks: Vec<Task> = seeds.iter().copied().map(Task::of).collect();
    explained(seeds, run_all(&tasks))
}

fn explained(seeds: &[u64], reports: Vec<Report>) -> Vec<String> {
    let mut failures = Vec::new();
    for (seed, report) in seeds.iter().zip(reports) {
        if let Some(violation) = report.violation {
            failures.push(match failures.is_empty() {
                true => explain(*seed, &violation.invariant),
                false => format!("seed {seed}: {}: {}", violation.invariant, violation.what),
            });
        }
    }
    failures
}

/// The story of a seed that fails, with the fewest faults.
fn explain(seed: u64, invariant: &str) -> String {
    let (task, report) = Task::of(seed).shrunk(invariant);
    let what = report
        .violation
        .map(|violation| violation.what)
        .unwrap_or_default();
    let faults: Vec<String> = schedule(seed, task.kept.as_deref())
        .iter()
        .map(|event| format!("  {:>7.3} {:?}", event.at.as_secs_f64(), event.fault))
        .collect();
    format!(
        "seed {seed} violates {invariant}: {what}\nwith these faults ({:?}):\n{}\nlast events:\n  {}",
        task.kept.unwrap_or_default(),
        faults.join("\n"),
        report.lines.join("\n  ")
    )
}

/// What `scripts/simulate` asks for in the environment. Whether all went well.
pub fn simulate() -> bool {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("SEED") {
        let kept = env::var("KEPT").ok().map(|text| {
            let numbers = text
                .split(',')
                .filter_map(|number| number.trim().parse().ok());
            numbers.collect()
        });
        let task = Task {
            kept,
            verbose: true,
            ..Task::of(seed)
        };
        let report = task.run();
        println!("{}", report.lines.join("\n"));
        println!(
            "{:?}, {} lines, hash {:x}",
            report.violation, report.count, report.hash
        );
        return report.violation.is_none();
    }
    let (from, count) = (number("FROM").unwrap_or(1), number("SEEDS").unwrap_or(100));
    let seeds: Vec<u64> = (from..from + count).collect();
    let tasks: Vec<Task> = seeds.iter().copied().map(Task::of).collect();
    let start = Instant::now();
    let limit = number("FOR").map(Duration::from_secs);
    let reports = run_until(&tasks, limit.map(|limit| start + limit));
    let seconds = start.elapsed().as_secs_f64();
    let count = reports.len();
    let failed = explained(&seeds, reports);
    println!("{}", failed.join("\n\n"));
    println!(
        "{count} seeds from {from} with {FAULTS} faults each: {} failed; {seconds:.0} s, {:.2} seeds/s",
        failed.len(),
        count as f64 / seconds
    );
    failed.is_empty()
}
