//! The cluster, and when it is whole.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    causes,
    clients::{Clients, Tally},
    kind::AGENTS,
    report::Report,
    strike::{Open, renew_binary},
};
use crate::{
    network::{CONTROLLERS, HOSTS, Host, OUTSIDE, Wire},
    recorder::{Process, VARIABLE},
    support::{
        balancer::places,
        cluster::QUAESTOR,
        ports::{free_port, free_range},
    },
    world::{World, node},
};

/// The service that is called: one copy on each host.
pub(super) const WORKER: &str = "worker";

pub(super) const BALANCERS: [&str; 2] = ["b1", "b2"];

/// How many instances of a service that moves to other hosts there are.
pub(super) const MOVING: usize = 3;

/// How long the cluster may take to be whole once nothing is broken: a session's end, a singleton's replacement and its
/// return come one after the other.
const RECOVERY: Duration = Duration::from_secs(180);

/// How long a cluster at rest writes nothing.
const QUIET: Duration = Duration::from_secs(5);

/// What an agent's directory can hold.
const DISK: &str = "size=24m,mode=711";

pub(super) struct Stage {
    pub(super) world: World,
    /// What faults have killed.
    pub(super) killed: Vec<(Process, Timestamp)>,
    /// gRPC and HTTP of each balancer.
    balancers: [(String, String); 2],
    clients: Option<Clients>,
    /// Programs that look like ours, and are none of the cluster's business.
    strangers: Vec<Child>,
    /// Small file systems.
    disks: Vec<PathBuf>,
    looked_at: Instant,
}

impl Stage {
    pub(super) fn start() -> Self {
        let mut world = World::bare(Wire::Spaces, None);
        renew_binary(&mut world);
        for host in AGENTS.into_iter().chain(CONTROLLERS).chain([OUTSIDE]) {
            world.network.relay(host);
        }
        let first = (world.grpc.clone(), world.http.clone());
        let outside = world.network.address(OUTSIDE);
        let place = || format!("{outside}:{}", free_port());
        let mut stage = Self {
            killed: Vec::new(),
            balancers: [first, (place(), place())],
            clients: None,
            strangers: Vec::new(),
            disks: Vec::new(),
            looked_at: Instant::now(),
            world,
        };
        for host in AGENTS {
            let state = stage.world.state(&node(host));
            std::fs::create_dir(&state).unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", DISK, "none"]).arg(&state);
            if mount.output().is_ok_and(|output| output.status.success()) {
                stage.disks.push(state);
            }
            stage.world.add_agent(host);
            stage.add_stranger(host);
        }
        for (name, places) in BALANCERS.iter().zip(&stage.balancers) {
            stage.world.add_balancer(name, places);
        }
        stage.world.add_controller(0, &[]);
        stage.world.add_controller(1, &[]);
        let manifests = stage.manifests();
        stage.world.apply(&manifests);
        stage.await_rest();
        let places = stage.balancers.clone().map(|(grpc, _)| grpc);
        let space = stage.world.network.space(OUTSIDE);
        stage.clients = Some(Clients::start(places, space));
        stage
    }

