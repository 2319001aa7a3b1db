//! What roles tell the service manager, on a real socket.

use std::{
    os::unix::net::UnixDatagram,
    process::Command,
    time::{Duration, Instant},
};

use super::{Place, Role, number_in};
use crate::support::{PATIENCE, etcd::Etcd, eventually};

/// The manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(place: &Place) -> Self {
        let path = place.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let long = Duration::from_millis(100);
        socket.set_read_timeout(Some(long)).unwrap();
        Self { socket, path }
    }

    /// Starts a role that is given up after a second without a sign of life.
    fn start(&self, place: &Place, arguments: &[&str]) -> Role {
        let mut command: Command = place.command(arguments);
        command
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", "1000000");
        place.start("agent.log", command)
    }

    /// The next message, if there is one soon.
    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Waits for a message; those that came before it.
    #[track_caller]
    fn hear(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut before = Vec::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.next() {
                Some(message) if wanted(&message) => return before,
                Some(message) => before.push(message),
                None => {}
            }
        }
        panic!("not heard; heard was {before:?}");
    }

    /// No sign of life comes for as long as the manager waits for one.
    #[track_caller]
    fn hear_nothing(&self) {
        // What was said before.
        while self.next().is_some() {}
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let heard = self.next();
            assert!(heard.is_none(), "{heard:?}");
        }
    }

    /// Signs of life go on coming, each well within the second.
    #[track_caller]
    fn hear_life(&self) {
        self.hear(|message| message == "WATCHDOG=1");
        for _ in 0..5 {
            let start = Instant::now();
            self.hear(|message| message == "WATCHDOG=1");
            assert!(start.elapsed() < Duration::from_secs(1), "too late");
        }
    }
}

fn is_status(wanted: &str) -> impl Fn(&str) -> bool {
    move |message| message.strip_prefix("STATUS=") == Some(wanted)
}

#[test]
fn a_controller_says_that_it_leads_and_lives() {
    let etcd = Etcd::start();
    let place = Place::new(etcd.endpoint());
    let manager = Manager::new(&place);
    let controller = manager.start(&place, &["controller"]);
    manager.hear(|message| message == "READY=1");
    manager.hear(is_status("leads; 0 services, 0 nodes"));
    manager.hear_life();
    let another = Manager {
        path: place.path("another"),
        socket: UnixDatagram::bind(place.path("another")).unwrap(),
    };
    let standby = another.start(&place, &["controller"]);
    another.hear(|message| message == "READY=1");
    another.hear_life();
    assert!(controller.terminate());
    manager.hear(|message| message == "STOPPING=1");
    another.hear(|message| message.starts_with("STATUS=leads"));
    drop(standby);
}

#[test]
fn a_balancer_is_ready_when_it_has_seen_everything_once_and_not_before() {
    let mut etcd = Etcd::start();
    let place = Place::new(etcd.endpoint());
    etcd.kill();
    let manager = Manager::new(&place);
    let balancer = manager.start(&place, &["balancer", "--listen", "127.0.0.1:0"]);
    manager.hear(is_status("reads the store; nothing to answer from yet"));
    // It lives, but is not ready.
    for _ in 0..3 {
        let before = manager.hear(|message| message == "WATCHDOG=1");
        assert!(!before.contains(&"READY=1".to_owned()), "{before:?}");
    }
    etcd.restart();
    manager.hear(|message| message == "READY=1");
    manager.hear_life();
    assert!(balancer.terminate());
    manager.hear(|message| message == "STOPPING=1");
}

#[test]
fn an_agent_counts_its_instances_and_workloads_hear_nothing_of_its_manager() {
    let etcd = Etcd::start();
    let place = Place::new(etcd.endpoint());
    let _controller = place.role("controller.log", &["controller"]);
    let manager = Manager::new(&place);
    let state = place.path("state");
    let flags = ["agent", "--node", "n1", "--state-dir"];
    let agent = manager.start(&place, &[&flags[..], &[state.to_str().unwrap()]].concat());
    manager.hear(|message| message == "READY=1");
    let pid = place.path("pid");
    place.apply(&format!(
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: sleeper}}\n\
         spec: {{replicas: 1, command: [sh, -c, 'echo $$ > {}; exec sleep 1000']}}\n",
        pid.display()
    ));
    manager.hear(is_status("1 of 1 instances ready"));
    manager.hear_life();
    eventually("it has said who it is", || number_in(&pid).is_some());
    let pid = number_in(&pid).unwrap();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    for word in ["NOTIFY_SOCKET", "WATCHDOG"] {
        assert!(!environment.contains(word), "{environment}");
    }
    assert!(agent.terminate());
    manager.hear(|message| message == "STOPPING=1");
}

#[test]
fn an_agent_that_hangs_is_silent_and_replacing_it_costs_no_process() {
    let etcd = Etcd::start();
    let place = Place::new(etcd.endpoint());
    let _controller = place.role("controller.log", &["controller"]);
    let manager = Manager::new(&place);
    let state = place.path("state");
    let flags = ["agent", "--node", "n1", "--state-dir"];
    let flags = [&flags[..], &[state.to_str().unwrap()]].concat();
    let agent = manager.start(&place, &flags);
    place.apply(
        "{apiVersion: quaestor/v1, kind: Service, metadata: {name: sleeper}, \
         spec: {command: [sleep, '1000']}}",
    );
    let before = place.instance("sleeper-0", "it is ready", |it| it.ready);
    manager.hear_life();
    crate::support::signal(agent.pid(), "STOP");
    manager.hear_nothing();
    // What the manager does then, by the unit: the agent alone is killed, and started again.
    let unit = include_str!("units/quaestor-agent.service");
    for line in ["WatchdogSec=60s", "Restart=always", "KillMode=process"] {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
    agent.kill();
    let _agent = manager.start(&place, &flags);
    manager.hear(|message| message == "READY=1");
    manager.hear(is_status("1 of 1 instances ready"));
    manager.hear_life();
    let after = place.instance("sleeper-0", "it is ready", |it| it.ready);
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
}

#[test]
fn an_agent_is_ready_although_the_store_is_away() {
    let mut etcd = Etcd::start();
    let place = Place::new(etcd.endpoint());
    etcd.kill();
    let manager = Manager::new(&place);
    let state = place.path("state");
    let flags = ["agent", "--node", "n1", "--state-dir"];
    let _agent = manager.start(&place, &[&flags[..], &[state.to_str().unwrap()]].concat());
    manager.hear(is_status("0 of 0 instances ready; the store is away"));
    manager.hear(|message| message == "READY=1");
    etcd.restart();
    manager.hear(is_status("0 of 0 instances ready"));
}
