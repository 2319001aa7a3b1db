//! The view in a file, so that a balancer which starts while the store is away can answer.
//!
//! It holds what lies under the followed keys as text, but for load, which is old before it is read. The first
//! line is the SHA-256 of the rest: a file that was cut off or written into is put aside, never believed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    host::Host,
    keys::{Key, Keys},
    model::{Moment, Name, Timestamp},
    store::{Change, Entry},
};

/// The file is written this long after a change at the earliest, and after the last writing.
const PAUSE: Duration = Duration::from_secs(5);

/// A view whose store is heard but says nothing new is written this often, so that its age is about right.
const REFRESH: Duration = Duration::from_secs(60);

/// What the file says, below its checksum.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    cluster: Name,
    /// When the store was last heard.
    heard_at: Timestamp,
    entries: BTreeMap<String, String>,
}

/// The file, and what it is to hold.
pub(super) struct Cache {
    path: PathBuf,
    keys: Keys,
    /// What the keys of a registry begin with, which are kept as well.
    registry: Option<String>,
    cluster: Name,
    host: Host,
    entries: BTreeMap<String, String>,
    /// Whether `entries` is more than what was read from the file: the store was read since.
    is_current: bool,
    changed: bool,
    written: Moment,
    /// Whether the last attempt to write failed.
    failing: bool,
}

impl Cache {
    /// The cache of `cluster`, and of the keys that begin with `registry`, in the file at `path`.
    pub(super) fn new(path: PathBuf, cluster: Name, registry: Option<String>, host: Host) -> Self {
        Self {
            path,
            keys: Keys::new(&cluster),
            registry,
            cluster,
            written: host.clock.now(),
            host,
            entries: BTreeMap::new(),
            is_current: false,
            changed: false,
            failing: false,
        }
    }

    /// What the file holds, as the changes that make it so, and how long ago the store was heard then. None
    /// without a file, or with one that cannot be used, which the log tells of.
    pub(super) fn restore(&mut self) -> Option<(Vec<Change>, Duration)> {
        let file = self.path.display();
        let bytes = match self.host.disk.read(&self.path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::warn!(%file, %error, "the kept view cannot be read");
                return None;
            }
        };
        let content = match read(&bytes) {
            Ok(content) => content,
            Err(why) => {
                self.put_aside(&bytes, &why);
                return None;
            }
        };
        if content.cluster != self.cluster {
            let cluster = content.cluster;
            tracing::warn!(%file, %cluster, "the kept view is of another cluster: it is not used");
            return None;
        }
        let age = self.host.clock.timestamp().since(content.heard_at);
        self.entries = content.entries;
        let change = |(key, value): (&String, &String)| {
            Change::Put(Entry {
                key: key.clone(),
                value: value.clone().into(),
                create_revision: 0,
                mod_revision: 0,
            })
        };
        Some((self.entries.iter().map(change).collect(), age))
    }

    /// Takes in what the store says: everything the first time. Returns the deletions that follow for what
    /// was restored and is not there any more.
    pub(super) fn follow(&mut self, changes: &[Change]) -> Vec<Change> {
        let mut gone = Vec::new();
        if !self.is_current {
            self.is_current = true;
            let restored = std::mem::take(&mut self.entries);
            let there = changes.iter().filter_map(|change| match change {
                Change::Put(entry) => Some(entry.key.as_str()),
                Change::Delete { .. } => None,
            });
            let there: BTreeSet<&str> = there.collect();
            let keys = restored.into_keys();
            let keys = keys.filter(|key| !there.contains(key.as_str()));
            gone.extend(keys.map(|key| Change::Delete { key, revision: 0 }));
        }
        for change in changes {
            match change {
                Change::Put(entry) if self.keeps(&entry.key) => {
                    let value = String::from_utf8_lossy(&entry.value).into_owned();
                    let former = self.entries.insert(entry.key.clone(), value);
                    self.changed |= former.as_ref() != self.entries.get(&entry.key);
                }
                Change::Put(_) => {}
                Change::Delete { key, .. } => self.changed |= self.entries.remove(key).is_some(),
            }
        }
        gone
    }

    /// Writes the file if it is time to; `silence` is how long ago the store was heard.
    pub(super) fn settle(&mut self, silence: Duration) {
        let since = self.host.clock.now().since(self.written);
        let due = self.changed && since >= PAUSE || since >= REFRESH && silence < REFRESH;
        if self.is_current && due {
            self.write(silence);
        }
    }

    /// Writes the file, if there is anything that it does not say.
    pub(super) fn write(&mut self, silence: Duration) {
        if !self.is_current {
            return;
        }
        self.written = self.host.clock.now();
        let heard = self.host.clock.timestamp().as_millis()
            - i64::try_from(silence.as_millis()).unwrap_or(i64::MAX);
        let content = Content {
            cluster: self.cluster.clone(),
            heard_at: Timestamp::from_millis(heard),
            entries: std::mem::take(&mut self.entries),
        };
        let body = serde_json::to_string(&content).unwrap_or_default();
        self.entries = content.entries;
        let text = format!("{}\n{body}", sum(body.as_bytes()));
        match self.host.disk.write(&self.path, text.as_bytes(), false) {
            Ok(()) => (self.changed, self.failing) = (false, false),
            Err(error) if !self.failing => {
                self.failing = true;
                let file = self.path.display();
                tracing::warn!(%file, %error, "the view cannot be kept; tried again");
            }
            Err(_) => {}
        }
    }

    /// Whether what lies under a key is kept.
    fn keeps(&self, key: &str) -> bool {
        let registry = self.registry.as_deref();
        if registry.is_some_and(|registry| key.starts_with(registry)) {
            return true;
        }
        let parsed = self.keys.parse(key);
        matches!(
            parsed,
            Some(Key::Route(_) | Key::State(..) | Key::Session(_))
        )
    }

    fn put_aside(&self, bytes: &[u8], why: &str) {
        let time = self.host.clock.timestamp().as_millis();
        let aside = format!("{}.broken-{time}", self.path.display());
        let file = self.path.display();
        tracing::warn!(%file, why, aside, "the kept view cannot be used: it is put aside");
        let kept = self.host.disk.write(Path::new(&aside), bytes, false);
        let moved = kept.and_then(|()| self.host.disk.remove(&self.path));
        if let Err(error) = moved {
            tracing::warn!(aside, %error, "it cannot be put aside");
        }
    }
}

