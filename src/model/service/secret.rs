//! Secrets: what a process is given that only its host knows.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The value of an environment variable: a text, or the file of the host that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// The value itself.
    Text(String),
    /// Where the host keeps it.
    File(FromFile),
}

/// A file of the host, read by its agent at each start: what it holds never leaves the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FromFile {
    /// Its full path; placeholders as in `command`.
    pub from_file: String,
}

impl From<&str> for Variable {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl JsonSchema for Variable {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text, or `{fromFile: PATH}`: the text in that file of the host, read at each start.",
            "type": ["string", "object"],
            "properties": {
                "fromFile": {
                    "description": "The full path of a file of the host with the value, of at most 64 KiB; \
                                    an end of line at its end does not count. Placeholders as in `command`.",
                    "type": "string",
                },
            },
            "required": ["fromFile"],
            "additionalProperties": false,
        })
    }
}

/// A file that is handed to the process: a copy, made anew at each start, of one of the host that it may not
/// be able to read itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FileSpec {
    /// What it is called in the directory `{files}`: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The full path of the file of the host, of at most 1 MiB; placeholders as in `command`.
    pub from_file: String,
    /// Its permissions, in octal digits and quotes. It belongs to the process's user. Default "0400".
    #[serde(default, skip_serializing_if = "FileMode::is_default")]
    pub mode: FileMode,
}

/// Permissions of a file, written in octal digits as in `0400`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^0?[0-7]{3}$", "format" = "file-mode"))]
pub struct FileMode(
    /// The bits.
    pub u32,
);

impl FileMode {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o400)
    }
}

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3);
        let digits = digits.unwrap_or(&text);
        let fits = digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = u32::from_str_radix(digits, 8).ok().filter(|_| fits);
        bits.map(Self).ok_or_else(|| {
            format!("`{text}` is not a file mode: write octal digits, as in \"0400\"")
        })
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_text_or_names_a_file() {
        for (json, variable) in [
            (r#""a""#, Variable::from("a")),
            (
                r#"{"fromFile":"/etc/x"}"#,
                Variable::File(FromFile {
                    from_file: "/etc/x".to_owned(),
                }),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Variable>(json).unwrap(), variable);
            assert_eq!(serde_json::to_string(&variable).unwrap(), json);
        }
    }

    #[test]
    fn file_modes_are_octal() {
        let mode = |text: &str| FileMode::try_from(text.to_owned());
        assert_eq!(mode("400"), Ok(FileMode(0o400)));
        assert_eq!(mode("0640"), Ok(FileMode(0o640)));
        for text in ["", "40", "0480", "1640", "+400", "00400"] {
            assert!(mode(text).is_err(), "{text}");
        }
        assert_eq!(String::from(FileMode(0o400)), "0400");
    }
}
