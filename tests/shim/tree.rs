//! Nothing that descends from a process outlives it.

use std::fs;

use quaestor::process::shim::wire::{
    message::{Command, Message, Phase},
    record::End,
};

use crate::{
    harness::{Shim, lives, number_in},
    support::eventually,
};

/// Starts a child in the background, a child in a session of its own, and one whose parent has ended.
const FAMILY: &str = "
    sleep 1000 & echo $! > child
    setsid sh -c 'echo $$ > session; exec sleep 1000' &
    sh -c 'setsid sh -c \"echo \\$\\$ > orphan; exec sleep 1000\" &'
    while ! [ -s child -a -s session -a -s orphan ]; do sleep 0.01; done
    echo settled
";

/// The pids of that family.
fn family(shim: &Shim) -> [u32; 3] {
    shim.await_line("Out settled");
    ["child", "session", "orphan"].map(|name| number_in(&shim.file(name)))
}

#[test]
fn what_a_process_leaves_behind_is_dead_before_its_end_is_told() {
    let shim = Shim::start();
    let (mut client, _) = shim.run(&format!("{FAMILY} exit 5"));
    assert_eq!(client.exited().end, End::Code(5));
    for pid in family(&shim) {
        assert!(!lives(pid), "{pid} lives");
    }
}

#[test]
fn a_kill_reaches_the_whole_tree() {
    let shim = Shim::start();
    let (mut client, _) = shim.run(&format!("{FAMILY} exec sleep 1000"));
    let family = family(&shim);
    assert!(family.into_iter().all(lives));
    assert_eq!(client.ask(Command::Kill), Message::Ok);
    assert_eq!(client.exited().end, End::Signal(9));
    for pid in family {
        assert!(!lives(pid), "{pid} lives");
    }
}

#[test]
fn a_tree_that_forks_on_while_it_is_killed_is_killed_as_well() {
    let shim = Shim::start();
    // Each one ends after it has started the next, in a session of its own.
    let script = "
        printf '#!/bin/sh\\n./chain &\\n' > chain; chmod +x chain
        for i in 1 2 3 4; do setsid ./chain; done; exit 6";
    let (mut client, _) = shim.run(script);
    assert_eq!(client.exited().end, End::Code(6));
    assert_eq!(client.status().phase, Phase::Idle);
    let here = fs::canonicalize(shim.directory()).unwrap();
    let is_here = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|directory| directory == here)
    };
    let processes = fs::read_dir("/proc").unwrap().map(Result::unwrap);
    let left: Vec<_> = processes
        .filter(is_here)
        .map(|process| process.file_name())
        .collect();
    assert_eq!(
        left,
        [shim.pid().to_string().as_str()],
        "the shim alone is left"
    );
}

#[test]
fn orphans_that_end_are_reaped_while_the_process_lives() {
    let shim = Shim::start();
    let script = "sh -c 'sleep 0.05 & echo $! > orphan'; echo settled; exec sleep 1000";
    let (_client, _) = shim.run(script);
    shim.await_line("Out settled");
    let orphan = number_in(&shim.file("orphan"));
    eventually("the orphan is reaped", || {
        !std::path::Path::new(&format!("/proc/{orphan}")).exists()
    });
}
