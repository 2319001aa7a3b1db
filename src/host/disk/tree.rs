//! The disk seam for many files at once: a directory that is grown beside its place and put there when it is whole.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A directory that is being made. Dropped before it is published, it leaves nothing. Everybody may read what is
/// in it, as programs of other users are started from it.
pub trait Tree: Send {
    /// Makes a directory, and those above it.
    fn directory(&mut self, path: &Path) -> io::Result<()>;

    /// Begins a file, and ends the one before. There must be none of that name.
    fn file(&mut self, path: &Path, executable: bool) -> io::Result<()>;

    /// Appends to the file that was begun last.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes a symbolic link. There must be nothing of that name.
    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()>;

    /// Puts the directory in its place, in which there must be none.
    fn publish(&mut self) -> io::Result<()>;
}

/// One of the local file system.
pub(super) struct LocalTree {
    partial: PathBuf,
    place: PathBuf,
    file: Option<fs::File>,
    is_published: bool,
}

impl LocalTree {
    /// Grows in the empty directory `partial`, to be put at `place` on the same file system.
    pub(super) fn plant(partial: &Path, place: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        super::create(partial, 0o755)?;
        Ok(Self {
            partial: partial.to_owned(),
            place: place.to_owned(),
            file: None,
            is_published: false,
        })
    }

    /// Where something lies; what is above it exists.
    fn at(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.partial.join(path);
        if let Some(above) = path.parent() {
            super::create(above, 0o755)?;
        }
        Ok(path)
    }
}

impl Tree for LocalTree {
    fn directory(&mut self, path: &Path) -> io::Result<()> {
        super::create(&self.partial.join(path), 0o755)
    }

    fn file(&mut self, path: &Path, executable: bool) -> io::Result<()> {
        let path = self.at(path)?;
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).open(&path)?;
        super::set_mode(&path, if executable { 0o755 } else { 0o644 })?;
        self.file = Some(file);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let none = || io::Error::other("no file was begun");
        self.file.as_mut().ok_or_else(none)?.write_all(bytes)
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let path = self.at(path)?;
        #[cfg(unix)]
        return std::os::unix::fs::symlink(target, path);
        #[cfg(not(unix))]
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "no symbolic links here: {} -> {}",
                path.display(),
                target.display()
            ),
        ));
    }

    fn publish(&mut self) -> io::Result<()> {
        self.file = None;
        fs::rename(&self.partial, &self.place)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for LocalTree {
    fn drop(&mut self) {
        if !self.is_published {
            self.file = None;
            // Whatever is left is removed before the next one grows there.
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}
