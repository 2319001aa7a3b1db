//! The disk seam: small files, written whole; large ones, read in parts; directories, grown and then put in place.

mod tree;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

pub use tree::Tree;

/// Keeps small files, and reads large ones. Calls are short and synchronous: some kilobytes each, off
/// every hot path.
pub trait Disk: Send + Sync {
    /// The content of a file; none where there is no such file.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Opens a file that somebody else writes, to read parts of it; none where there is no such file.
    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Parts>>>;

    /// Replaces a file, readable by the owner alone, as a whole: after a crash it holds the old content or the new, never a part.
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

    /// The content of a regular file of at most `most` bytes, which somebody else keeps, and the file's true
    /// path: symbolic links are followed. Nothing that could hold the reader up is opened.
    fn read_foreign(&self, path: &Path, most: u64) -> io::Result<Foreign>;

    /// Replaces a directory, and all that is in it, by `files` that `reader`, a user and its group, may read;
    /// none: the owner alone. Whoever else may pass through the directory above it sees nothing in it.
    fn hand_over(
        &self,
        directory: &Path,
        files: &[Handed],
        reader: Option<(u32, u32)>,
    ) -> io::Result<()>;

    /// Removes what was handed over; succeeds where there is nothing.
    fn take_back(&self, directory: &Path) -> io::Result<()>;

    /// Writes to a file that the system made, and by which it is told something, as to those of a cgroup: in
    /// place, at once. Makes no file.
    fn tell(&self, file: &Path, text: &str) -> io::Result<()>;

    /// Removes an empty directory, such as a cgroup that nothing lives in; succeeds where there is none.
    fn remove_empty(&self, directory: &Path) -> io::Result<()>;

    /// Begins a directory, in `partial`, that will lie at `place` on the same file system. What lies in `partial` is
    /// removed.
    fn plant(&self, partial: &Path, place: &Path) -> io::Result<Box<dyn Tree>>;

    /// The files and directories in a directory, sorted; none where there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Locks a file for this process until the guard is dropped; an error of kind `WouldBlock` while
    /// another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// A file that somebody else keeps.
pub struct Foreign {
    /// Where it really lies.
    pub path: PathBuf,
    /// What it holds.
    pub content: Vec<u8>,
}

/// A file for another program.
pub struct Handed {
    /// Its name in its directory.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
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
        let mut file = create_private(fs::OpenOptions::new().create(true).truncate(true), &draft)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&draft, path)?;
        if durable && let Some(directory) = path.parent() {
            sync_directory(directory)?;
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
        create(path, 0o711)?;
        open_passage(path)
    }

    #[cfg_attr(not(unix), allow(unused_variables, reason = "numbers are Unix's"))]
    fn give(&self, path: &Path, user: u32, group: u32) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::chown(path, Some(user), Some(group));
        #[cfg(not(unix))]
        return Err(io::ErrorKind::Unsupported.into());
    }

    fn read_foreign(&self, path: &Path, most: u64) -> io::Result<Foreign> {
        let file = open_foreign(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let path = true_path(path, &file)?;
        let mut content = Vec::new();
        file.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            let text = format!("it is larger than {most} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(Foreign { path, content })
    }

    fn hand_over(
        &self,
        directory: &Path,
        files: &[Handed],
        reader: Option<(u32, u32)>,
    ) -> io::Result<()> {
        self.take_back(directory)?;
        create(directory, 0o700)?;
        for file in files {
            let path = directory.join(&file.name);
            let mut open = create_private(fs::OpenOptions::new().create_new(true), &path)?;
            open.write_all(&file.content)?;
            if let Some((user, group)) = reader {
                self.give(&path, user, group)?;
            }
            set_mode(&path, file.mode)?;
        }
        if let Some((_, group)) = reader {
            give_to_group(directory, group)?;
            set_mode(directory, 0o750)?;
        }
        Ok(())
    }

    fn take_back(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn tell(&self, file: &Path, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(file)?;
        file.write_all(text.as_bytes())
    }

    fn remove_empty(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn plant(&self, partial: &Path, place: &Path) -> io::Result<Box<dyn Tree>> {
        Ok(Box::new(tree::LocalTree::plant(partial, place)?))
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

#[cfg(windows)]
impl Parts for fs::File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // Nobody goes by the position that this changes.
        std::os::windows::fs::FileExt::seek_read(self, buffer, offset)
    }

    fn identity(&self) -> io::Result<Identity> {
        let information = winapi_util::file::information(self)?;
        let volume = information.volume_serial_number();
        Ok(Identity(volume, information.file_index()))
    }
}

/// Waits until what was done to a directory survives a power cut. Windows keeps a journal of that, and lets nobody wait.
#[cfg_attr(
    not(unix),
    allow(unused_variables, reason = "there is nothing to wait for")
)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(directory)?.sync_all()?;
    Ok(())
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

/// Lets others pass through a directory that was made when they were not to.
#[cfg_attr(not(unix), allow(unused_variables, reason = "permissions are Unix's"))]
fn open_passage(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(path)?) & 0o777;
        if mode & 0o011 != 0o011 {
            set_mode(path, mode | 0o011)?;
        }
    }
    Ok(())
}

