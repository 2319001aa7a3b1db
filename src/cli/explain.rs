//! `quaestor explain`: what a field of a manifest means.

use std::process::ExitCode;

use super::{args::ExplainArgs, output::say};
use crate::model::manifest::{Field, explain};

/// Readable, and within a terminal of 80 columns.
const WIDTH: usize = 76;

pub(super) fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let path = args.path.unwrap_or_default();
    say(page(&path, &explain(&path)?))?;
    Ok(ExitCode::SUCCESS)
}

fn page(path: &str, field: &Field) -> String {
    let name = if path.is_empty() { &field.name } else { path };
    let mut lines = vec![format!("{name} <{}>{}", field.takes, must(field))];
    lines.extend(wrapped(&field.description, 2));
    if let Some(notation) = &field.notation {
        lines.push(String::new());
        lines.extend(wrapped(notation, 2));
    }
    if !field.fields.is_empty() {
        lines.extend([String::new(), "FIELDS".to_owned()]);
    }
    for inner in &field.fields {
        lines.push(format!("  {} <{}>{}", inner.name, inner.takes, must(inner)));
        lines.extend(wrapped(&inner.description, 6));
    }
    lines.join("\n")
}

fn must(field: &Field) -> &'static str {
    if field.required { " (required)" } else { "" }
}

/// The text in lines of at most [`WIDTH`], each behind so many blanks.
fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split("\n\n") {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH
            {
                lines.push(format!("{:indent$}{line}", ""));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(format!("{:indent$}{line}", ""));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_fits_a_terminal() {
        for path in ["", "spec", "spec.health", "spec.restart.delay"] {
            let page = page(path, &explain(path).unwrap());
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn a_page_says_how_a_value_is_written() {
        let page = page("spec.stop.grace", &explain("spec.stop.grace").unwrap());
        assert!(page.starts_with("spec.stop.grace <period>\n  "), "{page}");
        assert!(page.contains("`30s`"), "{page}");
    }
}
