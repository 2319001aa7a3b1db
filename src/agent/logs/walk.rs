//! From file to file of one log.
//!
//! A file is read by its handle, so that it does not matter when it is renamed or removed. What comes
//! behind it is found by number: the current file will get the number behind the last full one.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    host::{Disk, Parts},
    model::LogPosition,
    process::shim::wire::log::{CURRENT, LONGEST, LONGEST_HEAD, archived, number},
};

use super::choice;

/// How much is read at once, in bytes: any line fits.
const CHUNK: usize = 2 * LONGEST;
const _: () = assert!(CHUNK > LONGEST + LONGEST_HEAD);

/// Goes through the files of a log, the oldest first.
pub(super) struct Walk {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    open: Option<Open>,
    /// The number of the file that was read first.
    began_at: Option<u64>,
    /// The number of the file that was read last; 0 before the first.
    last: u64,
    finished: bool,
    /// Behind the last line that was read.
    position: LogPosition,
    buffer: Vec<u8>,
}

/// The file that is being read.
struct Open {
    file: Box<dyn Parts>,
    /// The number that it has, or will have.
    number: u64,
    /// Whether nothing is written to it any more.
    is_full: bool,
    /// Where the next line begins. Not behind a line that has not ended: such a line may yet be cut off and
    /// written again.
    offset: u64,
}

/// What a walk comes upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Whole lines.
    Lines(&'a [u8]),
    /// Files were removed before they were read.
    Missed,
    /// Nothing more, for now.
    End,
}

impl Walk {
    pub(super) fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self {
            disk,
            directory,
            open: None,
            began_at: None,
            last: 0,
            finished: false,
            position: LogPosition::default(),
            buffer: vec![0; CHUNK],
        }
    }

    /// Opens the first file. Its number; none where there is no file.
    pub(super) fn begin(&mut self) -> io::Result<Option<u64>> {
        if self.open.is_none() {
            self.open_next()?;
        }
        Ok(self.began_at)
    }

    /// The number of the file that was read first.
    pub(super) fn began_at(&self) -> Option<u64> {
        self.began_at
    }

    /// Behind the last line that was read, here or by who read before: where another walk goes on.
    pub(super) fn position(&self) -> LogPosition {
        self.position
    }

    /// Goes on behind `position`, to be called before anything else. False: what stood there is gone, and this
    /// begins with the oldest line that is left.
    pub(super) fn resume(&mut self, position: LogPosition) -> io::Result<bool> {
        if position == LogPosition::default() {
            return Ok(true);
        }
        self.position = position;
        // This comes first: if it is renamed now, it is found by its new name.
        let current = self.disk.open(&self.directory.join(CURRENT))?;
        let full = (self.disk).open(&self.directory.join(archived(position.file)))?;
        for (file, is_full) in [(full, true), (current, false)] {
            let Some(file) = file else {
                continue;
            };
            if self.ends_line_at(&*file, position)? {
                self.began_at = Some(position.file);
                self.open = Some(Open {
                    file,
                    number: position.file,
                    is_full,
                    offset: position.offset,
                });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the line that `position` is behind ends there in `file`.
    fn ends_line_at(&mut self, file: &dyn Parts, position: LogPosition) -> io::Result<bool> {
        let start = position.offset.saturating_sub(CHUNK as u64);
        let length = (position.offset - start) as usize;
        let read = file.read_at(start, &mut self.buffer[..length])?;
        let text = &self.buffer[..read];
        let is_whole = read == length && text.ends_with(b"\n");
        Ok(is_whole && choice::last_time(text) == Some(position.at))
    }

    /// From now on there is nothing more.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> io::Result<Step<'_>> {
        while !self.finished {
            let Some(open) = &mut self.open else {
                match self.open_next()? {
                    Some(true) => return Ok(Step::Missed),
                    Some(false) => continue,
                    None => break,
                }
            };
            let length = open.file.read_at(open.offset, &mut self.buffer)?;
            let whole = match whole_lines(&self.buffer[..length]) {
                // No line of ours is so long.
                0 if length == self.buffer.len() => length,
                whole => whole,
            };
            if whole > 0 {
                open.offset += whole as u64;
                let lines = &self.buffer[..whole];
                self.position = LogPosition {
                    file: open.number,
                    offset: open.offset,
                    at: choice::last_time(lines).unwrap_or(self.position.at),
                };
                return Ok(Step::Lines(lines));
            }
            if open.is_full {
                self.last = open.number;
                self.open = None;
                continue;
            }
            // Once it has another name nothing is added to it; but something may have been since it was read.
            let current = self.disk.open(&self.directory.join(CURRENT))?;
            open.is_full = match current {
                Some(current) => current.identity()? != open.file.identity()?,
                None => true,
            };
            if !open.is_full {
                break;
            }
        }
        Ok(Step::End)
    }

    /// Opens the file behind the last one. Whether others in between are gone; none when there is no file yet.
    fn open_next(&mut self) -> io::Result<Option<bool>> {
        loop {
            // This comes first: if it is renamed now, its new name is among those that are listed.
            let current = self.disk.open(&self.directory.join(CURRENT))?;
            let files = self.disk.list(&self.directory)?;
            let numbers = files.iter().filter_map(|path| {
                let name = path.file_name()?.to_str()?;
                number(name).filter(|number| *number > self.last)
            });
            let (file, number, is_full) = match (numbers.min(), current) {
                (Some(number), _) => {
                    let file = self.disk.open(&self.directory.join(archived(number)))?;
                    (file, number, true)
                }
                (None, Some(current)) => (Some(current), self.last + 1, false),
                (None, None) => return Ok(None),
            };
            // Otherwise it was removed at this moment.
            if let Some(file) = file {
                let is_first = self.began_at.is_none();
                self.began_at.get_or_insert(number);
                self.open = Some(Open {
                    file,
                    number,
                    is_full,
                    offset: 0,
                });
                return Ok(Some(!is_first && number > self.last + 1));
            }
        }
    }
}

/// How many bytes of `text` are whole lines.
fn whole_lines(text: &[u8]) -> usize {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    end.map_or(0, |end| end + 1)
}
