//! Sizes: `10MiB`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A number of bytes, written as `512KiB`, `10MiB` or `2GiB`, or in plain bytes as `100B`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]+(B|KiB|MiB|GiB|TiB)$", "format" = "size"))]
pub struct Size(u64);

/// Why a text is not a [`Size`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a number and a unit of B, KiB, MiB, GiB or TiB, as in 10MiB")]
pub struct InvalidSize(String);

/// Units by size, largest first, in bytes.
const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    /// A size of `mebibytes` times 2^20 bytes.
    pub const fn from_mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// A size of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let parse = || {
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = text.split_at(digits);
            let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
            number.parse::<u64>().ok()?.checked_mul(*factor).map(Self)
        };
        parse().ok_or_else(|| InvalidSize(text.to_owned()))
    }
}

impl TryFrom<String> for Size {
    type Error = InvalidSize;

    fn try_from(text: String) -> Result<Self, InvalidSize> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = SIZES.iter().find(fits).unwrap_or(&("B", 1));
        f.pad(&format!("{}{unit}", self.0 / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0B", 0),
            ("100B", 100),
            ("512KiB", 1 << 19),
            ("10MiB", 10 << 20),
        ] {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "5",
            "MiB",
            "5 MiB",
            "-5MiB",
            "1.5MiB",
            "5MB",
            "99999999TiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_size_reads_back_as_it_was_written(bytes: u64) {
            proptest::prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
