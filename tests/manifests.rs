//! Manifests: what is refused, in which words; what is read; and the committed schema.
//!
//! - every text of an error is kept in `tests/manifests/bad/`: `<case>.yaml` or a directory
//!   `<case>/` of several files, and `<case>.txt` with what is said of it;
//! - what would be too large to keep is made here;
//! - the examples in `manifests/` are valid, and the schema there is current.
//!
//! `RENEW=1 cargo test --test manifests` writes the kept files anew; read what changed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use quaestor::model::manifest::{self, Manifest, Source};

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

#[test]
fn json_is_read_as_well() {
    let json = r#"{"apiVersion":"quaestor/v1","kind":"Service",
	"metadata":{"name":"a"},"spec":{"command":["true"],"env":{"A":"\u00e9"}}}"#;
    let manifests = read(json).unwrap();
    assert_eq!(manifests[0].spec.env["A"], "é");
}
