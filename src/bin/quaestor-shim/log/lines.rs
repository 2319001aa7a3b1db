//! Lines out of chunks.

use crate::wire::log::LONGEST;

/// How much room for a partial line is kept when none is there, in bytes.
const KEPT: usize = 4096;

/// The lines of one stream.
#[derive(Default)]
pub(super) struct Lines {
    /// What came since the last line end; shorter than [`LONGEST`].
    partial: Vec<u8>,
    /// Whether the line that `partial` belongs to has begun in a piece before.
    continues: bool,
}

/// A line, or a part of one. Its text is in two parts, so that it need not be copied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) continues: bool,
    pub(super) text: [&'a [u8]; 2],
}

impl Lines {
    pub(super) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Takes a chunk and gives out every line that ends in it, and pieces of lines that are too long.
    pub(super) fn take(&mut self, mut chunk: &[u8], mut give: impl FnMut(Piece<'_>)) {
        while !chunk.is_empty() {
            let room = LONGEST - self.partial.len();
            let window = &chunk[..chunk.len().min(room + 1)];
            let line_end = window.iter().position(|byte| *byte == b'\n');
            let (text, rest) = match line_end {
                Some(end) => (&chunk[..end], &chunk[end + 1..]),
                None if chunk.len() > room => chunk.split_at(room),
                None => {
                    self.partial.extend_from_slice(chunk);
                    return;
                }
            };
            // A line that was given out whole, for its length or its age, has nothing left but its end.
            if !(self.continues && self.partial.is_empty() && text.is_empty()) {
                let text = [self.partial.as_slice(), text];
                give(Piece {
                    continues: self.continues,
                    text,
                });
            }
            self.clear(line_end.is_none());
            chunk = rest;
        }
    }

    /// Gives out the partial line.
    pub(super) fn flush(&mut self, mut give: impl FnMut(Piece<'_>)) {
        if self.has_partial() {
            let text = [self.partial.as_slice(), &[]];
            give(Piece {
                continues: self.continues,
                text,
            });
            self.clear(true);
        }
    }

    fn clear(&mut self, continues: bool) {
        self.partial.clear();
        self.partial.shrink_to(KEPT);
        self.continues = continues;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces of some chunks: whether each continues, and its text.
    fn pieces(chunks: &[&[u8]]) -> Vec<(bool, Vec<u8>)> {
        let (mut lines, mut pieces) = (Lines::default(), Vec::new());
        let mut give = |piece: Piece<'_>| pieces.push((piece.continues, piece.text.concat()));
        for chunk in chunks {
            lines.take(chunk, &mut give);
        }
        lines.flush(&mut give);
        pieces
    }

    #[test]
    fn a_line_of_the_greatest_length_is_whole_and_a_longer_one_is_split() {
        let mut text = vec![b'x'; LONGEST];
        text.push(b'\n');
        assert_eq!(pieces(&[&text]), [(false, vec![b'x'; LONGEST])]);
        text.insert(0, b'x');
        let rest = vec![b'x'];
        assert_eq!(
            pieces(&[&text]),
            [(false, vec![b'x'; LONGEST]), (true, rest)]
        );
    }

    #[test]
    fn what_was_flushed_is_continued_and_its_bare_end_is_no_line() {
        let (mut lines, mut pieces) = (Lines::default(), Vec::new());
        let mut give = |piece: Piece<'_>| pieces.push((piece.continues, piece.text.concat()));
        lines.take(b"name? ", &mut give);
        lines.flush(&mut give);
        lines.take(b"Bob\n", &mut give);
        lines.take(b"age? ", &mut give);
        lines.flush(&mut give);
        lines.take(b"\n\nend\n", &mut give);
        let expected = [
            (false, "name? "),
            (true, "Bob"),
            (false, "age? "),
            (false, ""),
            (false, "end"),
        ];
        assert_eq!(
            pieces,
            expected.map(|(continues, text)| (continues, text.into()))
        );
    }

    proptest! {
        #[test]
        fn pieces_put_together_are_the_lines_however_they_were_cut(
            lines in prop::collection::vec(
                prop_oneof![
                    "[a-z]{0,9}",
                    (LONGEST - 2..2 * LONGEST + 2).prop_map(|length| "y".repeat(length)),
                ],
                0..6,
            ),
            cut in 1..100_000_usize,
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let mut joined: Vec<Vec<u8>> = Vec::new();
            for (continues, piece) in pieces(&chunks) {
                prop_assert!(piece.len() <= LONGEST);
                match joined.last_mut() {
                    Some(line) if continues => line.extend(piece),
                    _ => joined.push(piece),
                }
            }
            prop_assert_eq!(joined, lines.iter().map(|l| l.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
