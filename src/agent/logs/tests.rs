//! Files that are written, renamed and removed while they are read.

use std::{fs, path::Path};

use super::*;
use crate::process::shim::wire::log::{CURRENT, Source, Time, archived, write_head};

/// A log directory, and what reads it.
struct Fixture {
    directory: tempfile::TempDir,
    logs: Logs,
}

const WORKER: &str = "worker-0";

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::new(directory.path(), Host::system());
        fs::create_dir_all(directory.path().join("logs").join(WORKER)).unwrap();
        Self { directory, logs }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("logs").join(WORKER).join(name)
    }

    fn append(&self, bytes: &[u8]) {
        use std::io::Write as _;
        let mut options = fs::OpenOptions::new();
        let file = options.append(true).create(true).open(self.path(CURRENT));
        file.unwrap().write_all(bytes).unwrap();
    }

    fn out(&self, text: &str) {
        self.append(&line(Source::Out, 1_000, text));
    }

    fn start(&self, incarnation: u64) {
        let text = format!("started: incarnation {incarnation}, pid 7");
        self.append(&line(Source::Shim, 1_000, &text));
    }

    fn rotate(&self, number: u64) {
        fs::rename(self.path(CURRENT), self.path(&archived(number))).unwrap();
    }

    async fn read(&self, query: LogQuery) -> Result<Reader, LogError> {
        self.logs.read(&WORKER.parse().unwrap(), query).await
    }

    /// All that is read, without what Quaestor says.
    async fn all(&self, query: LogQuery) -> Vec<String> {
        texts(&mut self.read(query).await.unwrap()).await
    }
}

fn line(source: Source, at: u64, text: &str) -> Vec<u8> {
    let mut line = Vec::new();
    write_head(&Time::new(at), source, false, &mut line);
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    line
}

/// What is read until the end, or until there is nothing more for now.
async fn texts(reader: &mut Reader) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(LogBatch::Lines(lines)) = reader.next().await.unwrap() {
        let printed = lines
            .into_iter()
            .filter(|line| line.source != LogSource::Quaestor);
        texts.extend(printed.map(|line| String::from_utf8(line.text).unwrap()));
    }
    texts
}

fn tail(count: u64) -> LogQuery {
    LogQuery {
        tail: Some(count),
        ..LogQuery::default()
    }
}

const FOLLOW: LogQuery = LogQuery {
    max_age: None,
    tail: None,
    follow: true,
    previous: false,
    after: None,
};

const PREVIOUS: LogQuery = LogQuery {
    follow: false,
    previous: true,
    ..FOLLOW
};

/// The next line that a follower gets.
async fn next(reader: &mut Reader) -> String {
    match reader.next().await.unwrap() {
        Some(LogBatch::Lines(lines)) => {
            assert_eq!(lines.len(), 1, "{lines:?}");
            String::from_utf8(lines[0].text.clone()).unwrap()
        }
        other => panic!("no line: {other:?}"),
    }
}

#[tokio::test]
async fn files_are_read_from_the_oldest_to_the_current_one() {
    let fixture = Fixture::new();
    for number in [9, 10, 11] {
        fixture.out(&number.to_string());
        fixture.rotate(number);
    }
    fixture.out("12");
    fs::write(fixture.path("notes.txt"), "no log").unwrap();
    let query = LogQuery::default();
    assert_eq!(fixture.all(query).await, ["9", "10", "11", "12"]);
    assert_eq!(fixture.all(tail(2)).await, ["11", "12"]);
    assert_eq!(fixture.all(tail(0)).await, [""; 0]);
    assert_eq!(fixture.all(tail(9)).await, ["9", "10", "11", "12"]);
}

