//! Unpacks what was fetched, as it comes: tar.gz, tar, zip, or a single file as it is.

mod inside;
mod tar;
mod zip;

use std::{io::Write as _, path::Path};

use flate2::write::MultiGzDecoder;

use crate::host::{Disk, Tree};
use inside::Inside;
use tar::Tar;

/// What is unpacked may be so many times as large as what was fetched may be: more is no software.
pub(super) const MOST_GROWTH: u64 = 10;

/// Files, directories and links in one archive.
const MOST_ENTRIES: usize = 200_000;

/// What an archive holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// A directory.
    Directory { name: String },
    /// The beginning of a file.
    File { name: String, executable: bool },
    /// Some of that file's content.
    Content(Vec<u8>),
    /// A symbolic link.
    Link { name: String, target: String },
}

/// Puts pieces where they belong, and nothing anywhere else.
struct Unpacker {
    inside: Inside,
    tree: Box<dyn Tree>,
    entries: usize,
    bytes: u64,
    most: u64,
}

/// How something is packed.
enum Packing {
    TarGz(Box<MultiGzDecoder<Vec<u8>>>, Tar),
    Tar(Tar),
    /// Read once it is complete.
    Zip,
    /// Not at all.
    File,
}

/// What is being unpacked.
pub(super) struct Unpacking {
    packing: Packing,
    unpacker: Unpacker,
}

impl Unpacking {
    /// Unpacks what is called `name` into `tree`, at most `most` bytes.
    pub(super) fn begin(name: &str, tree: Box<dyn Tree>, most: u64) -> Result<Self, String> {
        let mut unpacker = Unpacker {
            inside: Inside::default(),
            tree,
            entries: 0,
            bytes: 0,
            most,
        };
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let packing = if ends(&[".tar.gz", ".tgz"]) {
            Packing::TarGz(Box::new(MultiGzDecoder::new(Vec::new())), Tar::new())
        } else if ends(&[".tar"]) {
            Packing::Tar(Tar::new())
        } else if ends(&[".zip"]) {
            Packing::Zip
        } else {
            unpacker.put(Piece::File {
                name: name.to_owned(),
                executable: true,
            })?;
            Packing::File
        };
        Ok(Self { packing, unpacker })
    }

    /// Whether it has to be kept as it comes, and given to [`Unpacking::finish`].
    pub(super) fn wants_all(&self) -> bool {
        matches!(self.packing, Packing::Zip)
    }

    /// Takes in what comes next.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut pieces = Vec::new();
        match &mut self.packing {
            Packing::TarGz(gzip, tar) => {
                // Small parts, so that what grows a thousandfold is seen to do so in time.
                for part in bytes.chunks(4_096) {
                    let unzipped = gzip.write_all(part);
                    unzipped.map_err(|error| format!("it is no gzip, or damaged: {error}"))?;
                    tar.feed(&std::mem::take(gzip.get_mut()), &mut pieces)?;
                    self.unpacker.put_all(&mut pieces)?;
                }
            }
            Packing::Tar(tar) => tar.feed(bytes, &mut pieces)?,
            Packing::Zip => {}
            Packing::File => pieces.push(Piece::Content(bytes.to_vec())),
        }
        self.unpacker.put_all(&mut pieces)
    }

    /// All of it came: what is left is unpacked, and the whole is put where it belongs. `kept` and its size in
    /// bytes: where it was kept, if it had to be.
    pub(super) async fn finish(
        mut self,
        disk: &dyn Disk,
        kept: Option<(&Path, u64)>,
    ) -> Result<(), String> {
        match &mut self.packing {
            Packing::TarGz(gzip, tar) => {
                let finished = gzip.try_finish();
                finished.map_err(|error| format!("its gzip is cut off: {error}"))?;
                let mut pieces = Vec::new();
                tar.feed(&std::mem::take(gzip.get_mut()), &mut pieces)?;
                self.unpacker.put_all(&mut pieces)?;
            }
            Packing::Zip => {
                let opened = kept.map(|(path, size)| (disk.open(path), size));
                let Some((Ok(Some(file)), size)) = opened else {
                    return Err("what was fetched cannot be read again".to_owned());
                };
                zip::unpack(&*file, size, &mut self.unpacker).await?;
            }
            Packing::Tar(_) | Packing::File => {}
        }
        let complete = match &self.packing {
            Packing::TarGz(_, tar) | Packing::Tar(tar) => tar.is_complete(),
            Packing::Zip | Packing::File => true,
        };
        if !complete {
            return Err("the tar archive is cut off".to_owned());
        }
        let published = self.unpacker.tree.publish();
        published.map_err(|error| format!("it cannot be put in its place: {error}"))
    }
}

impl Unpacker {
    fn put_all(&mut self, pieces: &mut Vec<Piece>) -> Result<(), String> {
        pieces.drain(..).try_for_each(|piece| self.put(piece))
    }

    fn put(&mut self, piece: Piece) -> Result<(), String> {
        self.entries += usize::from(!matches!(piece, Piece::Content(_)));
        if self.entries > MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} entries"));
        }
        let name = match &piece {
            Piece::Directory { name } | Piece::File { name, .. } | Piece::Link { name, .. } => {
                name.clone()
            }
            Piece::Content(_) => String::new(),
        };
        let written = match piece {
            Piece::Directory { name } => match self.inside.path(&name)? {
                Some(path) => self.tree.directory(&path),
                None => Ok(()),
            },
            Piece::File { name, executable } => match self.inside.path(&name)? {
                Some(path) => self.tree.file(&path, executable),
                None => return Err("it has a file without a name".to_owned()),
            },
            Piece::Content(bytes) => {
                self.bytes += bytes.len() as u64;
                if self.bytes > self.most {
                    return Err(format!(
                        "unpacked it is larger than {} bytes, {MOST_GROWTH} times what it may be packed",
                        self.most
                    ));
                }
                self.tree.append(&bytes)
            }
            Piece::Link { name, target } => match self.inside.path(&name)? {
                Some(path) => {
                    self.inside.link(&path, &target)?;
                    self.tree.link(&path, Path::new(&target))
                }
                None => return Err("it has a link without a name".to_owned()),
            },
        };
        written.map_err(|error| match name.is_empty() {
            true => format!("it cannot be written: {error}"),
            false => format!("`{}` cannot be written: {error}", name.escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests;
