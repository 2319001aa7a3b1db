//! Reads tar archives piece by piece, as they come: ustar, with the long names of GNU and pax.

use super::Piece;

/// Everything in a tar is padded to this.
const BLOCK: usize = 512;

/// A longer name or set of pax records is refused, in bytes.
const LONGEST_NOTE: u64 = 64 * 1024;

/// What the reader is in the middle of.
#[derive(Debug)]
enum State {
    /// The next block is a header.
    Header,
    /// The content of a file: so much of it, then so much padding.
    File { left: u64, padding: usize },
    /// What is said of the next entry, by its type.
    Note {
        kind: u8,
        left: u64,
        padding: usize,
        text: Vec<u8>,
    },
    /// What is of no interest.
    Skip { left: u64 },
    /// The end was read.
    Over,
}

/// A reader. It is fed bytes and gives what they mean.
#[derive(Debug)]
pub(super) struct Tar {
    state: State,
    /// Bytes of a header that is not complete.
    header: Vec<u8>,
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Tar {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header,
            header: Vec::new(),
            name: None,
            link: None,
            size: None,
        }
    }

    /// Takes in more bytes; what they say is appended to `pieces`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Over => return Ok(()),
                State::Header => {
                    let part = take(&mut bytes, BLOCK - self.header.len());
                    self.header.extend_from_slice(part);
                    if self.header.len() == BLOCK {
                        let header = std::mem::take(&mut self.header);
                        self.state = self.begin(&header, pieces)?;
                        self.finish_note(pieces)?;
                    }
                }
                State::File { left, padding } => {
                    let part = take(&mut bytes, clamp(*left));
                    *left -= part.len() as u64;
                    if !part.is_empty() {
                        pieces.push(Piece::Content(part.to_vec()));
                    }
                    if *left == 0 {
                        self.state = State::Skip {
                            left: *padding as u64,
                        };
                    }
                }
                State::Skip { left } => {
                    let part = take(&mut bytes, clamp(*left));
                    *left -= part.len() as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Note { left, text, .. } => {
                    let part = take(&mut bytes, clamp(*left));
                    *left -= part.len() as u64;
                    text.extend_from_slice(part);
                    self.finish_note(pieces)?;
                }
            }
            // Nothing of it takes bytes.
            if let State::Skip { left: 0 } = self.state {
                self.state = State::Header;
            }
        }
        Ok(())
    }

    /// Whether the archive is complete.
    pub(super) fn is_complete(&self) -> bool {
        let between = matches!(self.state, State::Header) && self.header.is_empty();
        matches!(self.state, State::Over) || between
    }

    /// What a header begins.
    fn begin(&mut self, header: &[u8], pieces: &mut Vec<Piece>) -> Result<State, String> {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(State::Over);
        }
        if checksum(header) != number(&header[148..156])? {
            return Err("it is no tar archive, or damaged".to_owned());
        }
        let kind = header[156];
        let size = match self.size.take() {
            Some(size) if !is_note(kind) => size,
            pax => {
                self.size = pax;
                number(&header[124..136])?
            }
        };
        let padding = (BLOCK - clamp(size % BLOCK as u64)) % BLOCK;
        if is_note(kind) {
            if size > LONGEST_NOTE {
                return Err("what it says of an entry is too long".to_owned());
            }
            let text = Vec::new();
            return Ok(State::Note {
                kind,
                left: size,
                padding,
                text,
            });
        }
        let name = match self.name.take() {
            Some(name) => name,
            None => plain_name(header)?,
        };
        let target = match self.link.take() {
            Some(link) => link,
            None => text(&header[157..257])?,
        };
        let rest = State::Skip {
            left: size + padding as u64,
        };
        match kind {
            b'0' | 0 | b'7' if !name.ends_with('/') => {
                let executable = number(&header[100..108])? & 0o111 != 0;
                pieces.push(Piece::File { name, executable });
                Ok(State::File {
                    left: size,
                    padding,
                })
            }
            b'5' | b'0' | 0 | b'7' => {
                pieces.push(Piece::Directory { name });
                Ok(rest)
            }
            b'2' => {
                pieces.push(Piece::Link { name, target });
                Ok(rest)
            }
            b'1' => Err(format!(
                "`{}` is a hard link, which is not unpacked: pack it as a file",
                name.escape_debug()
            )),
            b'3' | b'4' | b'6' => Err(format!(
                "`{}` is a device or pipe, which is not unpacked",
                name.escape_debug()
            )),
            _ => Ok(rest),
        }
    }

    /// Takes in what was said of the next entry, once it is complete.
    fn finish_note(&mut self, _pieces: &mut [Piece]) -> Result<(), String> {
        let State::Note {
            kind,
            left: 0,
            padding,
            text,
        } = &mut self.state
        else {
            // An empty file has no content to wait for.
            if let State::File { left: 0, padding } = self.state {
                self.state = State::Skip {
                    left: padding as u64,
                };
            }
            return Ok(());
        };
        let (kind, padding, note) = (*kind, *padding, std::mem::take(text));
        self.state = State::Skip {
            left: padding as u64,
        };
        match kind {
            b'L' => self.name = Some(self::text(&note)?),
            b'K' => self.link = Some(self::text(&note)?),
            b'x' => {
                for (key, value) in records(&note)? {
                    match key.as_str() {
                        "path" => self.name = Some(value),
                        "linkpath" => self.link = Some(value),
                        "size" => {
                            let size = value.parse();
                            self.size = Some(size.map_err(|_| "a size is no number".to_owned())?);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether an entry of that type says something of the next ones.
fn is_note(kind: u8) -> bool {
    matches!(kind, b'L' | b'K' | b'x' | b'g')
}

/// The first bytes, at most `most`.
fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (part, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    part
}

fn clamp(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A number in octal digits, or in GNU's binary form.
fn number(field: &[u8]) -> Result<u64, String> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let tail = field.iter().rev().take(8).rev();
        return Ok(tail.fold(0, |number, byte| (number << 8) | u64::from(*byte)) & (u64::MAX >> 1));
    }
    let digits: String = (field.iter())
        .map(|byte| char::from(*byte))
        .skip_while(|c| *c == ' ')
        .take_while(char::is_ascii_digit)
        .collect();
    match digits.is_empty() {
        true => Ok(0),
        false => u64::from_str_radix(&digits, 8).map_err(|_| "a number in it is none".to_owned()),
    }
}

/// The sum of all bytes, those of the sum itself counted as spaces.
fn checksum(header: &[u8]) -> u64 {
    let sum = header.iter().enumerate().map(|(at, byte)| match at {
        148..156 => u64::from(b' '),
        _ => u64::from(*byte),
    });
    sum.sum()
}

/// The text up to the first NUL.
fn text(field: &[u8]) -> Result<String, String> {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    let text = String::from_utf8(field[..end].to_vec());
    text.map_err(|_| "a name in it is no text".to_owned())
}

/// The name in a header, with the prefix of ustar.
fn plain_name(header: &[u8]) -> Result<String, String> {
    let name = text(&header[..100])?;
    let prefix = match &header[257..263] {
        b"ustar\0" => text(&header[345..500])?,
        _ => String::new(),
    };
    Ok(match prefix.is_empty() {
        true => name,
        false => format!("{prefix}/{name}"),
    })
}

/// The records of a pax header: `<length> <key>=<value>\n`, the length being that of all of it.
fn records(mut note: &[u8]) -> Result<Vec<(String, String)>, String> {
    let broken = || "what it says of an entry cannot be read".to_owned();
    let mut records = Vec::new();
    while !note.is_empty() {
        let space = note
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(broken)?;
        let length = std::str::from_utf8(&note[..space]).ok();
        let length: usize = length
            .and_then(|text| text.parse().ok())
            .ok_or_else(broken)?;
        let record = note.get(space + 1..length).ok_or_else(broken)?;
        let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
        let record = std::str::from_utf8(record).map_err(|_| broken())?;
        let (key, value) = record.split_once('=').ok_or_else(broken)?;
        records.push((key.to_owned(), value.to_owned()));
        note = &note[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with its checksum.
    fn header(name: &str, kind: u8, size: usize, target: &str) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000755");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        let sum = checksum(&block);
        block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        block
    }

    fn padded(content: &[u8]) -> Vec<u8> {
        let mut padded = content.to_vec();
        padded.resize(content.len().div_ceil(BLOCK) * BLOCK, 0);
        padded
    }

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        [header(name, kind, content.len(), ""), padded(content)].concat()
    }

    /// What is read from an archive fed in parts of `size` bytes, contents put together.
    fn read(archive: &[u8], size: usize) -> Result<Vec<Piece>, String> {
        let mut tar = Tar::new();
        let mut pieces = Vec::new();
        for part in archive.chunks(size) {
            tar.feed(part, &mut pieces)?;
        }
        if !tar.is_complete() {
            return Err("incomplete".to_owned());
        }
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Content(all)), Piece::Content(more)) => all.extend(more),
                (_, piece) => joined.push(piece),
            }
        }
        Ok(joined)
    }

    #[test]
    fn files_directories_and_links_are_read_in_any_pieces() {
        let archive = [
            entry("bin/", b'5', b""),
            entry("bin/app", b'0', &[7; 700]),
            entry("empty", b'0', b""),
            header("link", b'2', 0, "bin/app"),
            vec![0; 2 * BLOCK],
        ]
        .concat();
        let file = |name: &str| Piece::File {
            name: name.to_owned(),
            executable: true,
        };
        let expected = vec![
            Piece::Directory {
                name: "bin/".to_owned(),
            },
            file("bin/app"),
            Piece::Content(vec![7; 700]),
            file("empty"),
            Piece::Link {
                name: "link".to_owned(),
                target: "bin/app".to_owned(),
            },
        ];
        for size in [1, 13, 512, 700, 100_000] {
            assert_eq!(read(&archive, size).as_ref(), Ok(&expected), "{size}");
        }
    }

    #[test]
    fn long_names_of_gnu_and_pax_are_read() {
        let long = "d/".repeat(100) + "file";
        let pax = format!("path={long}\n");
        let length = pax.len() + 4;
        let archive = [
            entry("././@LongLink", b'L', format!("{long}\0").as_bytes()),
            entry("short", b'0', b"x"),
            entry("pax", b'x', format!("{length} {pax}").as_bytes()),
            entry("short", b'0', b"y"),
        ]
        .concat();
        let names: Vec<String> = (read(&archive, 100).unwrap().into_iter())
            .filter_map(|piece| match piece {
                Piece::File { name, .. } => Some(name),
                _ => None,
            })
            .collect();
        assert_eq!(names, [long.clone(), long]);
    }

    #[test]
    fn what_is_cut_off_damaged_or_special_is_refused() {
        let archive = entry("a", b'0', &[1; 600]);
        for cut in [1, 511, 513, 1_100] {
            assert!(read(&archive[..cut], 64).is_err(), "cut at {cut}");
        }
        let mut damaged = archive.clone();
        damaged[0] = b'b';
        assert!(read(&damaged, 64).is_err());
        for kind in [b'1', b'3', b'4', b'6'] {
            assert!(read(&entry("a", kind, b""), 64).is_err(), "{kind}");
        }
        assert!(read(b"<html>not found</html>", 64).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2_000)) {
            let _ = read(&bytes, 100);
        }
    }
}
