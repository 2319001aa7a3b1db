//! Ranges of ports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ports from `first` to `last`, both included; written `5161-5164`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+-[0-9]+$", "format" = "port-range"))]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// Every port of the range, lowest first.
    pub fn ports(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            (digits(first) && digits(last)).then_some(())?;
            let range = Self {
                first: first.parse().ok()?,
                last: last.parse().ok()?,
            };
            (1..=range.last).contains(&range.first).then_some(range)
        };
        parse().ok_or_else(|| {
            format!(
                "`{text}` is not a port range: write first-last with 1 <= first <= last <= 65535"
            )
        })
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        format!("{}-{}", range.first, range.last)
    }
}
