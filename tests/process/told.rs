//! The local disk, but for what the system tells of this program.

use std::{
    io,
    path::{Path, PathBuf},
};

use quaestor::host::{Disk, Foreign, Handed, LocalDisk, Parts, Tree};

/// Tells what lies in a directory instead of what lies in `/proc/self`.
pub(super) struct Told(pub(super) PathBuf);

impl Disk for Told {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match path.strip_prefix("/proc/self") {
            Ok(name) => LocalDisk.read(&self.0.join(name)),
            Err(_) => LocalDisk.read(path),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Parts>>> {
        LocalDisk.open(path)
    }

    fn write(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        LocalDisk.write(path, content, durable)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directory(path)
    }

    fn create_passage(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_passage(path)
    }

    fn give(&self, path: &Path, user: u32, group: u32) -> io::Result<()> {
        LocalDisk.give(path, user, group)
    }

    fn read_foreign(&self, path: &Path, most: u64) -> io::Result<Foreign> {
        LocalDisk.read_foreign(path, most)
    }

    fn hand_over(
        &self,
        directory: &Path,
        files: &[Handed],
        reader: Option<(u32, u32)>,
    ) -> io::Result<()> {
        LocalDisk.hand_over(directory, files, reader)
    }

    fn take_back(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.take_back(directory)
    }

    fn tell(&self, file: &Path, text: &str) -> io::Result<()> {
        LocalDisk.tell(file, text)
    }

    fn remove_empty(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.remove_empty(directory)
    }

    fn plant(&self, partial: &Path, place: &Path) -> io::Result<Box<dyn Tree>> {
        LocalDisk.plant(partial, place)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        LocalDisk.list(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        LocalDisk.lock(path)
    }
}
