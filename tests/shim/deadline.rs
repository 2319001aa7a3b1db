//! The stop that no agent has to ask for.

use std::{fs, time::Duration};

use quaestor::process::shim::wire::{
    errand::{Errand, Kind},
    message::{Command, Message, Phase, Refusal},
    record::{Cause, End},
};

use crate::{harness::Shim, support::eventually};

const SOON: Command = Command::Deadline(Some(Duration::from_millis(200)));

#[test]
fn a_deadline_that_passes_stops_the_process_with_nobody_there() {
    let shim = Shim::start();
    let (mut client, _) =
        shim.run("trap 'echo asked; exit 3' TERM; echo set; while :; do sleep 0.01; done");
    shim.await_line("Out set");
    assert_eq!(client.ask(SOON), Message::Ok);
    drop(client);
    eventually("the process has ended", || shim.exit_record().is_some());
    let exit = shim.exit_record().unwrap();
    assert_eq!((exit.end, exit.cause), (End::Code(3), Cause::Deadline));
    shim.await_line("Out asked");
}

#[test]
fn a_process_that_does_not_stop_at_the_deadline_is_killed_after_its_grace() {
    let shim = Shim::start();
    let mut program = shim.script("trap '' TERM; echo set; while :; do sleep 0.01; done");
    program.stop.grace = Duration::from_millis(100);
    shim.program(&program);
    let mut client = shim.connect();
    client.start(1);
    shim.await_line("Out set");
    client.ask(SOON);
    assert_eq!(client.event(), Message::DeadlinePassed);
    let exit = client.exited();
    assert_eq!((exit.end, exit.cause), (End::Signal(9), Cause::Deadline));
}

#[test]
fn a_deadline_that_is_renewed_or_lifted_does_not_pass() {
    let shim = Shim::start();
    let (mut client, _) = shim.run("exec sleep 1000");
    client.ask(SOON);
    client.ask(Command::Deadline(Some(Duration::from_secs(1000))));
    let left = client.status().deadline.unwrap();
    assert!(left > Duration::from_secs(900), "{left:?}");
    client.ask(SOON);
    client.ask(Command::Deadline(None));
    assert_eq!(client.status().deadline, None);
    // Longer than both would have taken.
    client.ask(Command::Kill);
    assert_eq!(client.exited().cause, Cause::Kill);
}

#[test]
fn nothing_starts_after_a_deadline_until_another_is_set() {
    let shim = Shim::start();
    shim.program(&shim.script("exit 0"));
    let mut client = shim.connect();
    client.ask(Command::Deadline(Some(Duration::ZERO)));
    assert_eq!(client.event(), Message::DeadlinePassed);
    assert_eq!(client.refused("start 1").0, Refusal::Deadline);
    assert_eq!(client.status().phase, Phase::Idle);
    client.ask(Command::Deadline(None));
    client.start(1);
}

#[test]
fn a_check_that_runs_when_the_grace_is_over_ends_as_well_and_that_is_told() {
    let shim = Shim::start();
    let mut program = shim.script("trap '' TERM; echo set; while :; do sleep 0.01; done");
    program.stop.grace = Duration::from_millis(100);
    shim.program(&program);
    let sleep = Errand {
        arguments: ["/bin/sleep", "1000"].map(Into::into).to_vec(),
    };
    fs::write(shim.file(Kind::Check.name()), sleep.seal()).unwrap();
    let mut client = shim.connect();
    client.start(1);
    shim.await_line("Out set");
    let check = || Command::Run(Kind::Check, Duration::from_secs(1000));
    assert_eq!(client.ask(check()), Message::Ok);
    client.ask(SOON);
    assert_eq!(client.event(), Message::DeadlinePassed);
    assert!(matches!(client.event(), Message::Ran(_)));
    assert_eq!(client.exited().cause, Cause::Deadline);

    client.ask(Command::Deadline(None));
    client.start(2);
    assert_eq!(client.ask(check()), Message::Ok);
}
