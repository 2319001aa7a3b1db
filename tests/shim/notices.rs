//! What the process says of itself, and who is listened to.

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use quaestor::process::shim::wire::{
    message::Message,
    notice::{Notice, Stage},
    program::{Notify, PreStart, Program},
};

use crate::harness::{Client, Shim, number_in};

/// Sends, as one datagram each, what comes in single files `say`, and removes them.
const SPEAKER: &str = "\
import os, socket, time
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
while True:
    if os.path.exists('say'):
        words = open('say', 'rb').read()
        os.remove('say')
        voice.send(words)
    time.sleep(0.01)
";

/// A program that says what it is told to.
fn speaker(shim: &Shim, watchdog: Option<Duration>) -> Program {
    fs::write(shim.file("speaker"), SPEAKER).unwrap();
    Program {
        notify: Some(Notify { watchdog }),
        ..shim.script("exec python3 speaker")
    }
}

fn say(shim: &Shim, words: &str) {
    fs::write(shim.file("words"), words).unwrap();
    fs::rename(shim.file("words"), shim.file("say")).unwrap();
}

#[track_caller]
fn noticed(client: &mut Client) -> Notice {
    match client.event() {
        Message::Noticed {
            incarnation: 1,
            notice,
        } => notice,
        other => panic!("no notice: {other:?}"),
    }
}

fn at(stage: Stage, text: &str) -> Notice {
    Notice {
        stage,
        text: text.to_owned(),
        ..Notice::default()
    }
}

#[test]
fn what_a_process_says_is_told_to_clients_and_to_those_who_come_later() {
    let shim = Shim::start();
    shim.program(&speaker(&shim, None));
    let mut client = shim.connect();
    client.start(1);
    assert_eq!(client.status().notice, Some(Notice::default()));
    say(&shim, "STATUS=warming\tup\nOTHER=1");
    assert_eq!(noticed(&mut client), at(Stage::Starting, "warmingup"));
    say(&shim, "READY=1");
    assert_eq!(noticed(&mut client), at(Stage::Ready, "warmingup"));
    say(&shim, "RELOADING=1\nSTATUS=");
    assert_eq!(noticed(&mut client), at(Stage::Reloading, ""));
    drop(client);
    say(&shim, "STOPPING=1\nSTATUS=bye");
    let mut late = shim.connect();
    crate::support::eventually("the last word is known", || {
        late.status().notice == Some(at(Stage::Stopping, "bye"))
    });
}

#[test]
fn only_what_descends_from_the_process_is_listened_to() {
    let shim = Shim::start();
    let child = "setsid python3 speaker & echo $! > child; wait";
    let program = Program {
        arguments: ["/bin/sh", "-c", child].map(Into::into).to_vec(),
        ..speaker(&shim, None)
    };
    shim.program(&program);
    let mut client = shim.connect();
    client.start(1);
    let child = number_in(&shim.file("child"));
    let mut name = None;
    crate::support::eventually("the child has its environment", || {
        let variables = fs::read(format!("/proc/{child}/environ")).unwrap();
        let mut variables = variables.split(|byte| *byte == 0);
        name = variables.find_map(|it| Some(it.strip_prefix(b"NOTIFY_SOCKET=@")?.to_vec()));
        name.is_some()
    });
    let stranger = UnixDatagram::unbound().unwrap();
    let address = SocketAddr::from_abstract_name(name.unwrap()).unwrap();
    stranger.connect_addr(&address).unwrap();
    stranger.send(b"READY=1\nSTATUS=stranger").unwrap();
    // It comes behind that.
    say(&shim, "STATUS=own");
    assert_eq!(noticed(&mut client), at(Stage::Starting, "own"));
    say(&shim, "READY=1");
    assert_eq!(noticed(&mut client), at(Stage::Ready, "own"));
}

#[test]
fn pings_that_stay_away_are_noticed_with_nobody_there_and_so_is_the_next() {
    let shim = Shim::start();
    shim.program(&speaker(&shim, Some(Duration::from_millis(300))));
    let mut client = shim.connect();
    client.start(1);
    say(&shim, "READY=1");
    assert_eq!(noticed(&mut client), at(Stage::Ready, ""));
    drop(client);
    let late = Notice {
        overdue: true,
        ..at(Stage::Ready, "")
    };
    let mut client = shim.connect();
    crate::support::eventually("a ping is missed", || {
        client.status().notice == Some(late.clone())
    });
    let mut client = shim.connect();
    say(&shim, "WATCHDOG=1");
    assert_eq!(noticed(&mut client), at(Stage::Ready, ""));
    assert_eq!(noticed(&mut client), late);
    say(&shim, "STOPPING=1");
    assert_eq!(noticed(&mut client), at(Stage::Stopping, ""));
    say(&shim, "WATCHDOG=trigger");
    assert!(noticed(&mut client).failed);
}

#[test]
fn a_text_that_changes_all_the_time_is_told_now_and_then() {
    let shim = Shim::start();
    let chatter = "\
import os, socket
voice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
voice.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
for number in range(20000):
    voice.send(b'STATUS=%d' % number)
voice.send(b'READY=1')
import time; time.sleep(1000)
";
    fs::write(shim.file("chatter"), chatter).unwrap();
    shim.program(&Program {
        arguments: ["python3", "chatter"].map(Into::into).to_vec(),
        ..speaker(&shim, None)
    });
    let mut client = shim.connect();
    let started = std::time::Instant::now();
    client.start(1);
    let mut told = 0;
    let last = loop {
        told += 1;
        let notice = noticed(&mut client);
        if notice.stage == Stage::Ready {
            break notice;
        }
    };
    assert_eq!(last.text, "19999");
    let most = started.elapsed().as_secs() + 2;
    assert!(told <= most, "{told} times, at most {most}");
}

#[test]
fn where_to_speak_is_told_to_the_program_alone_and_only_if_it_is_to() {
    let shim = Shim::start();
    let show = "echo $0 $WATCHDOG_USEC ${NOTIFY_SOCKET%%/*}";
    let first = PreStart {
        arguments: ["/bin/sh", "-c", show, "first"].map(Into::into).to_vec(),
        timeout: Duration::from_secs(60),
    };
    let mut program = Program {
        arguments: ["/bin/sh", "-c", show, "then"].map(Into::into).to_vec(),
        pre_start: Some(first),
        ..speaker(&shim, Some(Duration::from_secs(2)))
    };
    shim.program(&program);
    let mut client = shim.connect();
    client.start(1);
    shim.await_line("Out first");
    shim.await_line("Out then 2000000 @quaestor");
    while !matches!(client.event(), Message::Exited(_)) {}
    program.notify = None;
    program.pre_start = None;
    shim.program(&program);
    client.start(2);
    assert_eq!(client.status().notice, None);
    shim.await_line("Out then");
}
