//! The children of this process: what it started, and orphans that descend from that. Nobody else reaps
//! them, so their pids are theirs until this module does.

use std::{fs, io};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, kill_process_group, waitid,
    },
};

use crate::wire::record::End;

/// How far up ancestors are looked for: should pids be reused meanwhile, that must come to an end.
const MOST_GENERATIONS: usize = 256;

/// Every child that was not reaped. Nothing can be missing: children leave the list only when they
/// are reaped, which this thread does.
pub(crate) fn all() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero();
    match fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(pid).collect(),
        // Some kernels are built without this list.
        Err(_) => of_parent(&own.to_string()).unwrap_or_default(),
    }
}

/// The same from the parents of all processes, which takes longer.
fn of_parent(parent: &str) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(candidate) = name.to_str().and_then(pid) else {
            continue;
        };
        if stat(candidate, 4).is_some_and(|found| found == parent) {
            children.push(candidate);
        }
    }
    Ok(children)
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// A field of `/proc/<pid>/stat`, counted from 1, behind the second.
fn stat(pid: Pid, field: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second, the name, may contain anything.
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(field - 3).map(str::to_owned)
}

/// When a process started, in clock ticks since boot.
pub(crate) fn start_time(pid: Pid) -> Option<u64> {
    stat(pid, 22)?.parse().ok()
}

/// Whether a living process, or one that nobody has reaped, descends from this one.
pub(crate) fn is_descendant(pid: Pid) -> bool {
    let own = getpid();
    let parent = |child: &Pid| stat(*child, 4).as_deref().and_then(self::pid);
    std::iter::successors(parent(&pid), parent)
        .take(MOST_GENERATIONS)
        .any(|ancestor| ancestor == own)
}

/// How a child ended; none while it lives. It stays unreaped.
pub(crate) fn look(child: Pid) -> Option<End> {
    end(child, WaitIdOptions::NOWAIT)
}

/// Reaps a child; none while it lives.
pub(crate) fn reap(child: Pid) -> Option<End> {
    end(child, WaitIdOptions::empty())
}

fn end(child: Pid, further: WaitIdOptions) -> Option<End> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | further;
    let status = waitid(WaitId::Pid(child), options).ok()??;
    let code = || status.exit_status().map(End::Code);
    let signal = status.terminating_signal().map(End::Signal);
    signal.or_else(code)
}

/// Kills the group of a child that is not reaped, and every further child; reaps those further ones that have
/// ended. True once there are none: then nothing lives that descends from this process, save what it is not
/// permitted to kill. The leaders of `errands` are killed, and left to be reaped.
pub(crate) fn kill_tree(leader: Pid, errands: &[Pid]) -> bool {
    let _ = kill_process_group(leader, Signal::KILL);
    loop {
        let (mut left, mut reaped) = (false, false);
        for child in all().into_iter().filter(|child| *child != leader) {
            let killed = kill_process(child, Signal::KILL);
            if errands.contains(&child) {
                // Whoever looks after it reaps it.
                left = true;
            } else if reap(child).is_some() {
                reaped = true;
            } else if killed != Err(Errno::PERM) {
                left = true;
            }
        }
        // What was reaped may have left its own children to us.
        if !reaped {
            return !left;
        }
    }
}

/// Reaps every child that has ended, save those whose end somebody else is to learn.
pub(crate) fn reap_orphans(spared: &[Pid]) {
    for child in all().into_iter().filter(|child| !spared.contains(child)) {
        reap(child);
    }
}

/// Kills the group of a child that is not reaped, and every further child that carries `mark` in its environment;
/// reaps those. True once there are none. What is a child of those is ours, and found, once they have ended.
pub(crate) fn kill_marked(leader: Pid, mark: &str) -> bool {
    let _ = kill_process_group(leader, Signal::KILL);
    let mut left = false;
    for child in all().into_iter().filter(|child| *child != leader) {
        if carries(child, mark) && kill_process(child, Signal::KILL).is_ok() {
            left |= reap(child).is_none();
        }
    }
    !left
}

fn carries(pid: Pid, mark: &str) -> bool {
    let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
    let environment = fs::read(path).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    variables.any(|variable| variable == mark.as_bytes())
}
