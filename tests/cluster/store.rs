//! What becomes of the store's content: compacted while somebody is away, full, deleted by hand, restored from a backup.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    network::{HOSTS, OUTSIDE, Wire},
    support::signal,
    world::{World, node},
};

#[test]
fn who_was_away_during_a_compaction_notices_what_is_gone() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(5);
    let begun = Instant::now();
    // An agent and the balancer.
    for host in [1, OUTSIDE] {
        world.network.sever(host);
    }
    world.apply(&world.workers(2, ""));
    world.until("what the others ran is gone", |world| {
        let states = world
            .members
            .keys(&world.network, "/quaestor/default/state/");
        states
            .keys()
            .all(|key| key.contains("/n1/") || key.ends_with("-0") || key.ends_with("-1"))
    });
    world.members.compact(&world.network);
    for host in [1, OUTSIDE] {
        world.network.join(host);
    }
    world.await_workers(2);
    world.until("two processes are left", |world| {
        world.recorder.living().len() == 2
    });
    let after = world.recorder.living();
    assert!(after.iter().all(|process| before.contains(process)));
    for name in ["n1", "b1"] {
        let log = world.log(name);
        assert!(log.contains("compacted"), "{name}: {log}");
    }
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 2);
}

#[test]
fn while_the_store_is_full_nothing_stops_and_what_ends_is_started_again() {
    let world = World::with(Wire::Proxies, Some(4 << 20), &[]);
    let before = world.settle(3);
    let begun = Instant::now();
    world.members.fill(&world.network);
    let file = world.state("full.yaml");
    std::fs::write(&file, world.workers(1, "")).unwrap();
    let refused = world.quaestor(&["apply", "-f", file.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && errors.contains("the store is full (NOSPACE)"),
        "{errors}"
    );
    // Health is the agent's own business.
    let killed = &before[0];
    signal(killed.pid, "KILL");
    world.until("another one in its place", |world| {
        world.recorder.count(&killed.instance) == 2 && world.recorder.living().len() == 3
    });
    let now = world.recorder.living();
    assert!(before[1..].iter().all(|process| now.contains(process)));
    world.until("its agent says why that is not told", |world| {
        world.log(&killed.node).contains("the store is full")
    });

    world.members.make_room(&world.network);
    world.until("the restart is told", |world| {
        let instances = world.get("instances");
        instances.iter().any(|one| {
            one["name"] == killed.instance.as_str() && one["restarts"] == 1 && one["ready"] == true
        })
    });
    world.check_untouched(&now);
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 2);
}

#[test]
fn what_is_deleted_by_hand_stops_nothing() {
    let world = World::start(Wire::Proxies);
    let before = world.settle(3);
    let begun = Instant::now();
    world.etcdctl(&["del", "--prefix", "/quaestor/default/assign/"]);
    world.until("all is assigned again", |world| {
        let prefix = "/quaestor/default/assign/";
        world.members.keys(&world.network, prefix).len() == 3
    });
    world.check_untouched(&before);
    world.etcdctl(&["del", "--prefix", "/quaestor/default/spec/"]);
    world.until("it is told, and asked", |world| {
        let status = world.ok(&["cluster", "status"]);
        status.contains("cluster confirm vanished")
    });
    world.check_untouched(&before);
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    let after = world.recorder.living();
    assert!(before.iter().all(|process| after.contains(process)));
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}

#[test]
fn after_the_restore_of_a_backup_nothing_is_done_before_an_operator_says_so() {
    let mut world = World::start(Wire::Proxies);
    world.settle(2);
    let backup = world.members.snapshot(&world.network);
    let before = world.settle(4);
    let begun = Instant::now();
    world.members.restore(&world.network, &backup);
    world.until("it is told, and asked", |world| {
        let status = world.quaestor(&["cluster", "status"]);
        String::from_utf8_lossy(&status.stdout).contains("cluster confirm restore")
    });
    // The backup wants two, and this one; nobody has said yet that it counts.
    world.apply(&world.workers(1, ""));
    world.check_untouched(&before);
    world.ok(&["cluster", "confirm", "restore"]);
    world.await_workers(1);
    world.until("one process is left", |world| {
        world.recorder.living().len() == 1
    });
    let after = world.recorder.living();
    assert!(before.contains(&after[0]));
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 1);
}

/// Nobody is left who saw how far the store had come; it is written down on the hosts.
#[test]
fn a_restore_is_noticed_by_programs_that_were_all_started_anew() {
    restore_while_all_are_away(World::start(Wire::Proxies), None);
}

