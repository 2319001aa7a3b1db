//! Manifests: what is refused, in which words; what is read; and the committed schema.
//!
//! - every text of an error is kept in `tests/manifests/bad/`: `<case>.yaml` or a directory
//!   `<case>/` of several files, and `<case>.txt` with what is said of it;
//! - what would be too large to keep is made here;
//! - what is printed reads back as it was, and no text makes the reader panic;
//! - the examples in `manifests/` are valid, and the schema there is current.
//!
//! `RENEW=1 cargo test --test manifests` writes the kept files anew; read what changed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files fails"
)]

#[path = "manifests/specs.rs"]
mod specs;

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use quaestor::model::{
    manifest::{self, Manifest, Source},
    service::Variable,
};

fn source(path: &Path) -> Source {
    Source {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(path).unwrap(),
    }
}

fn read(text: &str) -> Result<Vec<Manifest>, String> {
    let sources = [Source {
        name: "it.yaml".to_owned(),
        text: text.to_owned(),
    }];
    manifest::read(&sources).map_err(|wrong| wrong.to_string())
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Compares `actual` with the kept file, or keeps it.
fn assert_kept(path: &Path, actual: &str) {
    if std::env::var_os("RENEW").is_some() {
        fs::write(path, actual).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == actual,
        "{} is not current; `RENEW=1 cargo test --test manifests` renews it. Now it is:\n{actual}",
        path.display(),
    );
}

#[test]
fn bad_manifests_are_refused_in_the_kept_words() {
    for case in files("tests/manifests/bad") {
        if case.extension().is_some_and(|extension| extension == "txt") {
            continue;
        }
        let sources: Vec<Source> = if case.is_dir() {
            let files = files(case.to_str().unwrap());
            files.iter().map(|file| source(file)).collect()
        } else {
            vec![source(&case)]
        };
        let wrong = manifest::read(&sources).expect_err(case.to_str().unwrap());
        let text = format!("{wrong}\n");
        assert_kept(&case.with_extension("txt"), &text);
    }
}

#[test]
fn the_examples_are_valid() {
    let examples: Vec<Source> = files("manifests")
        .iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|file| source(file))
        .collect();
    assert!(examples.len() >= 4);
    for example in &examples {
        let first = example.text.lines().next().unwrap();
        assert_eq!(
            first,
            "# yaml-language-server: $schema=quaestor.schema.json"
        );
    }
    let manifests = manifest::read(&examples).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(
        manifests
            .iter()
            .any(|m| m.metadata.name.as_str() == "worker")
    );
}

#[test]
fn the_committed_schema_is_current() {
    let schema = serde_json::to_string_pretty(&manifest::schema()).unwrap();
    assert_kept(
        Path::new("manifests/quaestor.schema.json"),
        &format!("{schema}\n"),
    );
}

/// Every field of a manifest, as `quaestor explain` tells them.
fn reference() -> String {
    let mut page = "# Manifests, field by field\n\n\
        Made from the schema; `quaestor explain FIELD.PATH` shows the same. Examples are in [manifests/](../manifests).\n"
        .to_owned();
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        let field = manifest::explain(&path).unwrap();
        let title = if path.is_empty() { "A manifest" } else { &path };
        page.push_str(&format!(
            "\n## {title}\n\n{}\n\n| field | takes | |\n|---|---|---|\n",
            field.description
        ));
        let mut inner = Vec::new();
        for field in field.fields {
            let path = format!("{path}.{}", field.name);
            let path = path.trim_start_matches('.').to_owned();
            let takes = field.takes.replace(" | ", ", ");
            let must = if field.required { "Required. " } else { "" };
            let means = field.description.replace("\n\n", " ").replace('|', "\\|");
            page.push_str(&format!("| `{}` | {takes} | {must}{means} |\n", field.name));
            if !manifest::explain(&path).unwrap().fields.is_empty() {
                inner.push(path);
            }
        }
        waiting.extend(inner.into_iter().rev());
    }
    page
}

#[test]
fn the_reference_of_manifests_is_current() {
    assert_kept(Path::new("docs/manifest.md"), &reference());
}

#[test]
fn every_manifest_in_the_documentation_is_valid() {
    let mut count = 0;
    let pages = [files("docs"), vec!["README.md".into()]].concat();
    let pages = pages.into_iter();
    for file in pages.filter(|file| file.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(&file).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            if block.contains("kind: Service") {
                read(block).unwrap_or_else(|wrong| panic!("{}:\n{wrong}", file.display()));
                count += 1;
            }
        }
    }
    assert!(count > 0);
}

