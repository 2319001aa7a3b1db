//! How a fault is brought about, and ended.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    kind::{AGENTS, Fault, Kind},
    stage::{BALANCERS, MOVING, Stage, WORKER},
};
use crate::{
    network::{CONTROLLERS, HOSTS, Host, OUTSIDE},
    recorder::Process,
    support::{cluster::parent, eventually, proxy::Mode},
    world::{World, node},
};

/// The controllers.
const NAMES: [&str; 2] = ["c1", "c2"];

/// A fault that was struck, and may still be felt.
pub(super) struct Open {
    pub(super) fault: Fault,
    pub(super) ends_at: Instant,
    /// Since when nothing is broken any more.
    pub(super) ended_at: Option<Instant>,
    /// The member that it hit.
    member: Host,
    /// Processes that are paused.
    paused: Vec<u32>,
    /// Processes that are to have successors.
    pub(super) leaving: Vec<Process>,
}

impl Stage {
    /// Brings a fault about.
    pub(super) fn strike(&mut self, fault: Fault) -> Open {
        let mut open = Open {
            fault,
            ends_at: Instant::now() + fault.lasts,
            ended_at: None,
            member: HOSTS[fault.number % HOSTS.len()],
            paused: Vec::new(),
            leaving: Vec::new(),
        };
        let (host, agent) = (fault.host, node(fault.host));
        let (controller, balancer) = (NAMES[fault.number % 2], BALANCERS[fault.number % 2]);
        let world = &mut self.world;
        match fault.kind {
            Kind::ControllerKilled => world.kill(controller),
            Kind::ControllerPaused => world.signal(controller, "STOP"),
            Kind::AgentKilled => world.kill(&agent),
            Kind::AgentPaused => world.signal(&agent, "STOP"),
            Kind::BalancerKilled => world.kill(balancer),
            Kind::BalancerPaused => world.signal(balancer, "STOP"),
            Kind::MemberKilled => world.members.kill(open.member),
            Kind::MemberLeaderKilled => {
                open.member = world.members.leader(&world.network);
                world.members.kill(open.member);
            }
            Kind::MemberPaused => world.members.signal(open.member, "STOP"),
            Kind::QuorumLost => {
                for member in HOSTS.into_iter().filter(|member| *member != open.member) {
                    world.members.kill(member);
                }
            }
            Kind::WorkerKilled | Kind::WorkerPaused | Kind::ShimKilled | Kind::ShimPaused => {
                self.hit_process(&mut open);
            }
            Kind::HostCutOff => world.network.cut_off(host),
            Kind::HostDeaf => others(host, |other| world.network.cut(other, host)),
            Kind::HostMute => others(host, |other| world.network.cut(host, other)),
            Kind::WaySlow => self.set_way(host, Mode::Slow(Duration::from_millis(300))),
            Kind::WayStalled => self.set_way(host, Mode::Stall),
            Kind::AnswersLost => self.set_way(host, Mode::Mute),
            Kind::DiskFull => fill(&world.state(&agent)),
            Kind::Compacted => world.members.compact(&world.network),
            Kind::Restored => self.restore(),
            Kind::RolesRestarted => self.restart_roles(),
            Kind::Upgraded => {
                renew_binary(&mut self.world);
                self.restart_roles();
            }
            Kind::WorkersRestarted => {
                let living = self.world.recorder.living().into_iter();
                let called = living.filter(|one| one.instance.starts_with(WORKER));
                open.leaving = called.collect();
                self.restart_workers();
            }
            Kind::NodeDrained => {
                world.quaestor(&["drain", &agent, "--timeout", "10s"]);
            }
        }
        open
    }

    /// Ends a fault.
    pub(super) fn mend(&mut self, open: &Open) {
        let fault = open.fault;
        let (host, agent) = (fault.host, node(fault.host));
        let (controller, balancer) = (NAMES[fault.number % 2], BALANCERS[fault.number % 2]);
        let world = &mut self.world;
        match fault.kind {
            Kind::ControllerKilled => world.run(controller),
            Kind::ControllerPaused => world.signal(controller, "CONT"),
            Kind::AgentKilled => world.run(&agent),
            Kind::AgentPaused => world.signal(&agent, "CONT"),
            Kind::BalancerKilled => world.run(balancer),
            Kind::BalancerPaused => world.signal(balancer, "CONT"),
            Kind::MemberKilled | Kind::MemberLeaderKilled => {
                world.members.launch(&world.network, open.member);
            }
            Kind::MemberPaused => world.members.signal(open.member, "CONT"),
            Kind::QuorumLost => {
                for member in HOSTS.into_iter().filter(|member| *member != open.member) {
                    world.members.launch(&world.network, member);
                }
            }
            Kind::WorkerPaused | Kind::ShimPaused => {
                for pid in &open.paused {
                    send(*pid, "CONT");
                }
            }
            Kind::HostCutOff => world.network.take_back(host),
            Kind::HostDeaf => others(host, |other| world.network.mend(other, host)),
            Kind::HostMute => others(host, |other| world.network.mend(host, other)),
            Kind::WaySlow | Kind::WayStalled | Kind::AnswersLost => self.set_way(host, Mode::Carry),
            Kind::DiskFull => {
                let _ = std::fs::remove_file(filler(&world.state(&agent)));
            }
            Kind::NodeDrained => {
                eventually("the node is let back", || {
                    world.quaestor(&["uncordon", &agent]).status.success()
                });
            }
            Kind::WorkerKilled
            | Kind::ShimKilled
            | Kind::Compacted
            | Kind::Restored
            | Kind::RolesRestarted
            | Kind::Upgraded
            | Kind::WorkersRestarted => {}
        }
    }

