//! Values by name, as text: `name=value`, one a line in records, one a word in messages.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    str::FromStr,
};

/// Values by name, in order. A name may occur more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, OsString)>);

/// A text that does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Fields {
    /// Adds a value.
    pub fn add(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.0.push((name.to_owned(), value.as_ref().to_owned()));
    }

    /// Adds what its `Display` shows.
    pub fn show(&mut self, name: &str, value: impl fmt::Display) {
        self.add(name, value.to_string());
    }

    /// The last value of a name.
    pub fn find(&self, name: &str) -> Option<&OsStr> {
        self.all(name).last()
    }

    /// All values of a name, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a OsStr> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_os_str())
    }

    /// The value of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &str) -> Result<&OsStr, Malformed> {
        self.find(name)
            .ok_or_else(|| Malformed(format!("`{name}` is missing")))
    }

    /// The value of a name, parsed.
    ///
    /// # Errors
    /// When there is none, or it does not parse.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<T, Malformed> {
        parse(name, self.get(name)?)
    }

    /// The value of a name, parsed; none where the name does not occur.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn parse_if_there<T: FromStr>(&self, name: &str) -> Result<Option<T>, Malformed> {
        self.find(name).map(|value| parse(name, value)).transpose()
    }

    /// Appends `name=value` for each field, each behind `before`.
    pub fn write(&self, before: char, text: &mut String) {
        for (name, value) in &self.0 {
            text.push(before);
            text.push_str(name);
            text.push('=');
            escape(value, text);
        }
    }

    /// Reads words of the form `name=value`.
    ///
    /// # Errors
    /// At a word without `=`, or with a broken escape.
    pub fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, Malformed> {
        let field = |word: &str| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| Malformed(format!("`{word}` is not a field: it has no `=`")))?;
            Ok((name.to_owned(), unescape(value)?))
        };
        words.map(field).collect::<Result<_, _>>().map(Self)
    }
}

/// Parses one value.
///
/// # Errors
/// When it is not what is wanted.
pub fn parse<T: FromStr>(name: &str, value: &OsStr) -> Result<T, Malformed> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Malformed(format!("`{name}` has a wrong value: {value:?}")))
}

/// Appends `value` as one word of printable text: blanks, control characters, `%`, and bytes that are not
/// UTF-8, become `%` and two hex digits.
fn escape(value: &OsStr, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let hex = |text: &mut String, byte: u8| {
        text.push('%');
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    };
    for chunk in value.as_encoded_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_whitespace() || character.is_control() || character == '%' {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    hex(text, byte);
                }
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            hex(text, *byte);
        }
    }
}

/// The opposite of [`escape`].
fn unescape(text: &str) -> Result<OsString, Malformed> {
    let mut parts = text.split('%');
    let mut value = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let byte = byte.ok_or_else(|| Malformed(format!("`{text}` has a broken `%`")))?;
        value.push(byte);
        value.extend_from_slice(&part.as_bytes()[2..]);
    }
    from_bytes(value)
}

#[cfg(unix)]
fn from_bytes(value: Vec<u8>) -> Result<OsString, Malformed> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(value))
}

/// Names that are no Unicode, which Windows has as well, are understood by nobody.
#[cfg(windows)]
fn from_bytes(value: Vec<u8>) -> Result<OsString, Malformed> {
    let text = String::from_utf8(value);
    let wrong = |_| Malformed("a value is no Unicode".to_owned());
    text.map(OsString::from).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_readable() {
        let mut fields = Fields::default();
        fields.add("env", "GREETING=Grüß Gott\n100%");
        fields.show("pid", 7);
        let mut text = String::new();
        fields.write(' ', &mut text);
        assert_eq!(text, " env=GREETING=Grüß%20Gott%0A100%25 pid=7");
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for text in ["word", "a=%", "a=%4", "a=%zz", "a=%ü"] {
            assert!(Fields::read([text].into_iter()).is_err(), "{text}");
        }
    }

    proptest! {
        #[cfg(unix)]
        #[test]
        fn any_bytes_come_back_as_one_word(values: Vec<Vec<u8>>) {
            let mut fields = Fields::default();
            for value in &values {
                fields.add("value", <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(value));
            }
            let mut text = String::new();
            fields.write(' ', &mut text);
            prop_assert_eq!(text.split_whitespace().count(), values.len());
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(Fields::read(text.split_whitespace()).unwrap(), fields);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Fields::read(text.split_whitespace());
        }
    }
}
