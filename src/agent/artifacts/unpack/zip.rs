//! Reads zip archives: the directory at their end, then each entry. Without encryption and zip64.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Piece, Unpacker};
use crate::host::Parts;

/// The record at the end, without its comment.
const END: usize = 22;

/// The longest comment.
const LONGEST_COMMENT: usize = 65_535;

/// An entry of the directory, without its name.
const ENTRY: usize = 46;

/// What stands before the content of an entry, without its name.
const LOCAL: usize = 30;

/// A larger directory is refused, in bytes.
const LARGEST_DIRECTORY: u64 = 64 * 1024 * 1024;

/// So much is read and written at a time.
const CHUNK: usize = 64 * 1024;

/// An entry of the directory.
struct Entry {
    name: String,
    /// 0: stored, 8: deflated.
    method: u16,
    packed: u64,
    size: u64,
    crc: u32,
    /// Where its local header is.
    offset: u64,
    /// Unix permissions and kind, or 0.
    mode: u32,
}

/// Unpacks the archive of `size` bytes in `file`. Lets others go on between the chunks.
pub(super) async fn unpack(
    file: &dyn Parts,
    size: u64,
    unpacker: &mut Unpacker,
) -> Result<(), String> {
    for entry in directory(file, size)? {
        let is_link = entry.mode & 0o170_000 == 0o120_000;
        if is_link {
            let mut target = Vec::new();
            extract(file, &entry, &mut |bytes| {
                target.extend_from_slice(bytes);
                match target.len() > 4_096 {
                    true => Err("a symbolic link has too long a target".to_owned()),
                    false => Ok(()),
                }
            })
            .await?;
            let target = String::from_utf8(target).map_err(|_| "a link's target is no text")?;
            let name = entry.name;
            unpacker.put(Piece::Link { name, target })?;
        } else if entry.name.ends_with('/') {
            unpacker.put(Piece::Directory { name: entry.name })?;
        } else {
            unpacker.put(Piece::File {
                name: entry.name.clone(),
                executable: entry.mode & 0o111 != 0,
            })?;
            extract(file, &entry, &mut |bytes| {
                unpacker.put(Piece::Content(bytes.to_vec()))
            })
            .await?;
        }
    }
    Ok(())
}

/// Gives the content of an entry to `take`, and checks that it is whole.
async fn extract(
    file: &dyn Parts,
    entry: &Entry,
    take: &mut (dyn FnMut(&[u8]) -> Result<(), String> + Send),
) -> Result<(), String> {
    let broken = || format!("the entry `{}` is damaged", entry.name.escape_debug());
    let mut local = [0; LOCAL];
    read_exactly(file, entry.offset, &mut local)?;
    if local[..4] != *b"PK\x03\x04" {
        return Err(broken());
    }
    let before = LOCAL as u64 + u64::from(short(&local, 26)) + u64::from(short(&local, 28));
    let mut at = entry.offset + before;
    let mut left = entry.packed;
    let mut inflate = Decompress::new(false);
    let mut crc = flate2::Crc::new();
    let (mut packed, mut plain) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut written = 0;
    let mut is_over = false;
    while left > 0 && !is_over {
        let part = packed.len().min(usize::try_from(left).unwrap_or(CHUNK));
        read_exactly(file, at, &mut packed[..part])?;
        at += part as u64;
        left -= part as u64;
        let mut rest = &packed[..part];
        loop {
            let bytes = match entry.method {
                0 => {
                    let bytes = rest;
                    rest = &[];
                    bytes
                }
                _ => {
                    let (read, made) = (inflate.total_in(), inflate.total_out());
                    let status = inflate.decompress(rest, &mut plain, FlushDecompress::None);
                    is_over = status.map_err(|_| broken())? == Status::StreamEnd;
                    let read = usize::try_from(inflate.total_in() - read).map_err(|_| broken())?;
                    let made = usize::try_from(inflate.total_out() - made).map_err(|_| broken())?;
                    rest = &rest[read..];
                    if read == 0 && made == 0 && !is_over {
                        break;
                    }
                    &plain[..made]
                }
            };
            written += bytes.len() as u64;
            if written > entry.size {
                return Err(broken());
            }
            crc.update(bytes);
            take(bytes)?;
            if is_over || (rest.is_empty() && bytes.len() < CHUNK) {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    match written == entry.size && crc.sum() == entry.crc {
        true => Ok(()),
        false => Err(broken()),
    }
}

/// The entries that the archive says it has.
fn directory(file: &dyn Parts, size: u64) -> Result<Vec<Entry>, String> {
    let none = || "it is no zip archive, or cut off".to_owned();
    let tail = size.min((END + LONGEST_COMMENT) as u64);
    let mut end = vec![0; usize::try_from(tail).map_err(|_| none())?];
    read_exactly(file, size - tail, &mut end)?;
    let start = (0..=end.len().saturating_sub(END)).rev();
    let at = start
        .into_iter()
        .find(|at| end[*at..].starts_with(b"PK\x05\x06"));
    let end = at.and_then(|at| end.get(at..at + END)).ok_or_else(none)?;
    let (count, length, offset) = (short(end, 10), long(end, 12), long(end, 16));
    if count == u16::MAX || offset == u32::MAX {
        return Err("it is a zip64 archive, which is not unpacked: use tar.gz".to_owned());
    }
    let length = u64::from(length);
    if length > LARGEST_DIRECTORY || u64::from(offset) + length > size {
        return Err(none());
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| none())?];
    read_exactly(file, u64::from(offset), &mut bytes)?;
    let mut entries = Vec::new();
    let mut rest = bytes.as_slice();
    for _ in 0..count {
        let head = rest
            .get(..ENTRY)
            .filter(|head| head.starts_with(b"PK\x01\x02"));
        let head = head.ok_or_else(none)?;
        let name_length = usize::from(short(head, 28));
        let more = usize::from(short(head, 30)) + usize::from(short(head, 32));
        let name = rest.get(ENTRY..ENTRY + name_length).ok_or_else(none)?;
        let name = String::from_utf8(name.to_vec());
        let name = name.map_err(|_| "a name in it is no text".to_owned())?;
        let shown = name.escape_debug().to_string();
        let method = short(head, 10);
        if short(head, 8) & 1 != 0 {
            return Err(format!("the entry `{shown}` is encrypted"));
        }
        if ![0, 8].contains(&method) {
            return Err(format!(
                "the entry `{shown}` is packed in a way that is not known ({method})"
            ));
        }
        let (packed, size) = (long(head, 20), long(head, 24));
        if packed == u32::MAX || size == u32::MAX {
            return Err("it is a zip64 archive, which is not unpacked: use tar.gz".to_owned());
        }
        // Permissions stand there only where a Unix packed it.
        let mode = match head[5] {
            3 => long(head, 38) >> 16,
            _ => 0,
        };
        entries.push(Entry {
            name,
            method,
            packed: packed.into(),
            size: size.into(),
            crc: long(head, 16),
            offset: long(head, 42).into(),
            mode,
        });
        rest = rest.get(ENTRY + name_length + more..).ok_or_else(none)?;
    }
    Ok(entries)
}

fn read_exactly(file: &dyn Parts, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), String> {
    while !buffer.is_empty() {
        let read = file.read_at(offset, buffer);
        match read.map_err(|error| format!("it cannot be read again: {error}"))? {
            0 => return Err("it is cut off".to_owned()),
            read => {
                offset += read as u64;
                buffer = &mut buffer[read..];
            }
        }
    }
    Ok(())
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
