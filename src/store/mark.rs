//! How far the store has come, as far as this host has seen it: kept on disk, so that a program that has just started notices
//! when the store was restored from a backup meanwhile.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::{
    host::{Disk, Host},
    model::Moment,
};

/// Time between two writes: each waits for the disk. A backup is older than that.
const PACE: Duration = Duration::from_secs(5);

/// What a file of it begins with: what it is, and in which version.
const HEAD: &str = "quaestor-mark 1";

/// The highest revision that was seen of a store.
pub struct Mark {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What is known.
    seen: Option<Seen>,
    /// What is on disk.
    kept: Option<Seen>,
    /// When it is written next, at the earliest.
    not_before: Moment,
    /// The last write failed.
    troubled: bool,
}

/// A store, by the uuid in it, and its revision. A store that was restored has the uuid that it had; the number that
/// etcd gives to a cluster would be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    store: String,
    revision: i64,
}

impl Mark {
    /// What the program before this one has left in the file at `path`. One that is not whole says nothing.
    pub fn open(host: &Host, path: PathBuf) -> Self {
        let seen = read(&*host.disk, &path);
        let seen = seen.unwrap_or_else(|why| {
            tracing::warn!(
                file = %path.display(), why,
                "it is not known how far the store had come: that it was restored meanwhile would not be noticed"
            );
            None
        });
        Self {
            disk: Arc::clone(&host.disk),
            path,
            kept: seen.clone(),
            seen,
            not_before: Moment::default(),
            troubled: false,
        }
    }

    /// The highest revision that was seen of the store with that uuid; 0 for one that is not known.
    pub fn of(&self, store: &str) -> i64 {
        let own = self.seen.as_ref().filter(|seen| seen.store == store);
        own.map_or(0, |seen| seen.revision)
    }

    /// The store with that uuid was seen at `revision`. Nothing is told of the one before it any more.
    pub fn note(&mut self, store: &str, revision: i64) {
        if revision > self.of(store) {
            self.seen = Some(Seen {
                store: store.to_owned(),
                revision,
            });
        }
    }

    /// Writes what has been seen, if it is time. Returns when there is more to write.
    pub fn keep(&mut self, now: Moment) -> Option<Moment> {
        let seen = self.seen.as_ref().filter(|_| self.seen != self.kept)?;
        if now < self.not_before {
            return Some(self.not_before);
        }
        self.not_before = now + PACE;
        match self.disk.write(&self.path, &seen.seal(), true) {
            Ok(()) => {
                self.kept = self.seen.clone();
                self.troubled = false;
                None
            }
            Err(error) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    let file = self.path.display();
                    tracing::warn!(%file, %error, "how far the store has come cannot be written down");
                }
                Some(self.not_before)
            }
        }
    }
}

impl Seen {
    /// What a file of it holds.
    fn seal(&self) -> Vec<u8> {
        let body = format!("{HEAD} {} {}", self.store, self.revision);
        format!("{body} {}\n", checksum(&body)).into_bytes()
    }

    fn open(content: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(content).map_err(|_| "it is no text")?;
        let line = text.strip_suffix('\n').ok_or("its end is missing")?;
        let (body, sum) = line.rsplit_once(' ').ok_or("it has no checksum")?;
        if sum != checksum(body) {
            return Err("its checksum is wrong");
        }
        let fields = body
            .strip_prefix(HEAD)
            .and_then(|rest| rest.trim_start().split_once(' '));
        let (store, revision) = fields.ok_or("it is of another version")?;
        Ok(Self {
            store: store.to_owned(),
            revision: revision.parse().map_err(|_| "it holds no revision")?,
        })
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Seen>, String> {
    let content = disk
        .read(path)
        .map_err(|error: io::Error| error.to_string())?;
    let seen = content.map(|content| Seen::open(&content)).transpose();
    seen.map_err(ToOwned::to_owned)
}

fn checksum(body: &str) -> String {
    let sum = Sha256::digest(body.as_bytes());
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn the_next_program_knows_how_far_the_store_had_come_and_of_no_other_store() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Mark::open(&Host::system(), directory.path().join("mark"));
        let mut mark = open();
        assert_eq!(mark.of("a"), 0);
        assert_eq!(mark.keep(at(0)), None, "nothing was seen");
        mark.note("a", 7);
        mark.note("a", 5);
        assert_eq!(mark.keep(at(1)), None);
        assert_eq!((open().of("a"), open().of("b")), (7, 0));
        // Not every revision is worth a write of its own.
        mark.note("a", 8);
        assert_eq!(mark.keep(at(2)), Some(at(6)));
        assert_eq!(open().of("a"), 7);
        assert_eq!(mark.keep(at(6)), None);
        assert_eq!(open().of("a"), 8);
        mark.note("b", 3);
        assert_eq!(mark.keep(at(20)), None);
        assert_eq!((open().of("a"), open().of("b")), (0, 3));
    }

    #[test]
    fn a_file_that_is_cut_off_or_changed_says_nothing() {
        let seen = Seen {
            store: "0123456789abcdef".to_owned(),
            revision: 4_711,
        };
        let whole = seen.seal();
        assert_eq!(Seen::open(&whole), Ok(seen));
        for length in 0..whole.len() {
            assert!(Seen::open(&whole[..length]).is_err(), "cut at {length}");
        }
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            assert!(Seen::open(&changed).is_err(), "at {position}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        std::fs::write(&path, &whole[..20]).unwrap();
        let mut mark = Mark::open(&Host::system(), path.clone());
        assert_eq!(mark.of("0123456789abcdef"), 0);
        mark.note("0123456789abcdef", 9);
        mark.keep(at(1));
        assert_eq!(Mark::open(&Host::system(), path).of("0123456789abcdef"), 9);
    }

    #[test]
    fn files_of_earlier_versions_are_read() {
        // What was published stays as it is here: add to these, and change none.
        let kept = include_bytes!("../../tests/records/mark-1");
        let seen = Seen::open(kept).unwrap();
        assert_eq!((seen.store.as_str(), seen.revision), ("5eed", 42));
    }
}