fn read(bytes: &[u8]) -> Result<Content, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (written, body) = text.split_once('\n').ok_or("it is cut off")?;
    if written != sum(body.as_bytes()) {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_str(body).map_err(|error| error.to_string())
}

fn sum(body: &[u8]) -> String {
    let sum = Sha256::digest(body);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(path: &Path) -> Cache {
        Cache::new(path.to_owned(), "c".parse().unwrap(), None, Host::system())
    }

    fn put(key: &str, value: &str) -> Change {
        Change::Put(Entry {
            key: format!("/quaestor/c/{key}"),
            value: value.to_owned().into(),
            create_revision: 1,
            mod_revision: 1,
        })
    }

    fn keys(changes: &[Change]) -> Vec<&str> {
        changes
            .iter()
            .map(|change| match change {
                Change::Put(entry) => entry.key.as_str(),
                Change::Delete { key, .. } => key.as_str(),
            })
            .collect()
    }

    #[tokio::test]
    async fn what_was_kept_is_restored_and_what_is_gone_meanwhile_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("view");
        assert!(cache(&path).restore().is_none());

        let mut first = cache(&path);
        let says = [
            put("route/a", "{}"),
            put("route/b", "{}"),
            put("load/n", "{}"),
        ];
        assert!(first.follow(&says).is_empty());
        first.write(Duration::from_secs(90));

        let mut second = cache(&path);
        let (restored, age) = second.restore().unwrap();
        assert_eq!(
            keys(&restored),
            ["/quaestor/c/route/a", "/quaestor/c/route/b"]
        );
        assert!(age >= Duration::from_secs(90), "{age:?}");
        // What was only read from the file is not written again: it would look younger.
        second.write(Duration::ZERO);
        assert!(cache(&path).restore().unwrap().1 >= Duration::from_secs(90));

        let gone = second.follow(&[put("route/b", "{}")]);
        assert_eq!(keys(&gone), ["/quaestor/c/route/a"]);
        assert!(second.follow(&[put("route/c", "{}")]).is_empty());
    }

    #[tokio::test]
    async fn a_broken_file_is_put_aside_and_another_clusters_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("view");
        let mut first = cache(&path);
        first.follow(&[put("route/a", "{}")]);
        first.write(Duration::ZERO);

        let mut other = Cache::new(path.clone(), "d".parse().unwrap(), None, Host::system());
        assert!(other.restore().is_none());
        assert!(path.exists());

        let whole = std::fs::read(&path).unwrap();
        for broken in [&whole[..whole.len() - 1], b"", b"\xff", b"x\n{}"] {
            std::fs::write(&path, broken).unwrap();
            assert!(cache(&path).restore().is_none());
            assert!(!path.exists());
        }
        let aside = std::fs::read_dir(directory.path()).unwrap().count();
        assert!(aside >= 1);
    }
}
