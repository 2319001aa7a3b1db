//! What of a manifest is shown to whoever looks over a shoulder: values that are secrets by their names are not.
//!
//! Secrets belong into files of the hosts (`fromFile`), and then none is in a manifest. This is for those that
//! are there all the same: variables and arguments with a name like `DB_PASSWORD` or `--token`, and passwords
//! in URLs.

use serde_json::Value;

/// Parts of names that stand for secrets wherever they occur.
const PARTS: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
];

/// Words of names that do so alone.
const WORDS: [&str; 3] = ["key", "pwd", "auth"];

/// What stands for a secret.
const HIDDEN: &str = "***";

/// `value`, which lies at `path` of a manifest, without its secrets. One that is not as in `other` is marked
/// with `mark`, so that it is seen to differ.
pub fn conceal(path: &str, value: &Value, other: Option<&Value>, mark: &str) -> Value {
    let hide = |text: &str| match other.and_then(Value::as_str) == Some(text) {
        true => HIDDEN.to_owned(),
        false => format!("{HIDDEN}{mark}"),
    };
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    match value {
        Value::Object(fields) => {
            let field = |(key, field): (&String, &Value)| {
                let other = other.and_then(|other| other.get(key));
                let path = format!("{path}.{key}");
                (key.clone(), conceal(&path, field, other, mark))
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => {
            let is_command = path.ends_with(".command");
            let mut named = false;
            let item = |(at, item): (usize, &Value)| {
                let other = other.and_then(|other| other.get(at));
                let Some(text) = item.as_str().filter(|_| is_command) else {
                    return conceal(path, item, other, mark);
                };
                let is_flag = text.starts_with('-');
                let is_value = std::mem::take(&mut named) && !is_flag;
                if is_value {
                    let same = other == Some(item);
                    return Value::String(format!("{HIDDEN}{}", if same { "" } else { mark }));
                }
                match text.split_once('=').filter(|(name, _)| is_secret(name)) {
                    Some((name, _)) => {
                        let same = other == Some(item);
                        let mark = if same { "" } else { mark };
                        Value::String(format!("{name}={HIDDEN}{mark}"))
                    }
                    None => {
                        named = is_flag && is_secret(text);
                        conceal(path, item, other, mark)
                    }
                }
            };
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        Value::String(text) if parent.ends_with("env") && is_secret(&path[parent.len()..]) => {
            Value::String(hide(text))
        }
        Value::String(text) => match userinfo(text) {
            Some(range) => {
                let same = other == Some(value);
                let hidden = format!("{HIDDEN}{}", if same { "" } else { mark });
                let mut text = text.clone();
                text.replace_range(range, &hidden);
                Value::String(text)
            }
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Whether what is called so is a secret.
fn is_secret(name: &str) -> bool {
    let bare: String = (name.chars())
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    PARTS.iter().any(|part| bare.contains(part))
        || words.any(|word| WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret)))
}

/// Where the user and password of the URL in `text` stand, if there are any.
fn userinfo(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://")? + 3;
    let rest = &text[start..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    rest[..at].contains(':').then_some(start..start + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn concealed(value: &Value, other: Option<&Value>) -> Value {
        conceal("spec", value, other, " (before)")
    }

    #[test]
    fn variables_and_arguments_that_are_called_like_secrets_are_hidden() {
        let spec = json!({
            "command": ["x", "--token", "t0", "--db-password=p1", "--port", "80", "--key"],
            "env": {"DB_PASSWORD": "p2", "apiKey": "k3", "MONKEY": "banana", "PATH": "/bin",
                    "LICENSE_KEY": {"fromFile": "/etc/license"}},
            "preStart": {"command": ["y", "--secret", "s4"]}
        });
        let shown = concealed(&spec, Some(&spec));
        let expected = json!({
            "command": ["x", "--token", "***", "--db-password=***", "--port", "80", "--key"],
            "env": {"DB_PASSWORD": "***", "apiKey": "***", "MONKEY": "banana", "PATH": "/bin",
                    "LICENSE_KEY": {"fromFile": "/etc/license"}},
            "preStart": {"command": ["y", "--secret", "***"]}
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_secret_that_differs_is_seen_to_differ() {
        let old = json!({"env": {"TOKEN": "a"}, "command": ["x", "--token=a"]});
        let new = json!({"env": {"TOKEN": "b"}, "command": ["x", "--token=b"]});
        let shown = concealed(&old, Some(&new));
        assert_eq!(
            shown,
            json!({"env": {"TOKEN": "*** (before)"}, "command": ["x", "--token=*** (before)"]})
        );
    }

    #[test]
    fn a_password_in_a_url_is_hidden() {
        let spec = json!({"command": ["x", "redis://qa:pw@cache:6379/0", "http://a/@b:c"]});
        assert_eq!(
            concealed(&spec, Some(&spec)),
            json!({"command": ["x", "redis://***@cache:6379/0", "http://a/@b:c"]})
        );
    }
}