#[test]
fn json_is_read_as_well() {
    let json = r#"{"apiVersion":"quaestor/v1","kind":"Service",
	"metadata":{"name":"a"},"spec":{"command":["true"],"env":{"A":"\u00e9"}}}"#;
    let manifests = read(json).unwrap();
    assert_eq!(manifests[0].spec.env["A"], Variable::from("é"));
}

#[test]
fn a_manifest_tells_where_it_was_read() {
    let manifests = read(&format!("# first\n{}---\n\n{}", service("a"), service("b"))).unwrap();
    let places: Vec<_> = manifests
        .iter()
        .map(|m| {
            (
                m.metadata.name.as_str(),
                m.origin.source.as_str(),
                m.origin.line,
            )
        })
        .collect();
    assert_eq!(places, [("a", "it.yaml", 2), ("b", "it.yaml", 6)]);
}

fn service(name: &str) -> String {
    let spec = "{command: [worker]}";
    format!(
        "{{apiVersion: quaestor/v1, kind: Service, metadata: {{name: {name}}},\nspec: {spec}}}\n"
    )
}

#[test]
fn what_is_huge_or_deep_is_refused_and_does_not_hide_the_rest() {
    let huge = format!("# {}", "x".repeat(4 * 1024 * 1024));
    let deep = "[".repeat(100_000);
    let blocks: String = (0..1_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    let many = format!("[{}]", "a, ".repeat(300_000));
    let twice = format!("kind: Service\n{}", "metadata: {}\n".repeat(80_000));
    let texts = [
        ("many.yaml", many.as_str()),
        ("twice.yaml", &twice),
        ("huge.yaml", &huge),
        ("deep.yaml", &deep),
        ("blocks.yaml", &blocks),
        ("other.yaml", "a: 1"),
    ];
    let sources = texts.map(|(name, text)| Source {
        name: name.to_owned(),
        text: text.to_owned(),
    });
    let wrong = manifest::read(&sources).unwrap_err().to_string();
    for part in [
        "`huge.yaml` is larger than 4 MiB",
        "deep.yaml:1",
        "blocks.yaml:65",
        "more than 64 levels deep",
        "other.yaml:1:1",
    ] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    assert!(wrong.len() < 20_000, "{wrong}");
}

#[test]
fn of_very_many_errors_the_first_fifty_are_shown_and_all_are_counted() {
    let fields: String = (0..5_000).map(|n| format!("  field{n}: 1\n")).collect();
    let text = format!(
        "{}spec:\n  command: [a]\n{fields}",
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {name: a}\n"
    );
    let wrong = read(&text).unwrap_err();
    assert_eq!(wrong.matches("error: ").count(), 50);
    assert!(
        wrong.ends_with("... and 4950 more in it.yaml\n\n5000 errors"),
        "{wrong}"
    );
}

#[test]
fn a_spec_that_no_store_could_hold_is_refused() {
    let words = "long-argument, ".repeat(30_000);
    let text = service("a").replace("[worker]", &format!("[worker, {words}]"));
    let wrong = read(&text).unwrap_err();
    assert!(
        wrong.contains("more than 262144") && wrong.ends_with("1 error"),
        "{wrong}"
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let text = service("a").replace('\n', "\r\n");
    assert_eq!(read(&format!("\u{feff}{text}")).unwrap().len(), 1);
}

#[test]
fn text_that_yaml_and_json_escape_differently_reads_back() {
    let text = service("a").replace("[worker]", r#"[worker, "\u2028 \x7f"]"#);
    let manifest = &read(&text).unwrap()[0];
    let yaml = manifest::to_yaml(&manifest.metadata, &manifest.spec).unwrap();
    assert_eq!(read(&yaml).unwrap()[0].spec, manifest.spec);
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_it_was((metadata, spec) in specs::services()) {
        prop_assert_eq!(manifest::check(&metadata, &spec), []);
        let yaml = manifest::to_yaml(&metadata, &spec).unwrap();
        let read = read(&yaml).map_err(|wrong| TestCaseError::fail(format!("{wrong}\n{yaml}")))?;
        prop_assert_eq!(&read[0].metadata, &metadata);
        prop_assert_eq!(&read[0].spec, &spec);
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..9_usize, "(?s).{0,3}|[\\[\\]{}:,\"'&*#|>-]{1,3}|\n|\t"), 1..6)
    ) {
        let mut text = fs::read_to_string("manifests/http-server.yaml").unwrap();
        for (at, length, insert) in edits {
            let mut characters: Vec<char> = text.chars().collect();
            let at = at.index(characters.len() + 1);
            let end = (at + length).min(characters.len());
            characters.splice(at..end, insert.chars());
            text = characters.into_iter().collect();
        }
        if let Err(wrong) = read(&text) {
            prop_assert!(wrong.ends_with("error") || wrong.ends_with("errors"));
        }
    }
}
