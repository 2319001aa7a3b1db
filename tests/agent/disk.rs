//! The local disk, with a gate before every change of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use quaestor::host::{Disk, Foreign, Handed, LocalDisk, Parts, Tree};

/// Asks `gate` before every change, amid writes, and behind every change, where its answer is ignored.
pub(super) struct Gated<G>(pub(super) G);

impl<G: Fn() -> io::Result<()>> Gated<G> {
    fn around<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        (self.0)()?;
        let done = change();
        let _ = (self.0)();
        done
    }
}

impl<G: Fn() -> io::Result<()> + Send + Sync> Disk for Gated<G> {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        LocalDisk.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Parts>>> {
        LocalDisk.open(path)
    }

    fn write(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        self.around(|| {
            let mut draft = path.as_os_str().to_owned();
            draft.push(".new");
            fs::write(draft, &content[..content.len() / 2])?;
            (self.0)()?;
            LocalDisk.write(path, content, durable)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.around(|| LocalDisk.remove(path))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.around(|| LocalDisk.create_directory(path))
    }

    fn create_passage(&self, path: &Path) -> io::Result<()> {
        self.around(|| LocalDisk.create_passage(path))
    }

    fn give(&self, path: &Path, user: u32, group: u32) -> io::Result<()> {
        self.around(|| LocalDisk.give(path, user, group))
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
        self.around(|| LocalDisk.hand_over(directory, files, reader))
    }

    fn take_back(&self, directory: &Path) -> io::Result<()> {
        self.around(|| LocalDisk.take_back(directory))
    }

    fn tell(&self, file: &Path, text: &str) -> io::Result<()> {
        self.around(|| LocalDisk.tell(file, text))
    }

    fn remove_empty(&self, directory: &Path) -> io::Result<()> {
        self.around(|| LocalDisk.remove_empty(directory))
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