#[tokio::test]
async fn a_torn_line_is_read_once_it_has_ended_and_as_it_ended() {
    let fixture = Fixture::new();
    fixture.out("whole");
    let torn = line(Source::Out, 1_000, "torn");
    fixture.append(&torn[..torn.len() - 3]);
    assert_eq!(fixture.all(LogQuery::default()).await, ["whole"]);
    let mut reader = fixture.read(FOLLOW).await.unwrap();
    assert_eq!(texts(&mut reader).await, ["whole"]);
    // A shim on a full disk takes a torn line back.
    let length = fs::metadata(fixture.path(CURRENT)).unwrap().len();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(fixture.path(CURRENT));
    file.unwrap()
        .set_len(length - torn.len() as u64 + 3)
        .unwrap();
    fixture.out("another");
    assert_eq!(next(&mut reader).await, "another");
}

#[tokio::test]
async fn a_follower_loses_and_doubles_no_line_while_files_are_renamed() {
    let fixture = Fixture::new();
    fixture.out("0");
    let mut reader = fixture.read(FOLLOW).await.unwrap();
    assert_eq!(texts(&mut reader).await, ["0"]);
    // Renamed behind its back, once with lines it has not seen and once without; then three at once.
    fixture.out("1");
    fixture.rotate(1);
    assert_eq!(next(&mut reader).await, "1");
    fixture.out("2");
    assert_eq!(next(&mut reader).await, "2");
    for number in 2..5 {
        fixture.rotate(number);
        fixture.out(&(number + 1).to_string());
    }
    for expected in ["3", "4", "5"] {
        assert_eq!(next(&mut reader).await, expected);
    }
}

#[tokio::test]
async fn a_follower_says_when_files_were_removed_before_it_could_read_them() {
    let fixture = Fixture::new();
    fixture.out("0");
    let mut reader = fixture.read(FOLLOW).await.unwrap();
    assert_eq!(texts(&mut reader).await, ["0"]);
    fixture.out("1");
    for number in 1..5 {
        fixture.rotate(number);
        fixture.out(&(number + 1).to_string());
    }
    for number in 1..4 {
        fs::remove_file(fixture.path(&archived(number))).unwrap();
    }
    // The file that it held is read to its end although it is gone.
    assert_eq!(next(&mut reader).await, "1");
    assert!(next(&mut reader).await.starts_with("lines are missing"));
    for expected in ["4", "5"] {
        assert_eq!(next(&mut reader).await, expected);
    }
}

/// What a reader gets that goes on where `reader` was, in another agent.
async fn rest_after(fixture: &Fixture, reader: &Reader) -> Vec<String> {
    let query = LogQuery {
        after: Some(reader.position()),
        ..LogQuery::default()
    };
    let mut rest = Vec::new();
    let mut reader = fixture.read(query).await.unwrap();
    while let Some(LogBatch::Lines(lines)) = reader.next().await.unwrap() {
        rest.extend(
            lines
                .into_iter()
                .map(|line| String::from_utf8(line.text).unwrap()),
        );
    }
    rest
}

#[tokio::test]
async fn another_reader_goes_on_behind_any_line_whatever_was_renamed_meanwhile() {
    let fixture = Fixture::new();
    let say = |number: u64| fixture.append(&line(Source::Out, 1_000 + number, &number.to_string()));
    say(0);
    let mut reader = fixture.read(FOLLOW).await.unwrap();
    assert_eq!(
        rest_after(&fixture, &reader).await,
        ["0"],
        "nothing was read"
    );
    assert_eq!(texts(&mut reader).await, ["0"]);
    assert_eq!(rest_after(&fixture, &reader).await, [""; 0]);
    say(1);
    assert_eq!(rest_after(&fixture, &reader).await, ["1"]);
    fixture.rotate(1);
    assert_eq!(
        rest_after(&fixture, &reader).await,
        ["1"],
        "by its new name"
    );
    for number in 2..5 {
        say(number);
        fixture.rotate(number);
    }
    assert_eq!(rest_after(&fixture, &reader).await, ["1", "2", "3", "4"]);
    // At the end of a full file, and in the middle of one.
    for expected in ["1", "2"] {
        assert_eq!(next(&mut reader).await, expected);
    }
    assert_eq!(rest_after(&fixture, &reader).await, ["3", "4"]);
}

