//! What a service is started from: a file that its nodes fetch.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantity::Size;

/// Where the software of a service comes from. Each node fetches it once, whatever uses it, and unpacks it by its name
/// (`.tar.gz`, `.tgz`, `.tar`, `.zip`; all else is a single executable file) into the directory `{artifact}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ArtifactSpec {
    /// Where it is fetched: `https://` or `http://`, without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^https?://"))]
    pub url: Option<String>,
    /// Or the full path of a file that each host has, as on a shared file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its SHA-256, as `sha256sum` prints it: nothing else is ever started.
    pub sha256: Digest,
    /// A larger file is refused; unpacked it may be ten times as large. Default 1GiB.
    #[serde(
        default = "ArtifactSpec::max_size_default",
        skip_serializing_if = "ArtifactSpec::is_default"
    )]
    pub max_size: Size,
}

impl ArtifactSpec {
    fn max_size_default() -> Size {
        Size::from_bytes(1 << 30)
    }

    fn is_default(size: &Size) -> bool {
        *size == Self::max_size_default()
    }

    /// What it is called: the last part of its address.
    pub fn name(&self) -> &str {
        let address = self
            .url
            .as_deref()
            .or(self.file.as_deref())
            .unwrap_or_default();
        let path = match &self.url {
            Some(_) => address.split(['?', '#']).next().unwrap_or_default(),
            None => address,
        };
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Where it comes from, for people.
    pub fn origin(&self) -> &str {
        self.url
            .as_deref()
            .or(self.file.as_deref())
            .unwrap_or("nowhere")
    }
}

/// A SHA-256: 64 hexadecimal digits.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9a-fA-F]{64}$", "format" = "sha256"))]
pub struct Digest(String);

impl Digest {
    /// The digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match fits {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!(
                "`{text}` is not a SHA-256: write the 64 digits that `sha256sum` prints"
            )),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> Result<ArtifactSpec, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn it_is_called_by_the_last_part_of_its_address() {
        let sha256 = "AB".repeat(32);
        let from = |key: &str, value: &str| {
            let found = spec(serde_json::json!({key: value, "sha256": sha256})).unwrap();
            (found.name().to_owned(), found.sha256.to_string())
        };
        let expected = ("app.tar.gz".to_owned(), sha256.to_ascii_lowercase());
        assert_eq!(
            from("url", "https://a.example/x/app.tar.gz?v=1/2#y"),
            expected
        );
        assert_eq!(from("file", "/srv/app.tar.gz"), expected);
    }

    #[test]
    fn a_digest_has_64_digits() {
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(65)] {
            assert!(
                spec(serde_json::json!({"file": "/a", "sha256": wrong})).is_err(),
                "{wrong}"
            );
        }
    }
}
