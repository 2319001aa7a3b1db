//! `quaestor logs -f` while agents are killed and instances come and go.

use std::{fs::File, process::Stdio};

use super::{Follower, Roles, eventually, shells, signal};

/// So few lines that a pipe holds those of a minute, while nobody reads it.
const COUNTER: &str = "n=0; while :; do echo line $n; n=$((n+1)); sleep 0.02; done";

/// A follower, and the file of what it says beside the lines.
fn follow(roles: &Roles, arguments: &[&str]) -> (Follower, std::path::PathBuf) {
    let aside = roles.directory.path().join(format!("aside-{arguments:?}"));
    let file = File::create(&aside).unwrap();
    let follower = Follower::of(&roles.etcd.endpoint(), arguments, Stdio::from(file));
    (follower, aside)
}

#[test]
fn no_line_is_lost_or_doubled_while_the_agent_is_killed_and_comes_back() {
    let mut roles = Roles::new();
    roles.start(&["controller"]);
    // The next agent will listen on another port.
    let mut agent = roles.agent("red", "127.0.0.1:0");
    roles.apply(&shells(1, COUNTER, ""));
    let (mut follower, aside) = follow(&roles, &["worker-0"]);
    let mut expected = 0..;
    let mut read = |follower: &mut Follower, count: usize| {
        for number in expected.by_ref().take(count) {
            assert_eq!(follower.next(), format!("line {number}"));
        }
    };
    read(&mut follower, 50);
    for times in 1..=3 {
        signal(agent, "KILL");
        let said = || std::fs::read_to_string(&aside).unwrap();
        eventually("it is said that the agent is away", || {
            said().matches("asked again").count() == times
        });
        agent = roles.agent("red", "127.0.0.1:0");
        read(&mut follower, 200);
        assert_eq!(said().matches("asked again").count(), times, "{}", said());
    }
}

#[test]
fn instances_that_come_are_joined_and_those_that_go_are_left() {
    let mut roles = Roles::new();
    roles.start(&["controller"]);
    roles.agent("red", "127.0.0.1:0");
    // Both say all they have to say at once: a join that is late may miss nothing.
    let script = "trap 'echo bye; exit' TERM; echo I am $QUAESTOR_INSTANCE; \
                  while :; do sleep 0.02; done";
    roles.apply(&shells(1, script, ""));
    let (mut service, _) = follow(&roles, &["worker"]);
    assert_eq!(service.next(), "I am worker-0", "alone, it needs no name");
    roles.apply(&shells(2, script, ""));
    assert_eq!(service.next(), "worker-1 | I am worker-1");

    let (mut one, aside) = follow(&roles, &["worker-1"]);
    assert_eq!(one.next(), "I am worker-1");
    roles.apply(&shells(1, script, ""));
    assert_eq!(service.next(), "worker-1 | bye");
    assert_eq!(one.next(), "bye");
    // Nothing is left to follow.
    assert!(one.child.wait().unwrap().success());
    let said = std::fs::read_to_string(aside).unwrap();
    assert!(said.ends_with("[quaestor] worker-1 is gone\n"), "{said}");

    // It comes back, and says nothing that was said before.
    roles.apply(&shells(2, script, ""));
    assert_eq!(service.next(), "worker-1 | I am worker-1");
    roles.run(&["delete", "worker", "--wait"]);
    let mut byes = [service.next(), service.next()];
    byes.sort();
    assert_eq!(byes, ["worker-0 | bye", "worker-1 | bye"]);
}
