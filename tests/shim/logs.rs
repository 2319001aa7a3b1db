//! Lines whole and in order; floods, full and hanging disks.

use std::{fs, io::Read as _, process::Command as Start, time::Duration};

use quaestor::process::shim::wire::{
    log::{CURRENT, LONGEST},
    message::{Command, Message, Phase},
    names,
    program::{LogLimits, Program},
    record::End,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::{
    harness::{Client, Shim, log_files},
    support::eventually,
    worker,
};

/// No write of a worker may take longer. The promise is 100 ms; the rest is for machines where all
/// tests run at once. One that waits for the disks of these tests would wait for ever.
const LONGEST_WRITE: Duration = Duration::from_secs(1);

fn start(shim: &Shim, program: &Program) -> Client {
    shim.program(program);
    let mut client = shim.connect();
    client.start(1);
    client
}

/// The numbers of the worker's lines in a log; panics at one that is torn.
fn numbers(log: &[String]) -> Vec<u64> {
    let numbers = log.iter().filter_map(|line| line.strip_prefix("Out line "));
    numbers
        .map(|rest| {
            let number = rest[..9].parse().unwrap();
            assert_eq!(format!("line {rest}"), worker::line(number), "torn");
            number
        })
        .collect()
}

/// How many lines the log says were dropped.
fn dropped(log: &[String]) -> u64 {
    let notes = log
        .iter()
        .filter_map(|line| line.strip_prefix("Shim dropped "));
    notes
        .map(|note| note.strip_suffix(" lines").unwrap().parse::<u64>().unwrap())
        .sum()
}

/// The log, once the shim has written the end of its process: everything stands before that.
fn settled_log(shim: &Shim) -> Vec<String> {
    let is_end = |line: &String| line.starts_with("Shim ended");
    let mut log = Vec::new();
    eventually("the end is in the log", || {
        // Files are renamed while this reads them; what comes out then is no log yet.
        log = shim.log_lines();
        log.iter().any(is_end)
    });
    // Nothing is renamed any more.
    shim.log_lines()
}

#[test]
fn both_streams_are_kept_with_their_names_and_so_are_starts_and_ends() {
    let shim = Shim::start();
    let (mut client, running) = shim.run("echo one; echo two >&2; printf 'no end'; exit 1");
    client.exited();
    shim.await_line(&format!(
        "Shim ended: incarnation 1, pid {}, exit code 1, cause own",
        running.pid
    ));
    let log = shim.log_lines();
    assert_eq!(
        log[0],
        format!("Shim started: incarnation 1, pid {}", running.pid)
    );
    let said = |line: &str| log.iter().filter(|found| *found == line).count();
    assert_eq!(
        [said("Out one"), said("Err two"), said("Out no end")],
        [1, 1, 1]
    );
    assert_eq!(log.len(), 5, "{log:?}");
}

#[test]
fn a_line_that_does_not_end_is_shown_after_a_while_and_continued() {
    let shim = Shim::start();
    let script =
        "printf 'name? '; while ! [ -e go ]; do sleep 0.01; done; echo Bob; exec sleep 1000";
    let (_client, _) = shim.run(script);
    shim.await_line("Out name? ");
    fs::write(shim.file("go"), "").unwrap();
    shim.await_line("Out+ Bob");
}

#[test]
fn a_line_of_any_length_is_kept_in_pieces() {
    let shim = Shim::start();
    let length = 5 * LONGEST + 17;
    let (mut client, _) = shim.run(&format!(
        "head -c {length} /dev/zero | tr '\\0' z; echo; echo end"
    ));
    client.exited();
    shim.await_line("Out end");
    let log = shim.log_lines();
    let pieces = log.iter().filter_map(|line| {
        line.strip_prefix("Out ")
            .or(line.strip_prefix("Out+ "))
            .filter(|text| text.starts_with('z'))
    });
    assert_eq!(pieces.map(str::len).sum::<usize>(), length);
    assert_eq!(
        log.iter().filter(|line| line.starts_with("Out z")).count(),
        1
    );
}

#[test]
fn bytes_that_are_no_text_are_kept_as_they_are() {
    let shim = Shim::start();
    let (mut client, _) = shim.run("printf '\\000\\377\\033[1m\\r\\n'");
    client.exited();
    let expected = b" out \x00\xff\x1b[1m\r\n";
    eventually("the bytes are there", || {
        shim.log()
            .windows(expected.len())
            .any(|window| window == expected)
    });
}

#[test]
fn at_20_megabytes_a_second_no_line_is_lost_or_torn() {
    let shim = Shim::start();
    let mut program = shim.script("");
    let lines = 400_000;
    worker::writes(&mut program, lines, 200_000);
    program.logs = LogLimits {
        max_bytes: 1 << 30,
        files: 2,
    };
    let mut client = start(&shim, &program);
    assert_eq!(client.exited().end, End::Code(0));
    let log = settled_log(&shim);
    assert_eq!(dropped(&log), 0);
    assert!(numbers(&log).into_iter().eq(0..lines));
    let pace = worker::pace(shim.directory());
    assert!(pace.longest_write < LONGEST_WRITE, "{pace}");
}

#[test]
fn rotation_loses_and_tears_no_line() {
    let shim = Shim::start();
    let mut program = shim.script("");
    let lines = 20_000;
    worker::writes(&mut program, lines, 200_000);
    program.logs = LogLimits {
        max_bytes: 100_000,
        files: 1000,
    };
    let mut client = start(&shim, &program);
    client.exited();
    let log = settled_log(&shim);
    assert!(numbers(&log).into_iter().eq(0..lines));
    let files = log_files(shim.directory());
    assert!(files.len() > 20, "{}", files.len());
    for file in files {
        assert!(fs::metadata(file).unwrap().len() <= 100_000);
    }
}

#[test]
fn a_flood_is_rotated_and_stays_within_its_bounds() {
    let shim = Shim::start();
    let mut program = shim.script("exec yes");
    let limits = LogLimits {
        max_bytes: 200_000,
        files: 3,
    };
    program.logs = limits;
    let mut client = start(&shim, &program);
    let first = shim.file("log").join("0000000001.log");
    eventually("the first file is there", || {
        first.exists() || log_files(shim.directory()).len() == 3
    });
    let bounded = || {
        // A file may go between the listing and the look.
        let files = log_files(shim.directory());
        let sizes = files
            .iter()
            .filter_map(|file| fs::metadata(file).ok())
            .map(|file| file.len());
        // One is renamed before the oldest is removed.
        assert!(files.len() <= 4, "{files:?}");
        assert!(sizes.sum::<u64>() <= limits.max_bytes * 4);
        files
    };
    eventually("many files were rotated", || {
        bounded().iter().any(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.trim_end_matches(".log")
                .parse::<u64>()
                .is_ok_and(|number| number > 20)
        })
    });
    assert_eq!(client.status().phase, Phase::Running);
    assert_eq!(client.ask(Command::Kill), Message::Ok);
    client.exited();
    assert!(!first.exists());
}

