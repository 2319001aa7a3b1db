//! A worker that writes at a pace and knows how long its writes took: this test program, started by a shim.

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    time::{Duration, Instant},
};

use quaestor::process::shim::wire::program::Program;

/// `<lines> <lines per second>`, when this program is to be the worker.
const TASK: &str = "QUAESTOR_TEST_WORKER";

/// Lets `program` write that many numbered lines of 100 bytes at that pace, and then, on standard error,
/// how long the longest write took.
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

/// What the worker said about its longest write, from the lines of a log.
pub(crate) fn longest_write(log: &[String]) -> Option<Duration> {
    let micros = log
        .iter()
        .find_map(|line| line.strip_prefix("Err longest write: "))?;
    Some(Duration::from_micros(micros.parse().unwrap()))
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
    for number in 0..lines {
        let due = Duration::from_nanos(number * 1_000_000_000 / per_second);
        // Ahead of its pace by more than a moment.
        if let Some(early) = due.checked_sub(start.elapsed() + Duration::from_millis(1)) {
            std::thread::sleep(early);
        }
        let text = line(number) + "\n";
        let before = Instant::now();
        output.write_all(text.as_bytes()).unwrap();
        longest = longest.max(before.elapsed());
    }
    eprintln!("longest write: {}", longest.as_micros());
}
