//! Starts, ends, signals, restarts; what is refused.

use std::{fs, process::Command as Start};

use quaestor::process::shim::wire::{
    exit_codes,
    message::{Command, Message, Phase, Refusal, Signal},
    names,
    record::{Cause, End},
};

use crate::{
    harness::{Shim, lives},
    support::eventually,
};

#[test]
fn an_exit_code_is_told_and_recorded() {
    let shim = Shim::start();
    let (mut client, running) = shim.run("exit 7");
    let exit = client.exited();
    assert_eq!((exit.incarnation, exit.pid), (1, running.pid));
    assert_eq!((exit.end, exit.cause), (End::Code(7), Cause::Own));
    assert_eq!(shim.exit_record(), Some(exit.clone()));
    assert_eq!(shim.running_record(), None);
    let status = client.status();
    assert_eq!((status.phase, status.last), (Phase::Idle, Some(exit)));
}

#[test]
fn a_running_process_is_recorded_with_its_whole_identity() {
    let shim = Shim::start();
    let (mut client, running) = shim.run("exec sleep 1000");
    assert_eq!(shim.running_record(), Some(running.clone()));
    assert_eq!(client.status().running, Some(running.clone()));
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.pid)).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    assert_eq!(
        fields.split(' ').nth(19),
        Some(running.start_time.to_string().as_str())
    );
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(running.boot_id, boot_id.trim());
    assert_eq!(running.instance, "3c1e");
}

