//! What a simulated program gets of its machine: virtual time, repeatable chance, a disk in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use quaestor::{
    host::{self, Host},
    model::{Moment, Timestamp},
};
use tokio::time::Instant;

use super::{
    chance::{Dice, SeededEntropy},
    network::{Network, ProgramId},
};

/// The wall clock when a world begins: the first second of 2027.
const BEGINNING: i64 = 1_798_761_600_000;

/// Virtual time, which is the runtime's.
#[derive(Clone)]
pub struct Clock {
    origin: Instant,
    /// How far the wall clock is off, in milliseconds.
    skew: i64,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            skew: 0,
        }
    }

    /// Since the world began.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The same clock with a wall clock that is off by so much.
    pub fn skewed(&self, millis: i64) -> Self {
        Self {
            origin: self.origin,
            skew: millis,
        }
    }
}

impl host::Clock for Clock {
    fn now(&self) -> Moment {
        Moment::new(self.origin.elapsed())
    }

    fn timestamp(&self) -> Timestamp {
        let elapsed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(BEGINNING + elapsed + self.skew)
    }

    fn sleep_until(&self, moment: Moment) -> BoxFuture<'static, ()> {
        let at = self.origin + moment.since(Moment::default());
        Box::pin(tokio::time::sleep_until(at))
    }
}

/// A disk in memory. It outlives the programs that use it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    content: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    fails: bool,
}

impl Disk {
    /// Whether writes fail from now on.
    pub fn fail(&self, fails: bool) {
        self.files().fails = fails;
    }

    /// Whether writes fail.
    pub fn fails(&self) -> bool {
        self.files().fails
    }

    /// The machine is booted anew: what lies in memory is gone, and the boot has another `name`.
    pub fn boot(&self, name: &str) {
        let mut files = self.files();
        let stays = |path: &PathBuf| !path.starts_with("/run");
        files.content.retain(|path, _| stays(path));
        files.directories.retain(stays);
        let path = "/proc/sys/kernel/random/boot_id".into();
        files.content.insert(path, name.as_bytes().to_vec());
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, Files>> {
        let files = self.files();
        if files.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(files)
    }
}

struct Lock(Disk, PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.files().locked.remove(&self.1);
    }
}

impl host::Disk for Disk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files().content.get(path).cloned())
    }

    /// Simulated processes print nothing that could be read.
    fn open(&self, _: &Path) -> io::Result<Option<Box<dyn host::Parts>>> {
        Ok(None)
    }

    fn write(&self, path: &Path, content: &[u8], _: bool) -> io::Result<()> {
        let mut files = self.writable()?;
        files.content.insert(path.to_owned(), content.to_owned());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.writable()?.content.remove(path);
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        // One that is there needs no space.
        if !self.files().directories.contains(path) {
            self.writable()?.directories.insert(path.to_owned());
        }
        Ok(())
    }

    fn create_passage(&self, path: &Path) -> io::Result<()> {
        self.create_directory(path)
    }

    fn give(&self, _: &Path, _: u32, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn read_foreign(&self, path: &Path, _: u64) -> io::Result<host::Foreign> {
        let content = self.read(path)?.ok_or(io::ErrorKind::NotFound)?;
        let path = path.to_owned();
        Ok(host::Foreign { path, content })
    }

    fn hand_over(
        &self,
        directory: &Path,
        _: &[host::Handed],
        _: Option<(u32, u32)>,
    ) -> io::Result<()> {
        self.create_directory(directory)
    }

    fn take_back(&self, directory: &Path) -> io::Result<()> {
        self.writable()?.directories.remove(directory);
        Ok(())
    }

    /// Simulated machines have no cgroups.
    fn tell(&self, _: &Path, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn remove_empty(&self, directory: &Path) -> io::Result<()> {
        self.take_back(directory)
    }

    /// Simulated services have no artifacts.
    fn plant(&self, _: &Path, _: &Path) -> io::Result<Box<dyn host::Tree>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.files();
        let inside = files
            .content
            .keys()
            .filter(|file| file.parent() == Some(path));
        Ok(inside.cloned().collect())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if !self.files().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock(self.clone(), path.to_owned())))
    }
}

/// The machine of `program`.
pub fn machine(
    clock: &Clock,
    network: &Network,
    program: ProgramId,
    dice: Dice,
    disk: &Disk,
) -> Host {
    Host {
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(dice)),
        network: network.of(program),
        disk: Arc::new(disk.clone()),
        manager: Arc::new(quaestor::host::Nobody),
        metrics: Default::default(),
    }
}
