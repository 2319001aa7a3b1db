//! Names of services, nodes and instances.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of a service or node: 1 to 63 of `a-z`, `0-9` and `-`, not `-` first.
///
/// Names become parts of keys and of file paths, so nothing else is let in, not even from the store.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9][a-z0-9-]{0,62}$", "format" = "name"))]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit")]
pub struct InvalidName(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let valid = (1..=63).contains(&text.len())
            // A leading dash would be an option on every command line.
            && !text.starts_with('-')
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid {
            Ok(Self(text))
        } else {
            Err(InvalidName(text))
        }
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.to_owned().try_into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One process of a service, written `<service>-<slot>`.
///
/// A slot is a small number that stays with the instance for its life, across restarts and revisions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance {
    /// The service it belongs to.
    pub service: Name,
    /// Its place among the service's instances, from 0.
    pub slot: u32,
}

/// Why a text is not an [`Instance`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instance: write <service>-<slot>, as in worker-0")]
pub struct InvalidInstance(String);

impl Instance {
    /// The instance of `service` at `slot`.
    pub fn new(service: Name, slot: u32) -> Self {
        Self { service, slot }
    }
}

impl FromStr for Instance {
    type Err = InvalidInstance;

    fn from_str(text: &str) -> Result<Self, InvalidInstance> {
        let parse = || {
            let (service, digits) = text.rsplit_once('-')?;
            let slot: u32 = digits.parse().ok()?;
            // One spelling per instance: no "+1", no "01".
            (slot.to_string() == digits).then_some(())?;
            Some(Self::new(service.parse().ok()?, slot))
        };
        parse().ok_or_else(|| InvalidInstance(text.to_owned()))
    }
}

impl TryFrom<String> for Instance {
    type Error = InvalidInstance;

    fn try_from(text: String) -> Result<Self, InvalidInstance> {
        text.parse()
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> Self {
        instance.to_string()
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.service, self.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_reads_back_as_it_was_written() {
        for text in ["worker-0", "a-b-12", "x-4294967295"] {
            assert_eq!(text.parse::<Instance>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_instance_is_refused() {
        for text in [
            "",
            "worker",
            "worker-",
            "worker-01",
            "worker-+1",
            "-1",
            "W-1",
            "a/b-1",
        ] {
            assert!(text.parse::<Instance>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a.b",
            "A",
            "-",
            "-a",
            "a\0",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }
}
