//! Quantities as people write them: durations such as `30s`, `5m`, `1h30m`, parts such as `10%`,
//! sizes such as `10MiB`, and processor cores.

mod cores;
mod share;
mod size;

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

pub use cores::{Cores, InvalidCores};
pub use share::{InvalidShare, Share};
pub use size::{InvalidSize, Size};

/// A length of time, written as `100ms`, `30s`, `5m`, `24h` or a sum of such, as in `1h30m`.
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
#[schemars(with = "String", extend("pattern" = r"^([0-9]+(ms|s|m|h|d))+$", "format" = "period"))]
pub struct Period(pub Duration);

/// Why a text is not a [`Period`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write a number and a unit of ms, s, m, h or d, as in 30s or 1h30m"
)]
pub struct InvalidPeriod(String);

/// Units by length, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Period {
    /// A period of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A period of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The period as a duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let parse = || {
            let mut rest = text;
            let mut millis = 0_u64;
            while !rest.is_empty() {
                let digits = rest.find(|c: char| !c.is_ascii_digit())?;
                let (number, tail) = rest.split_at(digits);
                let letters = tail
                    .find(|c: char| c.is_ascii_digit())
                    .unwrap_or(tail.len());
                let (unit, tail) = tail.split_at(letters);
                let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
                let part = number.parse::<u64>().ok()?.checked_mul(*factor)?;
                millis = millis.checked_add(part)?;
                rest = tail;
            }
            (!text.is_empty()).then_some(Self::from_millis(millis))
        };
        parse().ok_or_else(|| InvalidPeriod(text.to_owned()))
    }
}

impl TryFrom<String> for Period {
    type Error = InvalidPeriod;

    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (unit, factor) in UNITS {
            if rest >= factor {
                text.push_str(&format!("{}{unit}", rest / factor));
                rest %= factor;
            }
        }
        f.pad(&text)
    }
}

/// A part of a whole, written as `10%`; at most `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+%$", "format" = "percent"))]
pub struct Percent(u8);

/// Why a text is not a [`Percent`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part of a whole: write 0% to 100%")]
pub struct InvalidPercent(String);

impl Percent {
    /// So many hundredths; all of it at most.
    pub const fn new(hundredths: u8) -> Self {
        Self(if hundredths > 100 { 100 } else { hundredths })
    }

    /// The part, from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl TryFrom<String> for Percent {
    type Error = InvalidPercent;

    fn try_from(text: String) -> Result<Self, InvalidPercent> {
        let digits = text
            .strip_suffix('%')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let hundredths = digits.and_then(|digits| digits.parse().ok());
        match hundredths.filter(|hundredths| *hundredths <= 100) {
            Some(hundredths) => Ok(Self(hundredths)),
            None => Err(InvalidPercent(text)),
        }
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        format!("{}%", percent.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_as_people_write_them() {
        for (text, millis) in [
            ("100ms", 100),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Period::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_period_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5x",
            "99999999999999999999s",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_period_reads_back_as_it_was_written(millis in 0..u64::MAX / 2) {
            let period = Period::from_millis(millis);
            proptest::prop_assert_eq!(period.to_string().parse(), Ok(period));
        }
    }
}
