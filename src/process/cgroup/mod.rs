//! Memory and processor time of instances, by cgroup v2: each that has `resources` gets a cgroup of its own.
//!
//! - [`Cgroups`]: the cgroups of instances: made, limited, killed, removed
//! - `tree`: where they may be made
//!
//! Only those that have limits get one: to enter a cgroup takes milliseconds, which nobody else should pay
//! for. The shim lets its process enter, kills by the cgroup, and removes it when nothing lives in it any more.

mod tree;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    host::{Clock, Disk},
    model::Resources,
    process::Place,
};
use tree::Tree;

/// What enforces which field of `resources`.
const CONTROLLERS: [&str; 2] = ["memory", "cpu"];

/// The time over which processor time is counted, in microseconds: the system's own choice.
const CPU_PERIOD: f64 = 100_000.0;

/// Who is killed is gone after a pause or two.
const PAUSE: Duration = Duration::from_millis(10);

/// What cannot be killed in this time waits for the system.
const ROUNDS: u32 = 100;

/// The cgroups of instances on this machine.
pub(super) struct Cgroups {
    disk: Arc<dyn Disk>,
    /// Where they are, or why they cannot be anywhere.
    tree: Result<Tree, String>,
    /// What cannot be limited there, by controller, and why; or why nothing can.
    ready: OnceLock<Result<BTreeMap<&'static str, String>, String>>,
}

/// What came of an attempt to limit an instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Confined {
    /// Its cgroup.
    pub(super) cgroup: Option<PathBuf>,
    /// What is not enforced, and why.
    pub(super) unenforced: Option<String>,
}

impl Cgroups {
    /// Those of this machine, which tells about this program in `proc`.
    pub(super) fn new(disk: Arc<dyn Disk>, proc: &Path) -> Self {
        Self {
            tree: tree::find(&*disk, proc),
            disk,
            ready: OnceLock::new(),
        }
    }

    /// Makes way while there is still nobody in the way: call it before the first process is started. What is
    /// divided into cgroups cannot hold processes itself.
    pub(super) fn settle(&self) {
        if let Ok(tree) = &self.tree
            && let Err(why) = tree.clear(&*self.disk)
        {
            tracing::debug!(why, "limits on memory and processors cannot be enforced");
        }
    }

    /// Limits the cgroup of `place`, which is made if it is not there.
    pub(super) fn confine(&self, place: &Place, resources: &Resources) -> Confined {
        let nothing = |cause: &str| Confined {
            cgroup: None,
            unenforced: unenforced(
                given(resources)
                    .map(|field| (field, cause.to_owned()))
                    .collect(),
            ),
        };
        let (tree, lacks) = match (&self.tree, self.ready()) {
            (Ok(tree), Ok(lacks)) => (tree, lacks),
            (Err(cause), _) | (_, Err(cause)) => return nothing(cause),
        };
        let cgroup = cgroup(tree, place);
        if let Err(error) = self.disk.create_passage(&cgroup) {
            return nothing(&format!("cannot make `{}`: {error}", cgroup.display()));
        }
        // What is not given is lifted; where that fails, there is nothing to lift.
        let memory = self.limit_memory(&cgroup, resources).err();
        let cpu = self.limit_cpu(&cgroup, resources).err();
        let failed = given(resources).filter_map(|field| {
            let error = if field == "memory" { &memory } else { &cpu };
            let cause = format!("cannot limit `{}`: {}", cgroup.display(), error.as_ref()?);
            Some((field, lacks.get(field).cloned().unwrap_or(cause)))
        });
        let unenforced = unenforced(failed.collect());
        Confined {
            cgroup: Some(cgroup),
            unenforced,
        }
    }

    /// Limits what lives at `place`. What is not enforced, and why.
    pub(super) fn hold(&self, place: &Place, resources: &Resources) -> Option<String> {
        let confined = self.confine(place, resources);
        let Some(cgroup) = confined.cgroup else {
            return confined.unenforced;
        };
        let living = self.disk.read(&cgroup.join("cgroup.procs"));
        if living.is_ok_and(|living| living.is_some_and(|living| !living.is_empty())) {
            return confined.unenforced;
        }
        let cause = format!(
            "its process could not enter `{}`; its log says why",
            cgroup.display()
        );
        unenforced(
            given(resources)
                .map(|field| (field, cause.clone()))
                .collect(),
        )
    }