    fn add_stranger(&mut self, host: Host) {
        let listen = format!("{}:{}", self.world.network.address(host), free_port());
        let mut command = self.world.network.command(host, QUAESTOR);
        command.args(["demo-worker", "--listen", &listen]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        self.strangers.push(child);
    }

    fn manifests(&self) -> String {
        let (first, last) = free_range(8);
        let range = format!("range: {first}-{last}");
        let port = || format!("port: {}", free_port());
        let moving = format!("replicas: {MOVING}");
        let single = "singleton: true\n  onPartition: stop".to_owned();
        [
            (WORKER, "Worker", "onePerNode: true".to_owned(), port()),
            ("moving", "Moving", moving, range),
            ("single", "Single", single, port()),
        ]
        .map(|(name, found, kind, port)| self.manifest(name, found, &kind, &port))
        .concat()
    }

    fn manifest(&self, name: &str, found: &str, kind: &str, port: &str) -> String {
        let mark = self.world.mark();
        format!(
            r#"
---
apiVersion: quaestor/v1
kind: Service
metadata: {{name: {name}}}
spec:
  {kind}
  command: ["{{quaestor}}", demo-worker, --listen, "{{host}}:{{port}}", --service-name, {found}, --capacity, "64"]
  ports: [{{name: grpc, {port}}}]
  env: {{{VARIABLE}: "{mark}:{{node}}:{{instance}}"}}
  serviceNames: [{found}]
  health: {{grpc: {{}}, interval: 1s, timeout: 8s, failureThreshold: 2}}
  load: {{reportLoad: {{}}, interval: 1s}}
  restart: {{delay: 100ms, maxDelay: 2s}}
  stop: {{drain: 5s, grace: 2s}}
"#
        )
    }

    pub(super) fn has_small_disks(&self) -> bool {
        self.disks.len() == AGENTS.len()
    }

    /// Ends what is due, and forgets what is over.
    pub(super) fn tend(&mut self, open: &mut Vec<Open>, report: &mut Report) {
        let now = Instant::now();
        for one in open.iter_mut() {
            if one.ended_at.is_none() && one.ends_at <= now {
                self.mend(one);
                one.ended_at = Some(Instant::now());
            }
        }
        if now.duration_since(self.looked_at) < Duration::from_millis(300) {
            return;
        }
        // Asked only where it matters: who is cut off, or paused, does not answer at once.
        let ended = || open.iter().filter(|one| one.ended_at.is_some());
        let living = self.world.recorder.living();
        let network = &self.world.network;
        let is_serving = |host: &Host| self.world.members.is_serving(network, *host);
        let is_away = |one: &Open| one.ended_at.is_none() && one.fault.takes_balancers();
        let has_copies = ended().any(|one| one.fault.takes_copies())
            && !open.iter().any(is_away)
            && self.has_copies(&living);
        let has_members =
            ended().any(|one| one.fault.takes_members()) && HOSTS.iter().all(is_serving);
        open.retain(|one| {
            let Some(ended_at) = one.ended_at else {
                return true;
            };
            let is_left = one.leaving.iter().any(|process| living.contains(process));
            let is_over = (!one.fault.takes_copies() || (has_copies && !is_left))
                && (!one.fault.takes_members() || has_members);
            let took = ended_at.elapsed();
            assert!(
                is_over || took < RECOVERY,
                "still felt after {took:?}: {}; processes: {living:?}",
                one.fault
            );
            if is_over {
                report.recovered(&one.fault, took);
            }
            !is_over
        });
        self.looked_at = Instant::now();
    }

    /// Whether each host has its copy of the service that is called, and both balancers know all.
    fn has_copies(&self, living: &[Process]) -> bool {
        let copies = living.iter().filter(|one| one.instance.starts_with(WORKER));
        let nodes: Vec<_> = copies.map(|copy| &copy.node).collect();
        let all: BTreeSet<_> = nodes.iter().collect();
        all.len() == AGENTS.len() && nodes.len() == AGENTS.len() && self.are_answered()
    }

    fn are_answered(&self) -> bool {
        let network = &self.world.network;
        let known = |http: &str| network.outside(|| places(http, "Worker"));
        let mut balancers = self.balancers.iter();
        balancers.all(|(_, http)| known(http).is_some_and(|known| known.len() == AGENTS.len()))
    }

    /// Waits until both balancers answer.
    pub(super) fn await_balancers(&self) {
        self.world
            .until("both balancers answer", |_| self.are_answered());
    }

    /// Waits until nothing is broken any more, and everything is as it is wanted.
    pub(super) fn rest(&mut self, open: &mut Vec<Open>, report: &mut Report) {
        while !open.is_empty() {
            self.tend(open, report);
            std::thread::sleep(Duration::from_millis(50));
        }
        let took = self.await_rest();
        report.rested(took);
    }

    fn await_rest(&self) -> Duration {
        let begun = Instant::now();
        while let Err(lacks) = self.is_at_rest() {
            assert!(begun.elapsed() < RECOVERY, "no rest: {lacks}");
            std::thread::sleep(Duration::from_millis(200));
        }
        begun.elapsed()
    }

    /// What is lacking for everything to be as it is wanted.
    fn is_at_rest(&self) -> Result<(), String> {
        let living = self.world.recorder.living();
        let names: Vec<_> = living.iter().map(|one| one.instance.as_str()).collect();
        let count = |service: &str| {
            let own = names.iter().filter(|name| name.starts_with(service));
            own.count()
        };
        let counts = [count(WORKER), count("moving"), count("single")];
        if counts != [AGENTS.len(), MOVING, 1] || !self.has_copies(&living) {
            return Err(format!("{living:?}"));
        }
        let statuses = AGENTS.map(|host| self.world.node_status(&node(host)));
        if statuses.iter().any(|status| status != "Ready") {
            return Err(format!("{statuses:?}"));
        }
        let ready = [WORKER, "moving", "single"].map(|service| self.world.ready(service));
        match ready == counts {
            true => Ok(()),
            false => Err(format!("ready: {ready:?}")),
        }
    }

    /// Checks that a cluster at rest writes nothing but loads and what happened before.
    pub(super) fn check_quiet(&self) {
        let keys = || {
            let world = &self.world;
            let mut keys = world.members.keys(&world.network, "/quaestor/default/");
            keys.retain(|key, _| !key.contains("/load/") && !key.contains("/event/"));
            keys
        };
        let begun = Instant::now();
        let mut before = keys();
        loop {
            std::thread::sleep(QUIET);
            let after = keys();
            if after == before {
                return;
            }
            assert!(
                begun.elapsed() < RECOVERY,
                "writes go on: {before:?} {after:?}"
            );
            before = after;
        }
    }

    /// Ends the clients; what they saw.
    pub(super) fn end_clients(&mut self) -> Tally {
        self.clients.take().map(Clients::end).unwrap_or_default()
    }

    /// Everything that went wrong.
    pub(super) fn check(&mut self, tally: &Tally, report: &mut Report) -> Vec<String> {
        let lives = self.world.recorder.lives();
        let mut wrong = causes::check(&self.world, &lives, &self.killed, report);
        wrong.extend(tally.check(&lives));
        report.calls(tally, &lives);
        let mut strangers = self.strangers.iter_mut();
        if strangers.any(|child| child.try_wait().unwrap().is_some()) {
            wrong.push("a stranger's process was ended".to_owned());
        }
        self.world.recorder.check(&["single-0"]);
        wrong
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.clients.take());
        for child in &mut self.strangers {
            let _ = child.kill();
            let _ = child.wait();
        }
        for disk in &self.disks {
            // What runs keeps it until it ends, with the world.
            let _ = Command::new("umount").arg("-l").arg(disk).status();
        }
    }
}