#[test]
fn a_signal_reaches_the_process_and_the_signal_that_ended_it_is_told() {
    let shim = Shim::start();
    let (mut client, _) =
        shim.run("trap 'echo got it' HUP; echo set; while :; do sleep 0.01; done");
    shim.await_line("Out set");
    assert_eq!(client.ask(Command::Signal(Signal::Hup)), Message::Ok);
    shim.await_line("Out got it");
    assert_eq!(client.ask(Command::Signal(Signal::Term)), Message::Ok);
    let exit = client.exited();
    assert_eq!((exit.end, exit.cause), (End::Signal(15), Cause::Own));
    assert_eq!(
        client.refused(Command::Signal(Signal::Term)).0,
        Refusal::Idle
    );
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_at_the_agents_word() {
    let shim = Shim::start();
    let (mut client, _) = shim.run("trap '' TERM; echo set; while :; do sleep 0.01; done");
    shim.await_line("Out set");
    client.ask(Command::Signal(Signal::Term));
    assert_eq!(client.status().phase, Phase::Running);
    assert_eq!(client.ask(Command::Kill), Message::Ok);
    let exit = client.exited();
    assert_eq!((exit.end, exit.cause), (End::Signal(9), Cause::Kill));
    assert_eq!(
        client.ask(Command::Kill),
        Message::Ok,
        "there is nothing left to kill"
    );
}

#[test]
fn a_process_is_started_again_with_what_the_program_says_by_then() {
    let shim = Shim::start();
    let (mut client, first) = shim.run("exit 1");
    client.exited();
    shim.program(&shim.script("exit 2"));
    let second = client.start(2);
    assert!(second.start_time >= first.start_time);
    assert_eq!(second.incarnation, 2);
    assert_eq!(client.exited().end, End::Code(2));
}

#[test]
fn a_start_that_is_said_twice_happens_once() {
    let shim = Shim::start();
    let (mut client, running) = shim.run("exec sleep 1000");
    let (refusal, text) = client.refused("start 2");
    assert_eq!(refusal, Refusal::Busy);
    assert!(text.contains(&running.pid.to_string()), "{text}");
    client.ask(Command::Kill);
    client.exited();
    assert_eq!(client.refused("start 1").0, Refusal::Stale);
    client.start(2);
}

#[test]
fn the_numbers_of_starts_outlive_the_shim() {
    let shim = Shim::start();
    let (mut client, _) = shim.run("exec sleep 1000");
    client.ask(Command::Kill);
    client.exited();
    client.start(5);
    let shim = Shim::in_directory(shim.killed());
    let mut client = shim.connect();
    assert_eq!(client.status().incarnation, 5);
    assert_eq!(client.refused("start 5").0, Refusal::Stale);
    assert_eq!(
        shim.running_record().unwrap().incarnation,
        5,
        "the agent finds what was lost"
    );
}

#[test]
fn a_failed_start_says_what_and_why_and_uses_up_no_number() {
    let shim = Shim::start();
    let mut client = shim.connect();
    let works = shim.script("exit 0");
    let mut fails = |program: &_, expected: &str| {
        shim.program(program);
        let (refusal, text) = client.refused("start 1");
        assert_eq!(refusal, Refusal::StartFailed);
        assert!(
            text.contains(expected),
            "{text} does not contain {expected}"
        );
        assert_eq!(
            client.event(),
            Message::StartFailed {
                incarnation: 1,
                text
            }
        );
        assert_eq!(client.status().phase, Phase::Idle);
    };

    let mut missing = works.clone();
    missing.arguments = vec!["/no/such/program".into()];
    fails(&missing, "`/no/such/program`: No such file");
    let mut forbidden = works.clone();
    forbidden.arguments = vec!["/etc/passwd".into()];
    fails(&forbidden, "`/etc/passwd`: Permission denied");
    let mut nowhere = works.clone();
    nowhere.directory = "/no/such/place".into();
    fails(&nowhere, "`/no/such/place`: No such file");
    let mut nothing = works.clone();
    nothing.arguments = Vec::new();
    fails(&nothing, "no name");

    shim.program(&works);
    client.start(1);
}

#[test]
fn a_broken_program_record_starts_nothing() {
    let shim = Shim::start();
    let mut client = shim.connect();
    let whole = shim.script("exit 0").seal();
    for content in ["", &whole[..whole.len() / 2]] {
        fs::write(shim.file(names::PROGRAM), content).unwrap();
        let (refusal, text) = client.refused("start 1");
        assert_eq!(refusal, Refusal::StartFailed);
        assert!(text.contains("`program`"), "{text}");
    }
    fs::remove_file(shim.file(names::PROGRAM)).unwrap();
    assert!(client.refused("start 1").1.contains("No such file"));
}

#[test]
fn nothing_starts_where_no_record_can_be_written() {
    let shim = Shim::start();
    shim.program(&shim.script("exit 0"));
    // In the way of the file that it would be written to.
    fs::create_dir(shim.file("exit.new")).unwrap();
    let mut client = shim.connect();
    let (refusal, text) = client.refused("start 1");
    assert_eq!(refusal, Refusal::StartFailed);
    assert!(text.contains("`exit`"), "{text}");
    assert!(matches!(client.event(), Message::StartFailed { .. }));
    fs::remove_dir(shim.file("exit.new")).unwrap();
    client.start(1);
}

#[test]
fn a_released_shim_leaves_but_not_while_something_lives() {
    let mut shim = Shim::start();
    let (mut client, _) = shim.run("exec sleep 1000");
    assert_eq!(client.refused(Command::Release).0, Refusal::Busy);
    client.ask(Command::Kill);
    let exit = client.exited();
    assert_eq!(client.ask(Command::Release), Message::Ok);
    assert_eq!(shim.wait().code(), Some(exit_codes::RELEASED.into()));
    assert!(client.is_closed());
    assert!(!shim.file(names::SOCKET).exists());
    assert_eq!(shim.exit_record(), Some(exit), "what the shim knew stays");
}

#[test]
fn sigterm_ends_an_idle_shim_and_no_process() {
    let mut shim = Shim::start();
    let (mut client, running) = shim.run("exec sleep 1000");
    let terminated = Start::new("kill")
        .arg(shim.pid().to_string())
        .status()
        .unwrap();
    assert!(terminated.success());
    eventually("the shim has taken the signal", || {
        let status = fs::read_to_string(format!("/proc/{}/status", shim.pid())).unwrap();
        status.contains("SigPnd:\t0000000000000000")
    });
    assert_eq!(client.status().running, Some(running));
    client.ask(Command::Kill);
    client.exited();
    assert_eq!(shim.wait().code(), Some(exit_codes::RELEASED.into()));
}

#[test]
fn a_second_shim_for_a_directory_is_refused() {
    let shim = Shim::start();
    let program = env!("CARGO_BIN_EXE_quaestor-shim");
    let second = Start::new(program).arg(shim.directory()).output().unwrap();
    assert_eq!(second.status.code(), Some(exit_codes::HELD.into()));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another one serves"));
    shim.connect();
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let program = env!("CARGO_BIN_EXE_quaestor-shim");
    let lost = Start::new(program)
        .arg("/no/such/directory")
        .output()
        .unwrap();
    assert_eq!(lost.status.code(), Some(exit_codes::UNUSABLE.into()));
    assert!(String::from_utf8_lossy(&lost.stderr).contains("/no/such/directory"));
    let lost = Start::new(program).output().unwrap();
    assert_eq!(lost.status.code(), Some(exit_codes::USAGE.into()));
}

#[test]
fn a_shim_serves_a_directory_with_a_very_long_name() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&directory).unwrap();
    let shim = Shim::in_directory(tempfile::tempdir_in(&directory).unwrap());
    let (mut client, _) = shim.run("exit 4");
    assert_eq!(client.exited().end, End::Code(4));
}

#[test]
fn the_process_dies_with_its_shim() {
    let mut shim = Shim::start();
    let (_, running) = shim.run("exec sleep 1000");
    shim.kill();
    eventually("the process is dead", || !lives(running.pid));
}
