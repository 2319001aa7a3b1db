//! What commands do on a terminal: `top`, `get --watch`, and all that wait. A real one, of a real size, beside a real
//! cluster.
//!
//! - [`a_killed_worker_is_seen_live_and_keys_do_what_they_say`]
//! - [`keys_pressed_while_the_window_changes_are_not_lost`]
//! - [`a_store_that_is_away_is_told_and_waited_out`]
//! - [`the_terminal_is_as_before_however_top_ends`]
//! - [`a_watched_table_is_drawn_in_its_place`]
//! - [`whoever_waits_is_told_how_far_it_is`]
#![cfg(unix)]
#![allow(unreachable_pub, reason = "a test")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests run programs as they like"
)]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::time::Duration;

use quaestor::proto::v1::{PickRequest, balancer_client::BalancerClient};
use support::{
    cluster::{Cluster, Kind, demo_workers},
    eventually, signal,
};
use terminal::Terminal;
use tokio::runtime::Runtime;
use tonic::transport::Endpoint;

const USUAL: (u16, u16) = (80, 24);

/// Runs a command on a cluster in a terminal.
fn on(cluster: &Cluster, arguments: &[&str], size: (u16, u16)) -> Terminal {
    let variables = [
        ("QUAESTOR_ETCD", cluster.store()),
        ("QUAESTOR_BALANCER", cluster.balancer()),
    ];
    Terminal::start(arguments, &variables, size)
}

