//! A worker that writes at a pace and knows how long its writes took: this test program, started by a shim.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use quaestor::process::shim::wire::program::Program;

/// `<lines> <lines per second>`, when this program is to be the worker.
const TASK: &str = "QUAESTOR_TEST_WORKER";

/// Where it says how it went, in the directory that it starts in.
const ACCOUNT: &str = "account";

/// How a worker's writing went.
pub(crate) struct Pace {
    pub(crate) longest_write: Duration,
    pub(crate) took: Duration,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            longest_write,
            took,
        } = self;
        write!(
            f,
            "in {took:.1?}, the longest write took {longest_write:.1?}"
        )
    }
}

/// Lets `program` write that many numbered lines of 100 bytes at that pace.
pub(crate) fn writes(program: &mut Program, lines: u64, per_second: u64) {
    let this = env::current_exe().unwrap();
    let arguments = ["--exact", "worker::works_if_told_to", "--nocapture"];
    program.arguments = vec![this.into()];
    program.arguments.extend(arguments.map(OsString::from));
    program
        .environment
        .push((TASK.into(), format!("{lines} {per_second}").into()));
}

/// The line with that number.
pub(crate) fn line(number: u64) -> String {
    format!("line {number:09} {}", "x".repeat(84))
}

/// How it went, once the worker of a shim that serves `directory` has ended.
pub(crate) fn pace(directory: &Path) -> Pace {
    let account = fs::read_to_string(directory.join(ACCOUNT)).unwrap();
    let (longest, took) = account.split_once(' ').unwrap();
    let micros = |text: &str| Duration::from_micros(text.parse().unwrap());
    Pace {
        longest_write: micros(longest),
        took: micros(took),
    }
}

#[test]
fn works_if_told_to() {
    let Ok(task) = env::var(TASK) else {
        return;
    };
    let (lines, per_second) = task.split_once(' ').unwrap();
    let (lines, per_second): (u64, u64) = (lines.parse().unwrap(), per_second.parse().unwrap());
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    let mut output = std::io::stdout();
    let mut text = line(0) + "\n";
    for number in 0..lines {
        let due = u128::from(number) * 1_000_000_000 / u128::from(per_second);
        let due = Duration::from_nanos(u64::try_from(due).unwrap());
        // Ahead of its pace by more than a moment.
        if let Some(early) = due.checked_sub(start.elapsed() + Duration::from_millis(1)) {
            std::thread::sleep(early);
        }
        text.replace_range(5..14, &format!("{number:09}"));
        let before = Instant::now();
        output.write_all(text.as_bytes()).unwrap();
        longest = longest.max(before.elapsed());
    }
    let account = format!("{} {}", longest.as_micros(), start.elapsed().as_micros());
    fs::write(ACCOUNT, account).unwrap();
}
