//! Just enough of Rust's syntax to see what a file names: tokens, and the paths in them.

/// A piece of code. Comments are left out; a literal is one [`Kind::Other`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// `::`
    Separator,
    /// Any other character of punctuation; `"` for a literal or a lifetime.
    Other(char),
}

impl Token {
    /// Whether it is the identifier or keyword `word`.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(found) if found == word)
    }

    /// Whether it is the punctuation `mark`.
    pub(crate) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Other(mark)
    }
}

/// A path as the code spells it, `use` trees flattened: `use a::{b, c::d}` names `a::b` and `a::c::d`.
#[derive(Debug, PartialEq)]
pub(crate) struct Path {
    /// Where its last part stands, as trees may be long.
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// The tokens of a file.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let (mut tokens, mut line, mut index) = (Vec::new(), 1, 0);
    while index < text.len() {
        let start = index;
        let kind = match (at(index), at(index + 1)) {
            ('/', '/') => {
                while index < text.len() && at(index) != '\n' {
                    index += 1;
                }
                None
            }
            ('/', '*') => {
                index = end_of_comment(&text, index);
                None
            }
            ('"', _) => {
                index = end_of_quoted(&text, index);
                Some(Kind::Other('"'))
            }
            // A character is closed by a quote, a lifetime is not.
            ('\'', next) if next == '\\' || at(index + 2) == '\'' => {
                index = end_of_quoted(&text, index);
                Some(Kind::Other('"'))
            }
            ('\'', _) => {
                index += 1;
                while is_word(at(index)) {
                    index += 1;
                }
                Some(Kind::Other('"'))
            }
            (':', ':') => {
                index += 2;
                Some(Kind::Separator)
            }
            (character, _) if is_word(character) => {
                while is_word(at(index)) {
                    index += 1;
                }
                let word: String = text[start..index].iter().collect();
                if let Some(end) = end_of_prefixed(&text, &word, index) {
                    index = end;
                    Some(Kind::Other('"'))
                } else if word == "r" && at(index) == '#' {
                    // A raw identifier: its name follows.
                    index += 1;
                    None
                } else if character.is_numeric() {
                    Some(Kind::Other('"'))
                } else {
                    Some(Kind::Word(word))
                }
            }
            (character, _) => {
                index += 1;
                (!character.is_whitespace()).then_some(Kind::Other(character))
            }
        };
        if let Some(kind) = kind {
            tokens.push(Token { line, kind });
        }
        line += text[start..index.min(text.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    tokens
}

/// Past the block comment that starts at `index`; they nest.
fn end_of_comment(text: &[char], mut index: usize) -> usize {
    let mut depth = 0;
    while index < text.len() {
        match (text[index], text.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index
}

/// Past the literal whose opening quote is at `index`, where a backslash escapes.
fn end_of_quoted(text: &[char], mut index: usize) -> usize {
    let quote = text[index];
    index += 1;
    while index < text.len() && text[index] != quote {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// Past the literal that the word `prefix`, which ends at `index`, opens: `b"x"`, `r#"x"#`, `b'x'`.
fn end_of_prefixed(text: &[char], prefix: &str, index: usize) -> Option<usize> {
    let quote = |at: usize| text.get(at) == Some(&'"');
    match prefix {
        "b" | "c" if quote(index) || (prefix == "b" && text.get(index) == Some(&'\'')) => {
            Some(end_of_quoted(text, index))
        }
        "r" | "br" | "cr" => {
            let hashes = text[index..].iter().take_while(|c| **c == '#').count();
            if !quote(index + hashes) {
                return None;
            }
            let mut end = index + hashes + 1;
            while end < text.len()
                && !(quote(end) && text[end + 1..].iter().take(hashes).eq(vec![&'#'; hashes]))
            {
                end += 1;
            }
            Some(end + 1 + hashes)
        }
        _ => None,
    }
}

/// The tokens without the items under `#[cfg(test)]`; none where the whole file is (`#![cfg(test)]`).
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let inner = tokens.get(index + 1).is_some_and(|token| token.is('!'));
        let attribute = index + usize::from(inner);
        let is_test = tokens[index].is('#')
            && tokens
                .get(attribute + 1..attribute + 6)
                .is_some_and(|attribute| {
                    attribute[0].is('[')
                        && attribute[1].is_word("cfg")
                        && attribute[2].is('(')
                        && attribute[3].is_word("test")
                        && attribute[4].is(')')
                });
        if is_test && inner {
            return Vec::new();
        }
        if is_test {
            index = end_of_item(tokens, attribute + 7);
        } else {
            kept.push(tokens[index].clone());
            index += 1;
        }
    }
    kept
}

/// Past the item that starts at `index`: its block, or its semicolon where it has none.
fn end_of_item(tokens: &[Token], mut index: usize) -> usize {
    let mut depth = 0;
    while index < tokens.len() {
        match tokens[index].kind {
            Kind::Other('{' | '(' | '[') => depth += 1,
            // The end of what surrounds the item: a field without a comma.
            Kind::Other(')' | ']' | '}') if depth == 0 => return index,
            Kind::Other(')' | ']') => depth -= 1,
            Kind::Other('}') => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            Kind::Other(';') if depth == 0 => return index + 1,
            _ => {}
        }
        index += 1;
    }
    index
}

/// Every path of two or more segments, and every one that a `use` names.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if matches!(tokens[index].kind, Kind::Word(_)) {
            let used = index > 0 && tokens[index - 1].is_word("use");
            let from = paths.len();
            index = tree(tokens, index, &mut Vec::new(), &mut paths);
            if !used && paths[from..].iter().all(|path| path.segments.len() < 2) {
                paths.truncate(from);
            }
        } else {
            index += 1;
        }
    }
    paths
}

/// Adds the paths of the tree that starts at `index`, below `prefix`; returns where it ends.
fn tree(
    tokens: &[Token],
    mut index: usize,
    prefix: &mut Vec<String>,
    paths: &mut Vec<Path>,
) -> usize {
    let depth = prefix.len();
    let line = tokens[index].line;
    while let Some(token) = tokens.get(index) {
        match &token.kind {
            Kind::Word(word) => prefix.push(word.clone()),
            Kind::Other('{') => {
                index += 1;
                while index < tokens.len() && !tokens[index].is('}') {
                    index = match &tokens[index].kind {
                        // The new name of `a as b` is nobody's path.
                        Kind::Word(word) if word == "as" => index + 2,
                        Kind::Word(_) => tree(tokens, index, prefix, paths),
                        _ => index + 1,
                    };
                }
                prefix.truncate(depth);
                return index + 1;
            }
            // A glob, or generic arguments: the path up to here is what counts.
            _ => break,
        }
        index += 1;
        if tokens
            .get(index)
            .is_none_or(|token| token.kind != Kind::Separator)
        {
            break;
        }
        index += 1;
    }
    paths.push(Path {
        line,
        segments: prefix.clone(),
    });
    prefix.truncate(depth);
    index
}
