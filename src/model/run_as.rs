//! As whom a process runs, and what it may use up: part of the template of a service.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::quantity::Size;

/// As whom a process runs, and what it may use up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RunAs {
    /// The user as whom it runs: a name, or a number in quotes, from `/etc/passwd` of the host. Needs an
    /// agent that runs as root. Its directory of its own belongs to that user. On Windows an account, whose
    /// password its agent has by `--credential`. Default: the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The group as which it runs: a name, or a number in quotes, from `/etc/group` of the host. Default:
    /// that of `user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Which permissions the files that it makes shall not have, in octal digits and quotes, as in
    /// "027". Default "022".
    #[serde(default, skip_serializing_if = "is_default")]
    pub umask: Umask,
    /// What it may use up, each of its processes by itself; `nproc` counts all of the user's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// How much it stands back for others where processors are short: from -20, favoured, to 19. Below the
    /// agent's own needs one that runs as root. Default: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = NICEST.0, max = NICEST.1))]
    pub nice: Option<i32>,
    /// How soon it is killed where memory is short: from -1000, never, to 1000, first. Below the agent's own
    /// needs one that runs as root. Default: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = OOM_SCORES.0, max = OOM_SCORES.1))]
    pub oom_score_adjust: Option<i32>,
}

/// The least and the most that `nice` can be.
pub const NICEST: (i32, i32) = (-20, 19);

/// The least and the most that `oomScoreAdjust` can be.
pub const OOM_SCORES: (i32, i32) = (-1000, 1000);

/// Limits on resources, as `setrlimit` knows them; the process cannot raise them again. What is left out is
/// as with the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Its address space.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub address_space: Option<Ceiling>,
    /// The size of a core dump; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<Ceiling>,
    /// Seconds of processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Ceiling>,
    /// The size of its data segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Ceiling>,
    /// The size of a file that it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsize: Option<Ceiling>,
    /// Memory that it locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memlock: Option<Ceiling>,
    /// Open files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<Ceiling>,
    /// Processes and threads of its user, here and elsewhere on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nproc: Option<Ceiling>,
    /// The size of its stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Ceiling>,
}

impl Limits {
    /// Those that are given, by the names that `setrlimit` has for them.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, Ceiling)> {
        let all = [
            ("as", self.address_space),
            ("core", self.core),
            ("cpu", self.cpu),
            ("data", self.data),
            ("fsize", self.fsize),
            ("memlock", self.memlock),
            ("nofile", self.nofile),
            ("nproc", self.nproc),
            ("stack", self.stack),
        ];
        all.into_iter()
            .filter_map(|(name, limit)| Some((name, limit?)))
    }
}

/// How much of something: a number, a size such as `4GiB`, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Ceiling(
    /// The number; none: unlimited.
    pub Option<u64>,
);

/// A [`Ceiling`] in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl std::str::FromStr for Ceiling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = match digits {
            true => text.parse().ok(),
            false => text.parse::<Size>().ok().map(Size::bytes),
        };
        // The largest number means "unlimited" to the system.
        let number = number.filter(|number| *number < u64::MAX);
        number.map(|number| Self(Some(number))).ok_or_else(|| {
            format!("`{text}` is not a limit: write a number, a size as in 4GiB, or unlimited")
        })
    }
}

impl TryFrom<Written> for Ceiling {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(number) => number.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Ceiling> for Written {
    fn from(ceiling: Ceiling) -> Self {
        let unlimited = || Self::Text("unlimited".to_owned());
        ceiling.0.map_or_else(unlimited, Self::Number)
    }
}

impl JsonSchema for Ceiling {
    fn schema_name() -> Cow<'static, str> {
        "Ceiling".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, a size such as `4GiB`, or `unlimited`.",
            "type": ["integer", "string"],
            "format": "limit",
            "minimum": 0,
            "pattern": "^([0-9]+(B|KiB|MiB|GiB|TiB)?|unlimited)$",
        })
    }
}

/// Permissions that new files shall not have, written in octal digits as in `027`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^0?[0-7]{3}$", "format" = "umask"))]
pub struct Umask(
    /// The bits.
    pub u32,
);

impl Default for Umask {
    fn default() -> Self {
        Self(0o022)
    }
}

impl TryFrom<String> for Umask {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let four = text.len() == 4;
        let digits = text.strip_prefix('0').filter(|_| four).unwrap_or(&text);
        let fits = digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = u32::from_str_radix(digits, 8).ok().filter(|_| fits);
        bits.map(Self).ok_or_else(|| {
            format!("`{text}` is not a umask: write three octal digits, as in \"027\"")
        })
    }
}

impl From<Umask> for String {
    fn from(umask: Umask) -> Self {
        format!("{:03o}", umask.0)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_people_write_them() {
        for (text, limit) in [
            ("0", Some(0)),
            ("65536", Some(65_536)),
            ("4GiB", Some(4 << 30)),
            ("unlimited", None),
        ] {
            assert_eq!(text.parse(), Ok(Ceiling(limit)), "{text}");
        }
        for text in ["", "-1", "4GB", "1.5", "infinity", "18446744073709551615"] {
            assert!(text.parse::<Ceiling>().is_err(), "{text}");
        }
    }

    #[test]
    fn umasks_are_octal() {
        let umask = |text: &str| Umask::try_from(text.to_owned());
        assert_eq!(umask("027"), Ok(Umask(0o027)));
        assert_eq!(umask("0077"), Ok(Umask(0o077)));
        for text in ["", "27", "028", "1027", "00027", "+27"] {
            assert!(umask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_given_reads_back_and_nothing_takes_no_room() {
        assert_eq!(serde_json::to_string(&RunAs::default()).unwrap(), "{}");
        let text =
            r#"{"user":"qa","umask":"027","limits":{"as":1024,"core":"unlimited"},"nice":5}"#;
        let run_as: RunAs = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&run_as).unwrap(), text);
        let given: Vec<_> = run_as.limits.given().collect();
        assert_eq!(
            given,
            [("as", Ceiling(Some(1024))), ("core", Ceiling(None))]
        );
    }
}
