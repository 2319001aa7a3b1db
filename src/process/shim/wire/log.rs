//! The names of log files, and their lines.
//!
//! [`CURRENT`] is written to. When it is full it is renamed to the next [`archived`] name; so archived
//! files never change, and the higher number is the younger. A line:
//!
//! ```text
//! 2026-11-22T07:31:19.123Z out listening on 5161
//! ```
//! Its time is when the shim read it. What stands in place of `out` tells where it came from; a `+` behind
//! it says that it continues the line before it of the same source, which was too long, or had not ended
//! for a while.

/// The file that is written to.
pub const CURRENT: &str = "current.log";

/// The longest piece of a line, in bytes; a longer line is split.
pub const LONGEST: usize = 64 * 1024;

/// The name of a full file. Numbers start at 1 and grow by 1.
pub fn archived(number: u64) -> String {
    format!("{number:010}.log")
}

/// The number of a full file; none for another name.
pub fn number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (archived(number) == name).then_some(number)
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The standard output of the process.
    Out,
    /// Its standard error.
    Err,
    /// The shim itself: starts, ends, dropped lines.
    Shim,
}

impl Source {
    const WORDS: [(Self, &str); 3] = [(Self::Out, "out"), (Self::Err, "err"), (Self::Shim, "shim")];
}

/// One line of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was read, in milliseconds since 1970.
    pub at: u64,
    /// Where it came from.
    pub source: Source,
    /// Whether it continues the line before it of the same source.
    pub continues: bool,
    /// What was written, as it was written: any bytes but a line feed.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its end; none if it is not one.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let (at, rest) = line.split_at_checked(Time::LENGTH)?;
        let rest = rest.strip_prefix(b" ")?;
        let blank = rest.iter().position(|byte| *byte == b' ')?;
        let (word, text) = (&rest[..blank], &rest[blank + 1..]);
        let (word, continues) = match word.strip_suffix(b"+") {
            Some(word) => (word, true),
            None => (word, false),
        };
        let known = |(_, known): &&(Source, &str)| known.as_bytes() == word;
        Some(Self {
            at: Time::read(at)?,
            source: Source::WORDS.iter().find(known)?.0,
            continues,
            text,
        })
    }
}

/// Appends what stands before the text of a line.
pub fn write_head(at: &Time, source: Source, continues: bool, line: &mut Vec<u8>) {
    line.extend_from_slice(&at.0);
    line.push(b' ');
    for (_, word) in Source::WORDS.iter().filter(|(known, _)| *known == source) {
        line.extend_from_slice(word.as_bytes());
    }
    if continues {
        line.push(b'+');
    }
    line.push(b' ');
}

/// The most that [`write_head`] appends, in bytes.
pub const LONGEST_HEAD: usize = Time::LENGTH + " shim+ ".len();

/// A point in time as text: `2026-11-22T07:31:19.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time([u8; Self::LENGTH]);

impl Time {
    /// How long it is, in bytes.
    pub const LENGTH: usize = 24;

    /// Where digits stand, and what stands between them.
    const PATTERN: &[u8; Self::LENGTH] = b"0000-00-00T00:00:00.000Z";

    /// The text for milliseconds since 1970; right until the year 9999.
    pub fn new(millis: u64) -> Self {
        let (day, in_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = date(day);
        let numbers = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, in_day / 3_600_000),
            (14, 2, in_day / 60_000 % 60),
            (17, 2, in_day / 1000 % 60),
            (20, 3, in_day % 1000),
        ];
        let mut text = *Self::PATTERN;
        for (at, length, mut number) in numbers {
            for place in text[at..at + length].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        Self(text)
    }

    fn read(text: &[u8]) -> Option<u64> {
        let fits = |(byte, pattern): (&u8, &u8)| match pattern {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        };
        if text.len() != Self::LENGTH || !text.iter().zip(Self::PATTERN).all(fits) {
            return None;
        }
        let number = |at: usize, length: usize| {
            let digits = text[at..at + length].iter();
            digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
        };
        let days = days(number(0, 4), number(5, 2), number(8, 2))?;
        let minutes = (days * 24 + number(11, 2)) * 60 + number(14, 2);
        Some((minutes * 60 + number(17, 2)) * 1000 + number(20, 3))
    }
}

/// Days from 0000-03-01 to 1970-01-01. Years that begin in March have their leap day at the end.
const EPOCH: u64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const ERA: u64 = 146_097;

/// The year, month and day that are `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March is 0. Months from there on repeat as 31, 30, 31, 30, 31.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * era + year + u64::from(month <= 2), month, day)
}

/// The opposite of [`date`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_date = (1970..).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let year = is_date.then(|| year - u64::from(month <= 2))?;
    let month = if month > 2 { month - 3 } else { month + 9 };
    let (era, year) = (year / 400, year % 400);
    let in_year = (153 * month + 2) / 5 + day - 1;
    Some(era * ERA + year * 365 + year / 4 - year / 100 + in_year - EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_795_332_679_123, "2026-11-22T07:31:19.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(str::from_utf8(&Time::new(millis).0), Ok(text));
        }
    }

    #[test]
    fn only_names_of_full_files_have_a_number() {
        assert_eq!(number(&archived(7)), Some(7));
        assert_eq!(number(&archived(12_345_678_901)), Some(12_345_678_901));
        for name in [CURRENT, "7.log", "0000000007.log.gz", "+000000007.log"] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn lines_come_back(
            at in 0..250_000_000_000_000_u64, source in 0..3_usize, continues: bool, text: Vec<u8>
        ) {
            let source = Source::WORDS[source].0;
            let mut line = Vec::new();
            write_head(&Time::new(at), source, continues, &mut line);
            prop_assert!(line.len() <= LONGEST_HEAD);
            line.extend_from_slice(&text);
            prop_assert_eq!(Line::read(&line), Some(Line { at, source, continues, text: &text }));
        }

        #[test]
        fn no_line_makes_it_panic(line: Vec<u8>, month: u8) {
            let _ = Line::read(&line);
            let _ = Line::read(format!("2026-{month:02}-31T99:99:99.999Z out x").as_bytes());
        }
    }
}