/// Asks a balancer for a worker, over and over, until it is dropped. Commands would not do: what is shown are whole picks a
/// second, and a busy machine starts fewer commands than that.
fn ask_on(balancer: &str) -> Runtime {
    let runtime = Runtime::new().unwrap();
    let balancer = Endpoint::from_shared(format!("http://{balancer}")).unwrap();
    runtime.spawn(async move {
        let mut client = BalancerClient::new(balancer.connect_lazy());
        loop {
            let worker = PickRequest {
                service: "Worker".to_owned(),
                ..PickRequest::default()
            };
            let _ = client.pick(worker).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    runtime
}

/// The words of the line that begins with `name`.
fn row(screen: &str, name: &str) -> Vec<String> {
    let line = screen.lines().find(|line| line.starts_with(name));
    let words = line.unwrap_or_default().split_whitespace();
    words.map(str::to_owned).collect()
}

#[test]
fn a_killed_worker_is_seen_live_and_keys_do_what_they_say() {
    let cluster = Cluster::start(Kind::Etcd, &demo_workers(2, ""));
    cluster.await_ready("worker", 2);
    let mut top = on(&cluster, &["top"], USUAL);
    top.until("both workers are ready", |screen| {
        let row = row(screen, "worker ");
        row.get(1).is_some_and(|ready| ready == "2/2") && row.last().is_some_and(|it| it == "Ready")
    });
    assert!(top.has_own_screen() && top.is_coloured());

    // What clients ask is counted, of a balancer that is found by the store.
    let asking = ask_on(cluster.balancer());
    top.until("picks are seen", |screen| {
        let rate = screen.split("PICKS/S ").nth(1).and_then(|rest| {
            let number = rest.split_whitespace().next()?;
            number.parse::<u32>().ok()
        });
        rate.is_some_and(|rate| rate > 0)
    });
    drop(asking);

    // Its instances; one of them is killed.
    top.press("\r");
    top.await_text("worker-1");
    let killed = cluster.instance("worker-1");
    signal(killed.pid.unwrap(), "KILL");
    top.until("worker-1 came back", |screen| {
        let row = row(screen, "worker-1");
        row.get(2).is_some_and(|phase| phase == "Running") && row.get(6).is_some_and(|it| it == "1")
    });

    // Why, and what it prints: that of the second one.
    top.press("jw");
    top.await_text("why instance/worker-1");
    top.await_text("instance/worker-1  ");
    top.press("\u{1b}");
    top.until("the pane is closed", |screen| {
        !screen.contains("why instance")
    });
    top.press("l");
    top.await_text("[quaestor] started: incarnation 2");
    top.press("\u{1b}");
    top.until("the log is closed", |screen| {
        !screen.contains("incarnation 2")
    });

    // Larger windows show more.
    top.resize(130, 40);
    top.await_text("ENDPOINT");
    top.resize(80, 24);
    top.until("it is small again", |screen| !screen.contains("ENDPOINT"));

    // A restart is agreed to, done and seen.
    top.press("1");
    top.await_text("Enter instances");
    top.press("r");
    top.await_text("give worker new processes, one after the other? (y/n)");
    top.press("y");
    top.await_text("worker restarts (generation 2)");
    eventually("both have new processes", || {
        let instances = cluster.await_ready("worker", 2);
        instances.iter().all(|it| it.pid != killed.pid && it.ready)
            && cluster.services()[0]["updated"] == 2
    });

    // So is a drain, and taken back.
    top.press("3");
    top.await_text("local");
    top.press("dy");
    top.await_text("node local drains");
    top.until("the node drains", |screen| {
        row(screen, "local")
            .get(1)
            .is_some_and(|it| it.starts_with("Ready,Drain"))
    });
    top.press("uy");
    top.until("the node is open again", |screen| {
        row(screen, "local").get(1).is_some_and(|it| it == "Ready")
    });

    top.press("4/Restart");
    top.await_text("/Restart");
    top.press("\r?");
    top.await_text("any key goes back");
    top.press(" q");
    assert!(top.end().success());
    eventually("the terminal is as before", || {
        !top.has_own_screen() && top.is_as_before()
    });
}

#[test]
fn keys_pressed_while_the_window_changes_are_not_lost() {
    let cluster = Cluster::start(Kind::Embedded, "");
    let mut top = on(&cluster, &["top"], USUAL);
    top.await_text("Enter instances");
    for round in 0..50 {
        let (key, page) = [("3", "d drain"), ("1", "r restart")][round % 2];
        top.resize(80 + (round % 2) as u16, 24);
        top.press(key);
        top.await_text(page);
    }
}

#[test]
fn a_store_that_is_away_is_told_and_waited_out() {
    let mut cluster = Cluster::start(Kind::Etcd, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    let variables = [("QUAESTOR_ETCD", cluster.store()), ("NO_COLOR", "1")];
    let mut top = Terminal::start(&["top", "instances"], &variables, USUAL);
    top.await_text("worker-0");
    assert!(!top.is_coloured(), "NO_COLOR");
    cluster.etcd.as_mut().unwrap().kill();
    top.await_text("store away");
    top.await_text("services run on");
    assert!(top.text().contains("worker-0"), "what was known is shown");
    cluster.etcd.as_mut().unwrap().restart();
    top.await_text("live");
    // What happens from now on is seen again.
    let instance = cluster.await_ready("worker", 1).remove(0);
    signal(instance.pid.unwrap(), "KILL");
    top.until("the restart is seen", |screen| {
        row(screen, "worker-0").get(6).is_some_and(|it| it == "1")
    });
    top.press("q");
    assert!(top.end().success());
}

#[test]
fn the_terminal_is_as_before_however_top_ends() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    for end in ["\u{3}", "TERM", "HUP", "INT"] {
        let mut top = on(&cluster, &["top"], USUAL);
        top.await_text("worker ");
        match end {
            "\u{3}" => top.press(end),
            name => signal(top.pid(), name),
        }
        assert!(top.end().success(), "{end:?}");
        eventually("the terminal is as before", || {
            !top.has_own_screen() && top.is_as_before()
        });
    }
    // Who cannot begin says so on the terminal as it is, and where there is none, too.
    let mut top = Terminal::start(&["top", "--etcd", "127.0.0.1:1"], &[], USUAL);
    assert_eq!(top.end().code(), Some(4));
    assert!(
        !top.has_own_screen() && top.is_as_before(),
        "it never was ours"
    );
    let output = cluster.run(&["top"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`top` needs a terminal"), "{said}");
}

#[test]
fn a_watched_table_is_drawn_in_its_place() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(3, ""));
    cluster.await_ready("worker", 3);
    // Narrower than the table, and with fewer lines than it has.
    for size in [(100, 24), (40, 24), (60, 4)] {
        let mut watch = on(&cluster, &["get", "instances", "--watch"], size);
        watch.await_text("worker-0");
        let before = cluster.instance("worker-0");
        signal(before.pid.unwrap(), "KILL");
        eventually("it came back", || {
            let now = cluster.instance("worker-0");
            now.ready && now.pid != before.pid
        });
        let pid = cluster.instance("worker-0").pid.unwrap().to_string();
        if size.0 >= 60 {
            watch.await_text(&pid);
        }
        // It may just be drawn.
        watch.until(&format!("all is there once, at {size:?}"), |screen| {
            let count = |name| screen.lines().filter(|line| line.starts_with(name)).count();
            count("NAME") == 1 && count("worker-0") == 1
        });
        watch.press("\u{3}");
        assert!(watch.end().success());
    }
}

#[test]
fn whoever_waits_is_told_how_far_it_is() {
    // It is ready only after a while.
    let slow = demo_workers(1, "").replace("--listen,", "--start-after, 3s, --listen,");
    let cluster = Cluster::start(Kind::Embedded, &slow);
    let node = ["drain", "local", "--timeout", "2s"];
    for (arguments, waits, ends, code) in [
        (
            &["wait", "--for=condition=Ready", "worker"][..],
            "worker",
            "worker: as wanted",
            0,
        ),
        (
            &["restart", "worker", "--wait"],
            "worker",
            "worker: ready",
            0,
        ),
        (&["rollout", "status", "worker"], "", "worker: ready", 0),
        (
            &["scale", "worker", "--replicas", "1", "--wait"],
            "",
            "worker: ready",
            0,
        ),
        (
            &node,
            "worker-0",
            "node `local` is not drained within 2s",
            3,
        ),
    ] {
        let mut terminal = on(&cluster, arguments, USUAL);
        if !waits.is_empty() {
            terminal.await_text(&format!("waiting for {waits}: "));
        }
        terminal.await_text(ends);
        assert_eq!(terminal.end().code(), Some(code), "{arguments:?}");
        eventually("the last line has gone", || {
            !terminal.text().contains("waiting for")
        });
        // Without a terminal there are lines only.
        let output = cluster.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.contains(ends) && !said.contains('\u{1b}'),
            "{arguments:?}: {said:?}"
        );
        assert!(!said.contains("waiting for"), "{arguments:?}: {said:?}");
    }
}
