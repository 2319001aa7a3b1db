//! Processor cores: `1.5`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number of processor cores, to the thousandth: `2`, `0.25`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "Written", into = "String")]
pub struct Cores(u64);

/// Why a text is not a number of [`Cores`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of cores: write a number with at most three decimals, as in 0.5")]
pub struct InvalidCores(String);

/// [`Cores`] in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(serde_json::Number),
    Text(String),
}

impl Cores {
    /// So many whole cores.
    pub fn whole(cores: usize) -> Self {
        Self(
            u64::try_from(cores)
                .unwrap_or(u64::MAX)
                .saturating_mul(1000),
        )
    }

    /// So many thousandths of a core.
    pub const fn from_thousandths(thousandths: u64) -> Self {
        Self(thousandths)
    }

    /// In thousandths of a core.
    pub const fn thousandths(self) -> u64 {
        self.0
    }
}

impl FromStr for Cores {
    type Err = InvalidCores;

    fn from_str(text: &str) -> Result<Self, InvalidCores> {
        let parse = || {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !digits(whole) || !digits(part) || part.len() > 3 {
                return None;
            }
            let part: u64 = format!("{part:0<3}").parse().ok()?;
            whole
                .parse::<u64>()
                .ok()?
                .checked_mul(1000)?
                .checked_add(part)
        };
        parse()
            .map(Self)
            .ok_or_else(|| InvalidCores(text.to_owned()))
    }
}

impl TryFrom<Written> for Cores {
    type Error = InvalidCores;

    fn try_from(written: Written) -> Result<Self, InvalidCores> {
        match written {
            Written::Number(number) => number.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        match part {
            0 => write!(f, "{whole}"),
            _ => write!(f, "{whole}.{}", format!("{part:03}").trim_end_matches('0')),
        }
    }
}

impl From<Cores> for String {
    fn from(cores: Cores) -> Self {
        cores.to_string()
    }
}

impl JsonSchema for Cores {
    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of processor cores, to the thousandth, as in `0.5`.",
            "type": ["number", "string"],
            "format": "cores",
            "minimum": 0,
            "pattern": r"^[0-9]+(\.[0-9]{1,3})?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_from_numbers_and_texts_and_print_as_they_are_written() {
        for (text, thousandths) in [("2", 2000), ("0.5", 500), ("1.25", 1250), ("0.001", 1)] {
            assert_eq!(text.parse(), Ok(Cores(thousandths)));
            assert_eq!(Cores(thousandths).to_string(), text);
            assert_eq!(
                serde_json::from_str::<Cores>(text).unwrap(),
                Cores(thousandths)
            );
        }
        for wrong in [
            "",
            ".5",
            "1.",
            "1.2345",
            "-1",
            "1e3",
            "two",
            "99999999999999999999",
        ] {
            assert!(wrong.parse::<Cores>().is_err(), "{wrong}");
        }
    }
}
