//! Agents that come, go, and speak other versions.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use quaestor::process::shim::{
    socket::Address,
    wire::{
        LEVEL,
        message::{Command, Message, Phase, Refusal},
        record::End,
    },
};

use crate::{harness::Shim, support::eventually};

#[test]
fn an_end_that_nobody_listened_to_is_kept() {
    let shim = Shim::start();
    let (client, running) = shim.run("while ! [ -e go ]; do sleep 0.01; done; echo bye; exit 9");
    drop(client);
    fs::write(shim.file("go"), "").unwrap();
    eventually("the end is recorded", || shim.exit_record().is_some());
    let exit = shim.exit_record().unwrap();
    assert_eq!((exit.pid, exit.end), (running.pid, End::Code(9)));
    let mut client = shim.connect();
    assert_eq!(client.status().last, Some(exit));
    shim.await_line("Out bye");
}

#[test]
fn an_agent_that_returns_finds_the_same_process() {
    let shim = Shim::start();
    let (client, running) = shim.run("exec sleep 1000");
    drop(client);
    let mut client = shim.connect();
    assert_eq!(client.status().running, Some(running));
    client.ask(Command::Kill);
    assert_eq!(client.exited().end, End::Signal(9));
}

#[test]
fn every_client_is_told_every_event() {
    let shim = Shim::start();
    let mut other = shim.connect();
    let (mut client, running) = shim.run("exit 0");
    assert_eq!(other.event(), Message::Started(running));
    assert_eq!(client.exited(), other.exited());
}

#[test]
fn a_client_says_hello_first_and_is_told_the_version_to_speak() {
    let shim = Shim::start();
    let mut client = shim.connect_silently();
    assert_eq!(client.refused(Command::Status).0, Refusal::NoHello);
    let answer = client.ask("hello version=999 name=younger");
    assert_eq!(
        answer,
        Message::Hello {
            version: 1,
            pid: shim.pid(),
            level: LEVEL,
        }
    );
    assert_eq!(client.status().phase, Phase::Idle);
}

#[test]
fn a_command_that_is_not_known_is_refused_and_the_connection_stays() {
    let shim = Shim::start();
    let mut client = shim.connect();
    let (refusal, text) = client.refused("dance with=me");
    assert_eq!(
        (refusal, text.as_str()),
        (Refusal::Unknown, "`dance` is no command")
    );
    assert_eq!(client.refused("start soon").0, Refusal::Malformed);
    assert_eq!(client.refused("").0, Refusal::Unknown);
    assert_eq!(client.status().phase, Phase::Idle);
}

#[test]
fn several_commands_at_once_are_answered_in_order() {
    let shim = Shim::start();
    shim.program(&shim.script("exec sleep 1000"));
    let mut client = shim.connect();
    assert_eq!(
        client.refused("start x\nstart 1\nstart 2").0,
        Refusal::Malformed
    );
    // What is left are the answers to the other two, and an event before the first.
    assert!(matches!(client.event(), Message::Started(_)));
    assert_eq!(client.event(), Message::Ok);
    assert!(matches!(
        client.event(),
        Message::Error {
            refusal: Refusal::Busy,
            ..
        }
    ));
}

#[test]
fn a_line_without_end_costs_its_sender_the_connection_and_nobody_else_anything() {
    let shim = Shim::start();
    let mut client = shim.connect();
    let address = Address::new(shim.directory()).unwrap();
    let mut stranger = UnixStream::connect(address.path()).unwrap();
    // It fails once the shim has closed.
    eventually("the stranger is disconnected", || {
        stranger.write_all(&[b'x'; 1000]).is_err()
    });
    assert_eq!(client.status().phase, Phase::Idle);
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let shim = Shim::start();
    let address = Address::new(shim.directory()).unwrap();
    let mut deaf = UnixStream::connect(address.path()).unwrap();
    deaf.set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    deaf.write_all(b"hello version=1\n").unwrap();
    eventually("the deaf client is disconnected", || {
        deaf.write_all("status\n".repeat(100).as_bytes()).is_err()
    });
    let before = Instant::now();
    shim.connect().status();
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn more_clients_than_a_shim_keeps_displace_the_oldest() {
    let shim = Shim::start();
    let mut first = shim.connect();
    let mut others: Vec<_> = (0..8).map(|_| shim.connect()).collect();
    assert!(first.is_closed());
    for client in &mut others {
        assert_eq!(client.status().phase, Phase::Idle);
    }
}
