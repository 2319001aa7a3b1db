//! What an agent remembers of an instance, so that the next one goes on with it: a record per instance in the
//! runtime directory, replaced whenever it changes and before anything is started.
//!
//! What it says of the living is never trusted alone: the shim is asked, and its answer names boot, process
//! and instance. A process whose start was recorded and that the shim knows nothing of was never started.
//!
//! ```text
//! quaestor-instance 1 <sha-256 of what follows>
//! {...}
//! ```

use std::{
    io,
    path::{Path, PathBuf},
};

use futures::future;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Error, Home, ports::Ports};
use crate::{
    host::Host,
    model::{Assignment, Exit, Instance, Moment, Timestamp, quantity::Period, state::HookFailure},
    plan::{agent::Life, reservation::Ledger, restart::BackOff},
    process::{Found, Processes},
};

/// What stands before the checksum. A younger format gets another number.
const HEAD: &str = "quaestor-instance 1 ";

/// How the names of records end.
const SUFFIX: &str = ".json";

/// What is remembered of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// The boot that it is about.
    pub(super) boot_id: String,
    /// The instance's own uuid.
    pub(super) uuid: String,
    /// The number of its last start.
    pub(super) incarnation: u64,
    /// Its assignment, as it was last acted on.
    pub(super) assignment: Assignment,
    /// The store's revision of that.
    pub(super) stored_at: i64,
    /// Whether the assignment has vanished.
    pub(super) orphaned: bool,
    /// Whether it runs by the agent's own manifests.
    #[serde(default)]
    pub(super) local: bool,
    /// What it was doing: a [`Life`], which agents of other versions may know other forms of.
    pub(super) life: serde_json::Value,
    /// What its process ran: for those who cannot read `life`.
    pub(super) revision: String,
    /// Whether clients were sent to it: the same.
    pub(super) ready: bool,
    pub(super) back_off: BackOff,
    pub(super) ports: Ports,
    pub(super) starts: u32,
    pub(super) started_at: Option<Timestamp>,
    pub(super) next_start_at: Option<Timestamp>,
    pub(super) last_exit: Option<Exit>,
    /// How its `preStop` command failed before the last stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pre_stop_failure: Option<HookFailure>,
    /// Who has the process to himself.
    #[serde(default, skip_serializing_if = "Ledger::is_empty")]
    pub(super) tickets: Ledger,
    /// The artifact that its process was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact: Option<crate::model::service::Digest>,
    /// Since when clients were sent to it without a break.
    #[serde(default)]
    pub(super) ready_since: Option<Moment>,
    /// The grace that its shim gives it, should it have to stop by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stop_grace: Option<Period>,
}

/// A record, and what there is of the process.
pub(super) struct Memory {
    pub(super) record: Record,
    /// What it was doing, if that can be read.
    pub(super) life: Option<Life>,
    pub(super) found: io::Result<Found>,
}

impl Memory {
    /// Whether nothing has happened to the process since the record was written.
    pub(super) fn is_unchanged(&self) -> bool {
        let lived = self.life.as_ref().is_none_or(Life::lives);
        match &self.found {
            Ok(Found::Running { incarnation, .. }) => {
                lived && *incarnation == self.record.incarnation
            }
            Ok(Found::Idle { .. }) => !lived,
            Err(_) => false,
        }
    }
}

impl Record {
    /// What stands below the head of its file.
    pub(super) fn body(&self) -> String {
        // Plain data with text keys cannot fail to become JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn open(content: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(content).map_err(|error| error.to_string())?;
        let parts = text
            .strip_prefix(HEAD)
            .and_then(|text| text.split_once('\n'));
        let (sum, body) = parts.ok_or("it has no head")?;
        let body = body.strip_suffix('\n').ok_or("its end is missing")?;
        if sum != checksum(body) {
            return Err("its checksum is wrong".to_owned());
        }
        serde_json::from_str(body).map_err(|error| error.to_string())
    }
}

/// The file of a record with that body.
pub(super) fn seal(body: &str) -> Vec<u8> {
    format!("{HEAD}{}\n{body}\n", checksum(body)).into_bytes()
}

