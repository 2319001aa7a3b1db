//! The promise about output at its full length: 20 MB/s for half a minute, and as much as there may be. Of a release
//! build, on a machine that has nothing else to do; `scripts/flood` runs them.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    time::Duration,
};

use quaestor::process::shim::wire::{
    log::{Line, Source},
    program::LogLimits,
    record::End,
};

use crate::{
    harness::{Shim, log_files},
    support::{
        PATIENCE, eventually,
        figures::{self, Bar},
    },
    worker::{self, Pace},
};

/// No write of the worker may take longer.
const LONGEST_WRITE: Duration = Duration::from_millis(100);

/// What libtest, which the worker is started by, prints besides; where lines are dropped these may be among them.
const OTHER_LINES: u64 = 10;

/// What a log says of a worker's lines.
struct Account {
    kept: u64,
    dropped: u64,
    pace: Pace,
}

/// Lets a worker write `lines` lines and counts what became of them; panics at one that is torn, double or not in
/// its place, and at a write that took too long.
fn flood(lines: u64, per_second: u64) -> Account {
    let shim = Shim::start();
    let mut program = shim.script("");
    worker::writes(&mut program, lines, per_second);
    program.logs = LogLimits {
        max_bytes: 64 << 20,
        files: 1000,
    };
    shim.program(&program);
    let mut client = shim.connect();
    client.start(1);
    assert_eq!(client.exited().end, End::Code(0));
    let mut account = Account {
        kept: 0,
        dropped: 0,
        pace: worker::pace(shim.directory()),
    };
    eventually("the end is in the log", || {
        let last = log_files(shim.directory()).pop().unwrap();
        let text = std::fs::read(last).unwrap_or_default();
        let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(500)..]).into_owned();
        tail.contains(" shim ended: ") || tail.ends_with(" lines\n")
    });
    let mut next = 0;
    for file in log_files(shim.directory()) {
        for line in BufReader::new(File::open(file).unwrap()).split(b'\n') {
            let line = line.unwrap();
            let line = Line::read(&line).unwrap();
            let text = std::str::from_utf8(line.text).unwrap();
            match line.source {
                Source::Out if text.starts_with("line ") => {
                    let number = text[5..14].parse().unwrap();
                    assert_eq!(text, worker::line(number), "torn");
                    assert!(number >= next, "{number} after {next}");
                    next = number + 1;
                    account.kept += 1;
                }
                Source::Shim => {
                    let count = text.strip_prefix("dropped ");
                    let count = count.and_then(|rest| rest.strip_suffix(" lines"));
                    account.dropped += count.map_or(0, |count| count.parse::<u64>().unwrap());
                }
                _ => {}
            }
        }
    }
    let Account {
        kept,
        dropped,
        pace,
    } = &account;
    println!("{kept} lines kept, {dropped} dropped; {pace}");
    assert!(pace.longest_write < LONGEST_WRITE, "{pace}");
    account
}

#[test]
#[ignore = "half a minute, and a promise of release builds: scripts/flood"]
fn at_20_megabytes_a_second_for_half_a_minute_no_line_is_lost() {
    let account = flood(6_000_000, 200_000);
    let lost = 6_000_000 - account.kept as i64;
    figures::bar(
        "lines lost of 20 MB/s for 30 s",
        lost as f64,
        "",
        Bar::AtMost(0.0),
    );
    assert_eq!((account.kept, account.dropped), (6_000_000, 0));
    let (took, most) = (account.pace.took, Duration::from_secs(33));
    assert!(took < most, "the worker could not write as fast: {took:?}");
}

#[test]
#[ignore = "a promise of release builds: scripts/flood"]
fn beyond_that_whole_lines_are_dropped_and_counted_and_no_write_waits() {
    let lines = 6_000_000;
    let account = flood(lines, u64::MAX);
    let longest = account.pace.longest_write.as_secs_f64() * 1e3;
    let name = "the longest write of a worker that writes as fast as it can";
    figures::bar(
        name,
        longest,
        "ms",
        Bar::AtMost(LONGEST_WRITE.as_secs_f64() * 1e3),
    );
    let known = account.kept + account.dropped;
    assert!((lines..lines + OTHER_LINES).contains(&known), "{known}");
    assert!(account.pace.took < PATIENCE);
}
