//! What errors of YAML's syntax mean to the writer of a manifest.

use granit_parser::ErrorKind;

/// Collections may lie in each other this deep; a manifest needs 5.
pub(super) const DEEPEST: usize = 64;

/// What to do with a placeholder that YAML takes for a map.
pub(super) const QUOTE_BRACES: &str = "put a text with braces in quotes, as in \"{host}:{port}\"";

/// What is wrong, and what to do where that is known.
pub(super) fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => (
            "YAML does not allow tabs in indentation".to_owned(),
            Some("indent with spaces"),
        ),
        ErrorKind::RecursionLimitExceeded => (
            format!("this lies more than {DEEPEST} levels deep"),
            Some("no manifest needs more than a few levels"),
        ),
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => (
            "control characters are not allowed here".to_owned(),
            Some("remove it, or write it as an escape such as \"\\x1b\""),
        ),
        ErrorKind::UnexpectedCharacter { character } => (
            format!("no text may begin with `{character}`"),
            Some("put the text in quotes"),
        ),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => (
            "this quote is never closed".to_owned(),
            Some("end the text with the same quote"),
        ),
        ErrorKind::UnclosedFlowCollection { open } => (
            format!("this `{open}` is never closed"),
            Some("end the list with `]`, the map with `}`"),
        ),
        ErrorKind::InvalidColonPlacement => (
            format!("this is not YAML: {kind}"),
            Some("perhaps a bracket or a quote above is not closed"),
        ),
        ErrorKind::MappingValueNotAllowed => (
            format!("this is not YAML: {kind}"),
            Some("put a text with `: ` in quotes, and indent the fields of a map alike"),
        ),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedNodeContent
        | ErrorKind::InvalidIndentation
        | ErrorKind::SimpleKeyExpected => (
            format!("this is not YAML: {kind}"),
            Some("look at the indentation and the quotes here and in the line above"),
        ),
        kind => (format!("this is not YAML: {kind}"), None),
    }
}