fn checksum(body: &str) -> String {
    let sum = Sha256::digest(body.as_bytes());
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the record of an instance lies.
pub(super) fn path(home: &Home, instance: &Instance) -> PathBuf {
    home.runtime().join(format!("{instance}{SUFFIX}"))
}

/// What the agent before this one has left.
pub(super) struct Recalled {
    /// Instances to go on with.
    pub(super) memories: Vec<Memory>,
    /// Those whose record could not be read, and why.
    pub(super) broken: Vec<(Instance, String)>,
}

/// What a record says.
enum Read {
    /// This, of this boot.
    Record(Box<Record>),
    /// Nothing that matters now.
    Nothing,
    /// It cannot be read, for this reason.
    Broken(String),
}

/// Everything that the agent before this one has left: instances to go on with. What belongs to another boot, or
/// to nobody, is cleared away; broken records are put aside, and what they were about is ended.
///
/// # Errors
/// When the runtime directory cannot be read.
pub(super) async fn recall(
    home: &Home,
    host: &Host,
    processes: &dyn Processes,
) -> Result<Recalled, Error> {
    let listed = host.disk.list(home.runtime());
    let listed = listed.map_err(|cause| Error::StateDirectory {
        path: home.runtime().to_owned(),
        cause,
    })?;
    let mut records = Vec::new();
    let mut broken = Vec::new();
    let files = host.disk.list(&home.all_files()).unwrap_or_default();
    for path in &listed {
        let Some((instance, is_record)) = subject(path) else {
            continue;
        };
        let record = if is_record {
            read(path, home, host)
        } else if listed.contains(&self::path(home, &instance)) {
            continue;
        } else {
            Read::Nothing
        };
        match record {
            Read::Record(record) => records.push((home.place(&instance, &record.uuid), *record)),
            Read::Nothing => clear(&instance, home, processes).await,
            Read::Broken(why) => {
                clear(&instance, home, processes).await;
                broken.push((instance, why));
            }
        }
    }
    // Side by side: one that does not answer holds up nobody else.
    let finding = records.into_iter().map(async |(place, record)| Memory {
        life: serde_json::from_value(record.life.clone()).ok(),
        record,
        found: processes.find(&place).await,
    });
    let memories = future::join_all(finding).await;
    for directory in files {
        let name = directory.file_name().map(|name| name.to_string_lossy());
        let lives = |memory: &Memory| {
            let instance = memory.record.assignment.instance.to_string();
            !matches!(memory.found, Ok(Found::Idle { .. })) && name.as_deref() == Some(&instance)
        };
        if !memories.iter().any(lives)
            && let Err(error) = host.disk.take_back(&directory)
        {
            tracing::error!(directory = %directory.display(), %error, "secrets cannot be removed");
        }
    }
    Ok(Recalled { memories, broken })
}

/// The instance that a file or directory is about, and whether it is its record.
fn subject(path: &Path) -> Option<(Instance, bool)> {
    let name = path.file_name()?.to_str()?;
    match name.strip_suffix(SUFFIX) {
        Some(instance) => Some((instance.parse().ok()?, true)),
        None => Some((name.parse().ok()?, false)),
    }
}

/// The record in a file. Unless it can be read and is about this boot, it does not lie there any more.
fn read(path: &Path, home: &Home, host: &Host) -> Read {
    let content = host.disk.read(path);
    let content = content.map(Option::unwrap_or_default);
    let content = content.map_err(|error| error.to_string());
    let mut read = Read::Nothing;
    match content
        .as_deref()
        .map_err(Clone::clone)
        .and_then(Record::open)
    {
        Ok(record) if record.boot_id == home.boot_id() => return Read::Record(Box::new(record)),
        Ok(record) => {
            tracing::info!(instance = %record.assignment.instance, "not of this boot");
        }
        Err(why) => {
            let aside = format!(
                "{}.broken-{}",
                path.display(),
                host.clock.timestamp().as_millis()
            );
            tracing::error!(
                file = %path.display(), why, aside,
                "a record cannot be read: it is put aside, and its instance starts anew"
            );
            let kept = host
                .disk
                .write(Path::new(&aside), &content.unwrap_or_default(), false);
            if let Err(error) = kept {
                tracing::error!(aside, %error, "it cannot be put aside");
            }
            read = Read::Broken(format!("{why}; it is kept as {aside}"));
        }
    }
    if let Err(error) = host.disk.remove(path) {
        tracing::error!(file = %path.display(), %error, "it cannot be removed");
    }
    read
}

/// Ends whatever there is of an instance that nothing is known of.
async fn clear(instance: &Instance, home: &Home, processes: &dyn Processes) {
    let nobody = home.place(instance, "");
    if let Err(error) = processes.forget(&nobody).await {
        tracing::error!(%instance, %error, "what is left of it cannot be cleared away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let assignment = serde_json::json!({
            "instance": "worker-0", "desired": "present", "generation": 1, "revision": "a",
            "run": {"process": {"command": ["x"]}},
        });
        Record {
            boot_id: "b".to_owned(),
            uuid: "u".to_owned(),
            incarnation: 3,
            assignment: serde_json::from_value(assignment).unwrap(),
            stored_at: 7,
            orphaned: false,
            local: false,
            life: serde_json::to_value(Life::started("a", Default::default())).unwrap(),
            revision: "a".to_owned(),
            ready: true,
            back_off: BackOff::default(),
            ports: Ports::new(),
            starts: 3,
            started_at: None,
            next_start_at: None,
            last_exit: None,
            pre_stop_failure: None,
            tickets: Ledger::default(),
            artifact: None,
            ready_since: None,
            stop_grace: None,
        }
    }

    #[test]
    fn a_record_comes_back() {
        let back = Record::open(&seal(&record().body())).unwrap();
        assert_eq!(seal(&back.body()), seal(&record().body()));
    }

    #[test]
    fn records_of_earlier_versions_are_read() {
        // What was published stays as it is here: add to these, and change none.
        let kept = include_str!("../../tests/records/instance-1");
        let record = Record::open(kept.as_bytes()).unwrap();
        assert_eq!(record.assignment.instance.to_string(), "worker-0");
        assert_eq!(
            (record.incarnation, record.starts, record.stored_at),
            (3, 3, 7)
        );
        assert!(serde_json::from_value::<Life>(record.life).unwrap().lives());
    }

    #[test]
    fn a_record_that_is_cut_off_or_changed_is_refused() {
        let whole = seal(&record().body());
        for length in 0..whole.len() {
            assert!(Record::open(&whole[..length]).is_err(), "cut at {length}");
        }
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            assert!(Record::open(&changed).is_err(), "at {position}");
        }
    }

    #[test]
    fn files_are_told_apart_by_their_names() {
        let subject = |name| subject(Path::new(name)).map(|(it, record)| (it.to_string(), record));
        assert_eq!(
            subject("/r/worker-0.json"),
            Some(("worker-0".to_owned(), true))
        );
        assert_eq!(subject("/r/worker-0"), Some(("worker-0".to_owned(), false)));
        assert_eq!(subject("/r/lock"), None);
        assert_eq!(subject("/r/worker-0.json.new"), None);
        assert_eq!(subject("/r/worker-0.json.broken-17"), None);
    }
}
