//! Placeholders in texts of a manifest: `{host}` stands for a value that only the agent knows.
//!
//! `{{` and `}}` stand for literal braces. There are no nested placeholders and no shell.

/// The placeholders that every instance has. Besides these, `{port}` is the number of the first
/// port and `{port.<name>}` that of the port called `<name>`.
pub const GENERAL: [&str; 7] = [
    "cluster", "host", "instance", "node", "quaestor", "service", "slot",
];

/// The placeholder for the directory of the files that an instance is given, where it is given any.
pub const FILES: &str = "files";

/// The placeholder for the directory of what an instance is started from, where that is fetched.
pub const ARTIFACT: &str = "artifact";

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A `{` that nothing closes.
    #[error("`{{` is never closed: write `{{{{` for a literal brace")]
    Unclosed,
    /// A `}` that closes nothing.
    #[error("`}}` closes nothing: write `}}}}` for a literal brace")]
    Unopened,
    /// What stands between braces cannot be a placeholder.
    #[error("`{{{0}}}` is not a placeholder: write `{{{{` and `}}}}` for literal braces")]
    Malformed(String),
    /// A placeholder without a value.
    #[error("there is no placeholder `{{{0}}}`")]
    Unknown(String),
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Stands for itself.
    Literal(String),
    /// Stands for the value of a name.
    Placeholder(String),
}

/// `text` with every placeholder replaced by the value that `lookup` has for its name.
///
/// # Errors
/// The first malformed or unknown placeholder.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    parse(text)?
        .into_iter()
        .map(|part| match part {
            Part::Literal(literal) => Ok(literal),
            Part::Placeholder(name) => lookup(&name).ok_or(Error::Unknown(name)),
        })
        .collect()
}

/// The names of the placeholders in `text`, in their order, repeated where `text` repeats them.
///
/// # Errors
/// The first malformed placeholder.
pub fn names(text: &str) -> Result<Vec<String>, Error> {
    let names = parse(text)?.into_iter().filter_map(|part| match part {
        Part::Literal(_) => None,
        Part::Placeholder(name) => Some(name),
    });
    Ok(names.collect())
}

/// Takes a text apart.
fn parse(text: &str) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        rest = if let Some(after) = after.strip_prefix(brace) {
            literal.push_str(brace);
            after
        } else if brace == "}" {
            return Err(Error::Unopened);
        } else {
            let (name, after) = after.split_once('}').ok_or(Error::Unclosed)?;
            if !is_name(name) {
                return Err(Error::Malformed(name.to_owned()));
            }
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            parts.push(Part::Placeholder(name.to_owned()));
            after
        };
    }
    literal.push_str(rest);
    parts.push(Part::Literal(literal));
    Ok(parts)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "host" => Some("10.0.0.1".to_owned()),
            "port" => Some("5161".to_owned()),
            "port.http" => Some("80".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn placeholders_become_values_and_double_braces_single_ones() {
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("{host}:{port}", "10.0.0.1:5161"),
            ("é{port.http}é", "é80é"),
            (r#"{{"port":{port}}}"#, r#"{"port":5161}"#),
            ("{{host}}", "{host}"),
            ("{{{host}}}", "{10.0.0.1}"),
        ] {
            assert_eq!(expand(text, lookup).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        let lookup = |_: &str| Some("{host}".to_owned());
        assert_eq!(expand("{node}", lookup).as_deref(), Ok("{host}"));
    }

    #[test]
    fn what_cannot_be_expanded_is_refused() {
        for (text, error) in [
            ("{host", Error::Unclosed),
            ("host}", Error::Unopened),
            ("{}", Error::Malformed(String::new())),
            ("{\"a\":1}", Error::Malformed("\"a\":1".to_owned())),
            ("{hots}", Error::Unknown("hots".to_owned())),
            ("{port}{port.x}", Error::Unknown("port.x".to_owned())),
        ] {
            assert_eq!(expand(text, lookup), Err(error), "{text}");
        }
    }

    #[test]
    fn names_come_in_the_order_of_the_text() {
        let names = names("{port} {{x}} {host}{port}").unwrap();
        assert_eq!(names, ["port", "host", "port"]);
    }

    proptest::proptest! {
        #[test]
        fn doubling_every_brace_keeps_any_text_as_it_is(text in ".*") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            proptest::prop_assert_eq!(expand(&escaped, lookup), Ok(text));
        }
    }
}