    /// Kills what lives in the cgroup of `place`, and removes it.
    pub(super) async fn clear(&self, place: &Place, clock: &Arc<dyn Clock>) {
        let Ok(tree) = &self.tree else {
            return;
        };
        let cgroup = cgroup(tree, place);
        for _ in 0..ROUNDS {
            match self.disk.tell(&cgroup.join("cgroup.kill"), "1") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(cgroup = %cgroup.display(), %error, "cannot be killed");
                }
                Ok(()) => {}
            }
            match self.disk.remove_empty(&cgroup) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => {
                    tracing::error!(cgroup = %cgroup.display(), %error, "cannot be removed");
                    return;
                }
            }
            clock.sleep(PAUSE).await;
        }
        tracing::error!(cgroup = %cgroup.display(), "what lives in it cannot be killed");
    }

    /// Gets ready to limit, once.
    fn ready(&self) -> &Result<BTreeMap<&'static str, String>, String> {
        self.ready.get_or_init(|| {
            let tree = self.tree.as_ref().map_err(String::clone)?;
            tree.clear(&*self.disk)?;
            tree.divide(&*self.disk, CONTROLLERS)
        })
    }

    fn limit_memory(&self, cgroup: &Path, resources: &Resources) -> io::Result<()> {
        let limit = resources.memory;
        let text = limit.map_or("max".to_owned(), |limit| limit.bytes().to_string());
        // Swap would make what has too little memory slow instead of ending it. Not every system has any.
        let swap = if limit.is_some() { "0" } else { "max" };
        let _ = self.disk.tell(&cgroup.join("memory.swap.max"), swap);
        // A part of an instance is no use: who watches over it has to see that it ended.
        let _ = self.disk.tell(&cgroup.join("memory.oom.group"), "1");
        self.disk.tell(&cgroup.join("memory.max"), &text)
    }

    fn limit_cpu(&self, cgroup: &Path, resources: &Resources) -> io::Result<()> {
        let quota = resources.cpu.map(|cpu| (cpu * CPU_PERIOD).round());
        let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
        self.disk
            .tell(&cgroup.join("cpu.max"), &format!("{quota} {CPU_PERIOD}"))
    }
}

/// The fields of `resources` that limit anything.
fn given(resources: &Resources) -> impl Iterator<Item = &'static str> {
    let given = [
        ("memory", resources.memory.is_some()),
        ("cpu", resources.cpu.is_some()),
    ];
    given
        .into_iter()
        .filter_map(|(field, given)| given.then_some(field))
}

/// The cgroup of `place`: that of no other instance on this machine, of whatever cluster and agent.
fn cgroup(tree: &Tree, place: &Place) -> PathBuf {
    let name = place.directory.file_name().unwrap_or_default();
    tree.group()
        .join(format!("{}.{}", name.display(), place.uuid))
}

/// Says of each field why it is not enforced.
fn unenforced(failed: Vec<(&str, String)>) -> Option<String> {
    let all_alike = failed.windows(2).all(|two| two[0].1 == two[1].1);
    let say = |fields: &[&str], cause: &str| {
        let verb = if fields.len() == 1 { "is" } else { "are" };
        let fields: Vec<_> = fields
            .iter()
            .map(|field| format!("resources.{field}"))
            .collect();
        format!(
            "{} {verb} not enforced on this node: {cause}",
            fields.join(" and ")
        )
    };
    let said: Vec<String> = match failed.first() {
        None => return None,
        Some((_, cause)) if all_alike => {
            let fields: Vec<_> = failed.iter().map(|(field, _)| *field).collect();
            vec![say(&fields, cause)]
        }
        Some(_) => failed
            .iter()
            .map(|(field, cause)| say(&[field], cause))
            .collect(),
    };
    Some(said.join("; "))
}

#[cfg(test)]
mod tests;