#[test]
fn on_a_full_disk_whole_lines_are_dropped_and_counted_and_the_worker_goes_on() {
    let shim = Shim::start();
    let pid = Pid::from_raw(i32::try_from(shim.pid()).unwrap());
    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).unwrap();
    };
    // The system then refuses to let a file grow, as a full disk does.
    limit(Some(50_000));
    let mut program = shim.script("");
    let lines = 100_000;
    worker::writes(&mut program, lines, 1_000_000);
    let mut client = start(&shim, &program);
    assert_eq!(
        client.exited().end,
        End::Code(0),
        "the worker was not disturbed"
    );
    assert!(shim.exit_record().is_some());
    let size = fs::metadata(shim.file(names::LOG).join(CURRENT))
        .unwrap()
        .len();
    assert!(size <= 50_000);

    limit(None);
    shim.program(&shim.script("echo back"));
    client.start(2);
    shim.await_line("Out back");
    let log = shim.log_lines();
    let kept = numbers(&log);
    assert!(kept.is_sorted() && kept.first() == Some(&0) && dropped(&log) > 0);
    // Those of the worker, the test harness's words, and those of the shim.
    let whole = lines + 10;
    let known = kept.len() as u64 + dropped(&log);
    assert!((lines..whole).contains(&known), "{known} of {lines}");
}

#[test]
fn a_disk_that_hangs_holds_up_neither_the_worker_nor_the_shim() {
    let shim = Shim::start();
    // A pipe that nobody reads: once it is full, a write takes for ever.
    let current = shim.file(names::LOG).join(CURRENT);
    assert!(
        Start::new("mkfifo")
            .arg(&current)
            .status()
            .unwrap()
            .success()
    );
    let mut pipe = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&current)
        .unwrap();
    let mut program = shim.script("");
    let lines = 200_000;
    worker::writes(&mut program, lines, 200_000);
    let mut client = start(&shim, &program);
    assert_eq!(client.status().phase, Phase::Running);
    assert_eq!(client.exited().end, End::Code(0));

    // The disk comes back.
    let (mut log, mut buffer) = (Vec::new(), [0; 65_536]);
    let is_whole = |log: &[u8]| log.ends_with(b" lines\n");
    while !is_whole(&log) {
        let length = pipe.read(&mut buffer).unwrap();
        log.extend_from_slice(&buffer[..length]);
    }
    let log = String::from_utf8(log).unwrap();
    let kept = log
        .lines()
        .filter(|line| line.contains(" out line "))
        .count() as u64;
    let note = log.lines().last().unwrap();
    let dropped: u64 = note.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(dropped > 0);
    assert!(
        (lines..lines + 10).contains(&(kept + dropped)),
        "{kept} + {dropped} of {lines}"
    );
}

#[test]
fn a_line_that_a_killed_shim_left_torn_is_ended() {
    let shim = Shim::start();
    fs::write(
        shim.file(names::LOG).join(CURRENT),
        "2026-11-22T07:31:19.123Z out to",
    )
    .unwrap();
    let (mut client, _) = shim.run("echo whole");
    client.exited();
    shim.await_line("Out whole");
    assert_eq!(shim.log_lines()[0], "Out to");
}
