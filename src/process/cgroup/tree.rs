//! Where cgroups of ours may be made: below a cgroup that is ours to divide.
//!
//! A cgroup whose children have limits cannot hold processes itself ("no internal processes", cgroups(7)).
//! For an agent that somebody started in a cgroup of its own this is simple: it moves on into a leaf. Not so
//! under systemd: that starts the next agent in the unit's own cgroup, which fails with "Device or resource
//! busy" while instances live on below it (systemd issues 23164 and 24064; `DelegateSubgroup=` does not help in
//! all versions, pull request 41304). There the instances have a unit of their own, which `quaestor install`
//! writes: it is started once, and stays.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::{host::Disk, process::INSTANCES_UNIT};

/// The leaf that an agent moves into.
const AGENT: &str = "agent";

/// The leaf that whoever keeps [`INSTANCES_UNIT`] alive is moved into.
const KEEPER: &str = "keeper";

/// The cgroup above those of all instances.
const GROUP: &str = "quaestor";

/// A cgroup to divide.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tree {
    top: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This program lives in it.
    Own,
    /// This program lives in a leaf of it.
    Above,
    /// It is that of [`INSTANCES_UNIT`].
    Unit,
}

/// Finds out where this program lives, of which `proc` tells.
///
/// # Errors
/// Why nothing can be divided, and what to do about it.
pub(super) fn find(disk: &dyn Disk, proc: &Path) -> Result<Tree, String> {
    let read = |name: &str| {
        let text = disk.read(&proc.join("self").join(name)).ok().flatten();
        String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
    };
    locate(&read("cgroup"), &read("mountinfo")).ok_or_else(|| {
        "this host has no cgroup v2 mounted; boot it with systemd.unified_cgroup_hierarchy=1"
            .to_owned()
    })
}

/// By the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn locate(membership: &str, mounts: &str) -> Option<Tree> {
    let own = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::"))?;
    let own = mounts.lines().find_map(|mount| {
        let (fields, kind) = mount.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let inside = Path::new(own).strip_prefix(root).ok()?;
        let outside = inside.iter().any(|part| part == "..");
        // Spaces and the like are written in octal: whoever mounts cgroups there is on his own.
        (kind.starts_with("cgroup2 ") && !outside).then(|| Path::new(point).join(inside))
    })?;
    let is_leaf = own.ends_with(AGENT);
    let above = own.parent().filter(|_| is_leaf);
    let service = above.unwrap_or(&own);
    if service.extension().is_some_and(|it| it == "service") {
        return Some(Tree {
            top: service.with_file_name(INSTANCES_UNIT),
            kind: Kind::Unit,
        });
    }
    Some(Tree {
        top: service.to_owned(),
        kind: if is_leaf { Kind::Above } else { Kind::Own },
    })
}

impl Tree {
    /// The cgroup above those of instances.
    pub(super) fn group(&self) -> PathBuf {
        self.top.join(GROUP)
    }

    /// Moves out of the way of cgroups what lives where they begin.
    ///
    /// # Errors
    /// Why it cannot be moved, and what to do about it.
    pub(super) fn clear(&self, disk: &dyn Disk) -> Result<(), String> {
        let top = self.top.display();
        if self.kind == Kind::Unit && !self.has(disk, "cgroup.procs") {
            return Err(format!(
                "the agent is a service without a `{INSTANCES_UNIT}` beside it; run `quaestor install agent` again, \
                 or `systemctl start {INSTANCES_UNIT}`"
            ));
        }
        // The one that the system begins with holds processes and limits alike, and lacks this file.
        if self.kind == Kind::Above || !self.has(disk, "cgroup.events") {
            return Ok(());
        }
        let living = disk.read(&self.top.join("cgroup.procs"));
        let living = living.map_err(|error| format!("cannot look into `{top}`: {error}"))?;
        let living = String::from_utf8_lossy(&living.unwrap_or_default()).into_owned();
        let living: Vec<&str> = living.lines().collect();
        let leaf = self.top.join(match self.kind {
            Kind::Unit => KEEPER,
            Kind::Own | Kind::Above => AGENT,
        });
        if self.kind == Kind::Own && living.iter().any(|pid| *pid != own_pid()) {
            return Err(format!(
                "the agent is not alone in its cgroup `{top}`; start it as a service, with `quaestor \
                 install agent`"
            ));
        }
        if living.is_empty() {
            return Ok(());
        }
        let moved = disk.create_passage(&leaf).and_then(|()| {
            let enter = |pid| disk.tell(&leaf.join("cgroup.procs"), pid);
            living.into_iter().try_for_each(enter)
        });
        moved.map_err(|error| self.not_ours(&error))
    }

