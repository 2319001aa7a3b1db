//! So many of a number of things: `2`, or `25%`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// So many of a number of things: a number such as `2`, or a part such as `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many hundredths of all, 100 at most.
    Hundredths(u8),
}

/// Why a text is not a [`Share`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a number nor a part: write 2, or 0% to 100%")]
pub struct InvalidShare(String);

/// A [`Share`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Text(String),
}

impl Share {
    /// How many of `all` it is; a part of one is none.
    pub fn floor(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Hundredths(hundredths) => all * usize::from(hundredths) / 100,
        }
    }

    /// How many of `all` it is; a part of one is one.
    pub fn ceil(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Hundredths(hundredths) => (all * usize::from(hundredths)).div_ceil(100),
        }
    }

    /// Whether it is none, of whatever number.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Count(0) | Self::Hundredths(0))
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let (digits, is_part) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let share = match only_digits {
            true if is_part => digits
                .parse()
                .ok()
                .filter(|part| *part <= 100)
                .map(Self::Hundredths),
            true => digits.parse().ok().map(Self::Count),
            false => None,
        };
        share.ok_or_else(|| InvalidShare(text.to_owned()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Hundredths(hundredths) => write!(f, "{hundredths}%"),
        }
    }
}

impl TryFrom<Written> for Share {
    type Error = InvalidShare;

    fn try_from(written: Written) -> Result<Self, InvalidShare> {
        match written {
            Written::Number(number) => Ok(Self::Count(number)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Share> for Written {
    fn from(share: Share) -> Self {
        match share {
            Share::Count(count) => Self::Number(count),
            Share::Hundredths(_) => Self::Text(share.to_string()),
        }
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number such as `2`, or a part such as `25%`.",
            "type": ["integer", "string"],
            "format": "share",
            "minimum": 0,
            "pattern": "^[0-9]+%?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_parts_read_as_people_write_them() {
        assert_eq!("2".parse(), Ok(Share::Count(2)));
        assert_eq!("25%".parse(), Ok(Share::Hundredths(25)));
        for text in ["", "%", "-1", "1.5", "101%", "two"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_part_of_one_is_none_or_one() {
        let quarter = Share::Hundredths(25);
        assert_eq!((quarter.floor(10), quarter.ceil(10)), (2, 3));
        assert_eq!((quarter.floor(3), quarter.ceil(3)), (0, 1));
        assert_eq!((Share::Count(4).floor(3), Share::Count(4).ceil(3)), (4, 4));
    }
}
