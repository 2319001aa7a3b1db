//! The disk seam: small files, written whole; large ones, read in parts.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Keeps small files, and reads large ones. Calls are short and synchronous: some kilobytes each, off
/// every hot path.
pub trait Disk: Send + Sync {
    /// The content of a file; none where there is no such file.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Opens a file that somebody else writes, to read parts of it; none where there is no such file.
    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Parts>>>;

    /// Replaces a file as a whole: after a crash it holds the old content or the new, never a part.
    /// `durable` waits until the new content survives a power cut, which takes milliseconds.
    fn write(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()>;

    /// Removes a file; succeeds where there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and those above it, readable by the owner alone.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The same, but others may pass through to what they may enter; they see no names.
    fn create_passage(&self, path: &Path) -> io::Result<()>;

    /// Lets a directory belong to a user and a group, by their numbers.
    fn give(&self, path: &Path, user: u32, group: u32) -> io::Result<()>;

    /// The files and directories in a directory, sorted; none where there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Locks a file for this process until the guard is dropped; an error of kind `WouldBlock` while
    /// another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// A file that is read in parts. It can be read to its end even when it was renamed or removed meanwhile.
pub trait Parts: Send + Sync {
    /// Reads what stands at `offset`, as much as fits or less; 0 at the end. How many bytes that was.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// What tells it from every other file, for as long as it is open: its name does not.
    fn identity(&self) -> io::Result<Identity>;
}

/// What tells a file from others that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64, u64);

/// The local file system.
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Parts>>> {
        match fs::File::open(path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let mut file = fs::File::create(&draft)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&draft, path)?;
        if durable && let Some(directory) = path.parent() {
            fs::File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        create(path, 0o700)
    }

    fn create_passage(&self, path: &Path) -> io::Result<()> {
        create(path, 0o711)
    }

    fn give(&self, path: &Path, user: u32, group: u32) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::chown(path, Some(user), Some(group));
        #[cfg(not(unix))]
        return Err(io::ErrorKind::Unsupported.into());
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(file))
    }
}

#[cfg(unix)]
impl Parts for fs::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn identity(&self) -> io::Result<Identity> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = self.metadata()?;
        Ok(Identity(metadata.dev(), metadata.ino()))
    }
}

/// Makes a directory and those above it with the permissions `mode`, where there are such.
#[cfg_attr(not(unix), allow(unused_variables, reason = "permissions are Unix's"))]
fn create(path: &Path, mode: u32) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    builder.create(path)
}