#[tokio::test]
async fn another_reader_says_when_what_it_is_to_go_on_with_is_gone() {
    let fixture = Fixture::new();
    let say = |number: u64| fixture.append(&line(Source::Out, 1_000 + number, &number.to_string()));
    say(0);
    let mut reader = fixture.read(FOLLOW).await.unwrap();
    assert_eq!(texts(&mut reader).await, ["0"]);
    say(1);
    for number in 1..4 {
        fixture.rotate(number);
        say(number + 1);
    }
    fs::remove_file(fixture.path(&archived(1))).unwrap();
    let rest = rest_after(&fixture, &reader).await;
    assert!(rest[0].starts_with("lines are missing"), "{rest:?}");
    assert_eq!(rest[1..], ["2", "3", "4"]);
    // A file of that number, where as long a line ends at the same place.
    fs::copy(fixture.path(&archived(2)), fixture.path(&archived(1))).unwrap();
    let rest = rest_after(&fixture, &reader).await;
    assert!(rest[0].starts_with("lines are missing"), "{rest:?}");
    // Only the current file is ever kept, so that its number does not grow.
    for number in 1..4 {
        fs::remove_file(fixture.path(&archived(number))).unwrap();
    }
    let mut reader = fixture.read(FOLLOW).await.unwrap();
    assert_eq!(texts(&mut reader).await, ["4"]);
    fs::remove_file(fixture.path(CURRENT)).unwrap();
    say(5);
    let rest = rest_after(&fixture, &reader).await;
    assert!(rest[0].starts_with("lines are missing"), "{rest:?}");
    assert_eq!(rest[1..], ["5"]);
}

#[tokio::test]
async fn the_previous_process_is_the_one_before_the_last_start() {
    let fixture = Fixture::new();
    fixture.start(1);
    fixture.out("first");
    let unknown = fixture.read(PREVIOUS).await.err().unwrap();
    assert!(
        matches!(unknown, LogError::NoPrevious(_)),
        "nothing ran before"
    );
    fixture.start(2);
    fixture.out("second a");
    fixture.rotate(1);
    fixture.out("second b");
    fixture.start(3);
    fixture.out("third");
    assert_eq!(fixture.all(PREVIOUS).await, ["second a", "second b"]);
    let last = LogQuery {
        tail: Some(1),
        ..PREVIOUS
    };
    assert_eq!(fixture.all(last).await, ["second b"]);
    // Its start is not kept any more, but some of its lines are.
    fs::remove_file(fixture.path(&archived(1))).unwrap();
    assert_eq!(fixture.all(PREVIOUS).await, ["second b"]);
}

#[tokio::test]
async fn only_lines_that_are_new_enough_are_read() {
    let fixture = Fixture::new();
    let now = u64::try_from(fixture.logs.host.clock.timestamp().as_millis()).unwrap();
    for (age, text) in [(7_200_000, "old"), (60_000, "a"), (0, "b")] {
        fixture.append(&line(Source::Err, now - age, text));
    }
    let query = LogQuery {
        max_age: Some(Duration::from_secs(3_600)),
        ..LogQuery::default()
    };
    assert_eq!(fixture.all(query).await, ["a", "b"]);
    let last = LogQuery {
        tail: Some(5),
        ..query
    };
    assert_eq!(fixture.all(last).await, ["a", "b"]);
}

#[tokio::test]
async fn an_instance_without_logs_is_unknown() {
    let logs = Logs::new(Path::new("/nonexistent"), Host::system());
    let error = logs.read(&WORKER.parse().unwrap(), FOLLOW).await;
    assert!(matches!(error, Err(LogError::Unknown(_))));
}

#[tokio::test]
async fn what_is_no_line_is_passed_over_however_long() {
    let fixture = Fixture::new();
    fixture.append(&vec![b'x'; 300_000]);
    fixture.append(b"\n");
    fixture.out("a line");
    assert_eq!(fixture.all(LogQuery::default()).await, ["a line"]);
}