/// Makes a file that its owner alone may read.
fn create_private(options: &mut fs::OpenOptions, path: impl AsRef<Path>) -> io::Result<fs::File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.write(true).open(path)
}

/// Opens what may turn out to be anything, without waiting for it.
fn open_foreign(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    options.read(true).open(path)
}

/// Where an open file lies. Nobody can change what a name means in between, as the file is open.
#[cfg_attr(unix, allow(unused_variables, reason = "asked by descriptor there"))]
#[cfg_attr(not(unix), allow(unused_variables, reason = "asked by path there"))]
fn true_path(path: &Path, file: &fs::File) -> io::Result<PathBuf> {
    #[cfg(unix)]
    return fs::read_link(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(file)
    ));
    #[cfg(not(unix))]
    return fs::canonicalize(path);
}

#[cfg_attr(not(unix), allow(unused_variables, reason = "permissions are Unix's"))]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(())
}

#[cfg_attr(not(unix), allow(unused_variables, reason = "groups are Unix's"))]
fn give_to_group(path: &Path, group: u32) -> io::Result<()> {
    #[cfg(unix)]
    std::os::unix::fs::chown(path, None, Some(group))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_foreign_file_is_regular_and_small_and_tells_where_it_lies() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (file, link) = (root.join("a"), root.join("b"));
        fs::write(&file, "12345").unwrap();
        symlink(&file, &link).unwrap();
        let foreign = LocalDisk.read_foreign(&link, 5).unwrap();
        assert_eq!((foreign.path, foreign.content), (file, b"12345".to_vec()));
        let large = LocalDisk.read_foreign(&link, 4).err().unwrap();
        assert!(large.to_string().contains("larger than 4 bytes"), "{large}");
        let fifo = root.join("fifo");
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        );
        made.unwrap();
        for other in [fifo, root.clone(), "/dev/zero".into()] {
            let refused = LocalDisk.read_foreign(&other, 5).err().unwrap();
            assert!(
                refused.to_string().contains("not a regular file"),
                "{refused}"
            );
        }
    }

    #[test]
    fn files_that_are_handed_over_have_their_permissions_and_replace_all_before() {
        let directory = tempfile::tempdir().unwrap();
        let handed = directory.path().join("handed");
        let file = |name: &str, mode| Handed {
            name: name.to_owned(),
            content: b"x".to_vec(),
            mode,
        };
        LocalDisk
            .hand_over(&handed, &[file("old", 0o400)], None)
            .unwrap();
        LocalDisk
            .hand_over(&handed, &[file("new", 0o640)], None)
            .unwrap();
        assert_eq!(LocalDisk.list(&handed).unwrap(), [handed.join("new")]);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&handed), mode(&handed.join("new"))), (0o700, 0o640));
        LocalDisk.take_back(&handed).unwrap();
        LocalDisk.take_back(&handed).unwrap();
        assert!(!handed.exists());
    }

    #[test]
    fn what_is_written_is_its_owners_alone_and_passages_open() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        LocalDisk.write(&file, b"x", false).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let passage = directory.path().join("p");
        fs::create_dir(&passage).unwrap();
        fs::set_permissions(&passage, fs::Permissions::from_mode(0o700)).unwrap();
        LocalDisk.create_passage(&passage).unwrap();
        assert_eq!(fs::metadata(&passage).unwrap().mode() & 0o777, 0o711);
    }
}