    fn set_way(&self, host: Host, mode: Mode) {
        for proxy in self.world.network.proxies(host) {
            proxy.set(mode);
        }
    }

    /// Hits a process on the fault's host: the worker that is called, mostly, or the shim of it.
    fn hit_process(&mut self, open: &mut Open) {
        let fault = open.fault;
        let name = node(fault.host);
        let living = self.world.recorder.living().into_iter();
        let own: Vec<Process> = living.filter(|one| one.node == name).collect();
        let called = own.iter().find(|one| one.instance.starts_with(WORKER));
        let any = own.get(fault.number % own.len().max(1));
        let victim = match fault.number % 3 {
            0 => any,
            _ => called,
        };
        let Some(victim) = victim else {
            return;
        };
        let pid = match fault.kind {
            Kind::ShimKilled | Kind::ShimPaused => parent(victim.pid),
            _ => victim.pid,
        };
        match fault.kind {
            Kind::WorkerKilled | Kind::ShimKilled => {
                self.killed.push((victim.clone(), Timestamp::now()));
                open.leaving.push(victim.clone());
                send(pid, "KILL");
            }
            _ => {
                open.paused.push(pid);
                send(pid, "STOP");
            }
        }
    }

    /// Puts the store back to a backup that is a few changes old, and says that this is meant.
    fn restore(&mut self) {
        let world = &mut self.world;
        world.members.await_all(&world.network);
        let backup = world.members.snapshot(&world.network);
        for replicas in [MOVING + 1, MOVING] {
            let replicas = replicas.to_string();
            world.ok(&["scale", "moving", "--replicas", &replicas, "--wait"]);
        }
        world.members.restore(&world.network, &backup);
        // The leader, or an agent, notices it by the revision.
        world.until("it is noticed that the store was restored", |world| {
            let status = world.quaestor(&["cluster", "status"]);
            String::from_utf8_lossy(&status.stdout).contains("cluster confirm restore")
        });
        world.ok(&["cluster", "confirm", "restore"]);
        std::fs::remove_file(backup).unwrap();
    }

    fn restart_roles(&mut self) {
        for name in BALANCERS {
            self.world.stop(name);
            self.world.run(name);
            self.await_balancers();
        }
        for name in NAMES.map(str::to_owned).into_iter().chain(AGENTS.map(node)) {
            self.world.stop(&name);
            self.world.run(&name);
        }
    }

    fn restart_workers(&self) {
        // Beside other faults the store may be away for a while.
        eventually("the restart is written", || {
            let asked = self.world.quaestor(&["restart", WORKER]);
            asked.status.success()
        });
    }
}

/// Puts a new file of the program, and of the shim, in the place of those that run.
pub(super) fn renew_binary(world: &mut World) {
    let directory = world.directory().join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let program = Path::new(crate::support::cluster::QUAESTOR);
    for name in ["quaestor", "quaestor-shim"] {
        let fresh = directory.join(format!("{name}.new"));
        std::fs::copy(program.with_file_name(name), &fresh).unwrap();
        std::fs::rename(&fresh, directory.join(name)).unwrap();
    }
    world.use_binary(directory.join("quaestor"));
}

/// Whatever does not hear or is not heard by that host.
fn others(host: Host, mut act: impl FnMut(Host)) {
    let all = AGENTS.into_iter().chain(CONTROLLERS).chain([OUTSIDE]);
    all.filter(|other| *other != host).for_each(&mut act);
}

fn filler(directory: &Path) -> std::path::PathBuf {
    directory.join("filler")
}

/// Writes until the disk is full.
fn fill(directory: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(filler(directory)).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

/// Sends a signal to a process that may have ended meanwhile.
fn send(pid: u32, name: &str) {
    let _ = std::process::Command::new("sh")
        .args([
            "-c",
            r#"kill -s "$0" "$1" 2>/dev/null"#,
            name,
            &pid.to_string(),
        ])
        .status();
}