/// The leader has written it down as well, and is alone when it comes back.
#[test]
fn a_restore_is_noticed_by_a_controller_that_comes_back_before_all_agents() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--state-dir", directory.path().to_str().unwrap()];
    let mark = directory.path().join("controller.mark");
    restore_while_all_are_away(World::with(Wire::Proxies, None, &flags), Some(&mark));
}

/// The controller that has a mark comes back first.
fn restore_while_all_are_away(mut world: World, controller: Option<&Path>) {
    world.settle(2);
    let backup = world.members.snapshot(&world.network);
    let revision = world.members.revision(&world.network);
    // The backup wants other processes, and fewer. Each agent hears of so much that nothing that is written after the
    // restore comes as far.
    for (runs, directory) in [(2, "/var/tmp"), (3, "/tmp")] {
        world.apply(&world.workers(4, &format!("  workingDirectory: {directory}\n")));
        world.until("all run anew", |world| {
            // Two of them are there since the first change.
            let of = |slot: usize| runs - usize::from(slot > 1);
            let is_new = |slot| world.recorder.count(&format!("worker-{slot}")) == of(slot);
            world.ready("worker") == 4 && (0..4).all(is_new)
        });
    }
    world.await_workers(4);
    world.until("four processes are left", |world| {
        world.recorder.living().len() == 4
    });
    let before = world.recorder.living();
    let agents = HOSTS.map(node);
    let marks = agents.iter().map(|node| world.state(node).join(MARK));
    let marks: Vec<PathBuf> = marks.chain(controller.map(Path::to_owned)).collect();
    world.until("it is written down how far the store has come", |_| {
        marks.iter().all(|mark| marked(mark) > revision + 20)
    });

    let others: Vec<&str> = (agents.iter().map(String::as_str)).chain(["b1"]).collect();
    for name in others.iter().chain(&["c1"]) {
        world.kill(name);
    }
    world.members.restore(&world.network, &backup);
    let is_told = |world: &World| {
        let status = world.quaestor(&["cluster", "status"]);
        String::from_utf8_lossy(&status.stdout).contains("cluster confirm restore")
    };
    world.run("c1");
    if controller.is_some() {
        world.until("the controller has noticed", is_told);
    }
    for name in others {
        world.run(name);
    }
    world.until("it is told, and asked", is_told);
    world.until("every agent has noticed", |world| {
        (agents.iter()).all(|name| world.log(name).contains("was restored from a backup"))
    });
    // The assignments of the backup are those of another template.
    world.until("their assignments wait", |world| {
        let waits = |name: &String| world.log(name).contains("its assignment waits");
        agents.iter().any(waits)
    });
    world.apply(&world.workers(3, "  workingDirectory: /tmp\n"));
    world.check_untouched(&before);
    world.ok(&["cluster", "confirm", "restore"]);
    world.await_workers(3);
    world.until("three processes are left", |world| {
        world.recorder.living().len() == 3
    });
    world.recorder.check(&[]);
    // A restart does not ask again.
    world.kill("n1");
    world.run("n1");
    world.until("it reads that the restore is confirmed", |world| {
        world.log("n1").matches("the restore is confirmed").count() == 2
            || marked(&world.state("n1").join(MARK)) <= world.members.revision(&world.network)
    });
    world.await_workers(3);
}

/// Where an agent writes down how far the store has come, in its state directory.
const MARK: &str = "store.mark";

/// The revision that is written down there; 0: none.
fn marked(mark: &Path) -> i64 {
    let text = std::fs::read_to_string(mark);
    let text = text.unwrap_or_default();
    let mut fields = text.split(' ').skip(3);
    fields
        .next()
        .map_or(0, |revision| revision.parse().unwrap())
}

#[test]
fn the_leader_compacts_the_store_and_nobody_minds() {
    let world = World::with(Wire::Proxies, None, &["--compact-every", "2s"]);
    let before = world.settle(3);
    let begun = Instant::now();
    let first = ["get", "--rev", "2", "/quaestor/default/meta/identity"];
    world.until("the first revisions are gone", |world| {
        let asked = world.members.try_ctl(&world.network, &first);
        String::from_utf8_lossy(&asked.stderr).contains("has been compacted")
    });
    world.check_untouched(&before);
    world.apply(&world.workers(4, ""));
    world.await_workers(4);
    world.recorder.check(&[]);
    world.recorder.check_answers(begun, 3);
}
