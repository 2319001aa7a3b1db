//! An answer as lines of text: a tree, wrapped, with ages instead of times.
//!
//! ```text
//! service/worker  0 of 1 ready, generation 1, revision 3f… (for 12s)
//! └─ instance/worker-0  ends again and again on node qa-1 (next start in 4s)
//!    └─ instance/worker-0  exited with code 1, 3 times in a row (4s ago)
//!       → `quaestor logs worker-0 --previous` shows what it printed
//! ```

use std::fmt::Write as _;

use super::{Cause, Health};
use crate::model::Timestamp;

/// So many others are named; more are counted.
const NAMED: usize = 4;

/// So many causes of one thing are shown; more are counted.
const SHOWN: usize = 8;

/// What is wrapped is never narrower.
const NARROWEST: usize = 24;

/// What wraps a piece of text, such as a colour.
pub type Paint = fn(Health, &str) -> String;

/// No colour.
pub fn plain(_: Health, text: &str) -> String {
    text.to_owned()
}

/// `cause` and what it comes from, in lines of at most `width` characters, each with an end. Control characters are
/// taken out. `paint` colours the names of objects.
pub fn tree(cause: &Cause, now: Timestamp, width: usize, paint: Paint) -> String {
    let mut text = String::new();
    branch(&mut text, cause, now, width, ("", ""), paint);
    text
}

/// `first` stands before the first line, `rest` before the others.
fn branch(
    text: &mut String,
    cause: &Cause,
    now: Timestamp,
    width: usize,
    (first, rest): (&str, &str),
    paint: Paint,
) {
    let has_more = !cause.because.is_empty();
    let below = format!("{rest}{}", if has_more { "│  " } else { "   " });
    let object = cause.object.to_string();
    let words = format!("{}{}", sentence(cause), times(cause, now));
    let room = |before: &str| width.saturating_sub(before.chars().count()).max(NARROWEST);
    let indent = first.chars().count() + object.chars().count() + 2;
    let head = room(&" ".repeat(indent));
    let mut lines = wrapped(&words, head, room(&below)).into_iter();
    let painted = paint(cause.health, &object);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{first}{painted}  {}",
        lines.next().unwrap_or_default()
    );
    for line in lines {
        let _ = writeln!(text, "{below}{line}");
    }
    if let Some(remedy) = &cause.remedy {
        let arrow = |index| if index == 0 { "→ " } else { "  " };
        let narrower = room(&below) - 2;
        for (index, line) in wrapped(&clean(remedy), narrower, narrower)
            .iter()
            .enumerate()
        {
            let _ = writeln!(text, "{below}{}{line}", arrow(index));
        }
    }
    let hidden = cause.because.len().saturating_sub(SHOWN);
    for (index, inner) in cause.because.iter().take(SHOWN).enumerate() {
        let is_last = index + 1 == cause.because.len();
        let (corner, edge) = match is_last {
            true => ("└─ ", "   "),
            false => ("├─ ", "│  "),
        };
        let (first, rest) = (format!("{rest}{corner}"), format!("{rest}{edge}"));
        branch(text, inner, now, width, (&first, &rest), paint);
    }
    if hidden > 0 {
        let _ = writeln!(text, "{rest}└─ and {hidden} more: `-o json` shows all");
    }
}

/// The sentence, and of whom else it holds.
fn sentence(cause: &Cause) -> String {
    let mut text = clean(&cause.sentence);
    if cause.also.is_empty() {
        return text;
    }
    let named = cause.also.iter().take(NAMED).map(ToString::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match cause.also.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let _ = write!(text, "; the same holds of {named}{more}");
    text
}

/// Since when, and until when, in brackets.
fn times(cause: &Cause, now: Timestamp) -> String {
    let since = cause.since.map(|since| format!("for {}", now.age(since)));
    let until = cause.until.map(|until| match until > now {
        true => format!("next step in {}", until.age(now)),
        false => "next step due now".to_owned(),
    });
    match (since, until) {
        (None, None) => String::new(),
        (since, until) => {
            let parts: Vec<String> = since.into_iter().chain(until).collect();
            format!(" ({})", parts.join(", "))
        }
    }
}

/// The text without control characters: what others wrote must not steer a terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// `text` in lines: the first of at most `first` characters, the others of at most `rest`. A longer word has a line
/// of its own.
fn wrapped(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let most = if lines.is_empty() { first } else { rest };
        let length = line.chars().count() + 1 + word.chars().count();
        if length > most && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_longer_than_they_may_be_and_no_word_is_lost() {
        let text = "one two three four five six seven";
        let lines = wrapped(text, 9, 14);
        assert_eq!(lines, ["one two", "three four", "five six seven"]);
        assert_eq!(wrapped("averylongword x", 4, 4), ["averylongword", "x"]);
        assert_eq!(wrapped("", 4, 4), [""]);
    }
}