    /// Makes the cgroup above those of instances, and lets `controllers` limit what is below it. Returns those
    /// that cannot, and why.
    ///
    /// # Errors
    /// Why nothing can be made, and what to do about it.
    pub(super) fn divide<const N: usize>(
        &self,
        disk: &dyn Disk,
        controllers: [&'static str; N],
    ) -> Result<BTreeMap<&'static str, String>, String> {
        let group = self.group();
        let made = disk.create_passage(&group);
        made.map_err(|error| self.not_ours(&error))?;
        let known = disk.read(&self.top.join("cgroup.controllers"));
        let known = known.ok().flatten().unwrap_or_default();
        let known = String::from_utf8_lossy(&known).into_owned();
        let lacking = controllers.into_iter().filter_map(|controller| {
            if !known.split_whitespace().any(|it| it == controller) {
                let cause = format!(
                    "the controller `{controller}` is not in `{}`; boot with cgroup_no_v1=all, or have it \
                     delegated to the agent",
                    self.top.join("cgroup.controllers").display()
                );
                return Some((controller, cause));
            }
            let enabled = [&self.top, &group].into_iter().try_for_each(|cgroup| {
                disk.tell(&cgroup.join("cgroup.subtree_control"), &format!("+{controller}"))
            });
            Some((controller, self.not_ours(&enabled.err()?)))
        });
        Ok(lacking.collect())
    }

    fn has(&self, disk: &dyn Disk, file: &str) -> bool {
        matches!(disk.read(&self.top.join(file)), Ok(Some(_)))
    }

    fn not_ours(&self, error: &io::Error) -> String {
        format!(
            "the cgroup `{}` cannot be divided: {error}; have it delegated to the agent, as `quaestor install \
             agent` does",
            self.top.display()
        )
    }
}

fn own_pid() -> String {
    std::process::id().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:31 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn an_agent_divides_its_own_cgroup_and_under_systemd_that_of_another_unit() {
        let root = "/sys/fs/cgroup/unified";
        for (own, top, kind) in [
            ("/", "", Kind::Own),
            (
                "/user.slice/session-1.scope",
                "/user.slice/session-1.scope",
                Kind::Own,
            ),
            ("/box/agent", "/box", Kind::Above),
            (
                "/system.slice/quaestor-agent.service",
                "/system.slice/quaestor-instances.service",
                Kind::Unit,
            ),
            (
                "/user.slice/user@1.service/app.slice/a.service/agent",
                "/user.slice/user@1.service/app.slice/quaestor-instances.service",
                Kind::Unit,
            ),
        ] {
            let found = locate(&format!("4:memory:/x\n0::{own}\n"), MOUNTS);
            let top = Path::new(root).join(top.trim_start_matches('/'));
            assert_eq!(found, Some(Tree { top, kind }), "{own}");
        }
    }

    #[test]
    fn a_container_sees_only_its_part_of_the_tree() {
        let mounts = "9 1 0:31 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let found = locate("0::/docker/abc/x\n", mounts).unwrap();
        assert_eq!(found.top, Path::new("/sys/fs/cgroup/x"));
        assert_eq!(locate("0::/../other\n", MOUNTS), None);
        assert_eq!(locate("0::/docker/other\n", mounts), None);
        assert_eq!(locate("4:memory:/x\n", MOUNTS), None);
        assert_eq!(locate("0::/\n", ""), None);
    }
}
