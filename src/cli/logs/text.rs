//! A line as a terminal may show it.

/// The text of a line without what would steer a terminal: escape sequences and control characters, but
/// for tabs. What is no UTF-8 is replaced.
pub(in crate::cli) fn printable(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let mut printable = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.peek() {
                // Such as colours: up to a letter or the like.
                Some('[') => {
                    rest.next();
                    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    rest.next_if(|c| matches!(c, '@'..='~'));
                }
                // Such as titles and links: up to a bell or another escape.
                Some(']') => while rest.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}')).is_some() {},
                _ => {
                    rest.next_if(|c| matches!(c, '@'..='_'));
                }
            },
            c if c.is_control() && c != '\t' => {}
            c => printable.push(c),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_left_out_and_the_rest_stays() {
        for (line, expected) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            (b"\x1b[1;31mred\x1b[0m!", "red!"),
            (b"\x1b]0;title\x07after", "after"),
            (b"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"a\rb\x08\x00c\x7f\x1bMd", "abcd"),
            (b"\xffend\x1b[", "\u{fffd}end"),
        ] {
            assert_eq!(printable(line), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_control_character_is_left(line: Vec<u8>) {
            prop_assert!(printable(&line).chars().all(|c| c == '\t' || !c.is_control()));
        }
    }
}
