//! The rotated files: `current.log` is written to, and renamed when it is full.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use crate::{
    clock, place,
    wire::{
        log::{CURRENT, Source, Time, archived, number, write_head},
        program::LogLimits,
    },
};

/// The directory's files. Opened when something is to be written, and again after an error.
#[derive(Default)]
pub(super) struct Files {
    current: Option<Current>,
    /// How many lines are missing behind what was written.
    lost: u64,
}

struct Current {
    file: File,
    /// How much it holds, in bytes: whole lines.
    size: u64,
}

impl Files {
    /// Writes lines. Those that the disk does not take are lost.
    pub(super) fn write(&mut self, lines: &[u8], limits: LogLimits) {
        if self.say_lost(limits).is_err() {
            self.lost += count(lines);
            return;
        }
        let mut left = lines;
        if self.try_write(&mut left, limits).is_err() {
            self.lost += count(left);
        }
    }

    /// Takes note of lines that are missing behind those written last.
    pub(super) fn lost(&mut self, lines: u64, limits: LogLimits) {
        if lines > 0 {
            self.lost += lines;
            // If it cannot be said now, it is with the next lines.
            let _ = self.say_lost(limits);
        }
    }

    /// Says how many lines are missing.
    fn say_lost(&mut self, limits: LogLimits) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let mut line = Vec::new();
        write_head(&Time::new(clock::wall()), Source::Shim, false, &mut line);
        let _ = writeln!(line, "dropped {} lines", self.lost);
        self.try_write(&mut line.as_slice(), limits)?;
        self.lost = 0;
        Ok(())
    }

    /// Writes lines, and takes those off that were.
    fn try_write(&mut self, lines: &mut &[u8], limits: LogLimits) -> io::Result<()> {
        while !lines.is_empty() {
            let current = match &mut self.current {
                Some(current) => current,
                none => none.insert(Current::open()?),
            };
            let room = limits.max_bytes.saturating_sub(current.size);
            let part = match whole_lines(lines, room) {
                0 if current.size > 0 => {
                    self.current = None;
                    rotate(limits.files)?;
                    continue;
                }
                // One line is longer than a file may be.
                0 => first_line(lines),
                part => part,
            };
            let written = current.append(&lines[..part]);
            let failed = written < part;
            *lines = &lines[written..];
            if failed {
                self.current = None;
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Current {
    fn open() -> io::Result<Self> {
        let path = within(CURRENT)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path)?;
        let size = file.metadata()?.len();
        let mut current = Self { file, size };
        if !current.ends_a_line()? {
            // A shim was killed while it wrote.
            current.append(b"\n");
        }
        Ok(current)
    }

    fn ends_a_line(&self) -> io::Result<bool> {
        let mut last = *b"\n";
        if self.size > 0 {
            let mut file = &self.file;
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        Ok(last == *b"\n")
    }

    /// Appends lines, as many whole ones as the disk takes. How many bytes that were.
    fn append(&mut self, lines: &[u8]) -> usize {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => break,
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let whole = whole_lines(&lines[..written], u64::MAX);
        self.size += whole as u64;
        if whole < written {
            // No torn line stays. This gives room back, so that it works on a full disk.
            let _ = self.file.set_len(self.size);
        }
        whole
    }
}

/// Renames the current file, and removes the oldest beyond what is kept.
fn rotate(files: u32) -> io::Result<()> {
    let mut full = full_files()?;
    let next = full.last().map_or(1, |last| last + 1);
    match fs::rename(within(CURRENT)?, within(&archived(next))?) {
        Ok(()) => full.push(next),
        // Somebody has cleaned up.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let kept = files.saturating_sub(1) as usize;
    for number in &full[..full.len().saturating_sub(kept)] {
        fs::remove_file(within(&archived(*number))?)?;
    }
    Ok(())
}

/// The numbers of full files, the oldest first.
fn full_files() -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(place::logs()?)? {
        numbers.extend(entry?.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn within(name: &str) -> io::Result<PathBuf> {
    Ok(place::logs()?.join(name))
}

/// How many bytes of `text` are whole lines, at most `most`.
fn whole_lines(text: &[u8], most: u64) -> usize {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(text.len());
    let end = text[..most].iter().rposition(|byte| *byte == b'\n');
    end.map_or(0, |end| end + 1)
}

/// How many bytes the first line has.
fn first_line(text: &[u8]) -> usize {
    let end = text.iter().position(|byte| *byte == b'\n');
    end.map_or(text.len(), |end| end + 1)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}
