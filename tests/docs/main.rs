//! The documentation is true: its commands exist, its links lead somewhere, and the README's tour is walked.
//!
//! - [`commands`]: what stands in blocks and between backticks
//! - [`tour`]: the README's tour, command by command, beside what it says they print
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run processes as they like"
)]

mod commands;
#[path = "../support/mod.rs"]
mod support;
mod tour;

use std::{fs, path::Path};

/// The pages for users, with their text.
fn pages() -> Vec<(String, String)> {
    let inside = |directory: &str| {
        let files = fs::read_dir(directory).unwrap();
        files.map(|file| file.unwrap().path().display().to_string())
    };
    let mut names: Vec<String> = inside("docs").chain(inside("clients/python")).collect();
    names.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned));
    names.retain(|name| Path::new(name).extension().is_some_and(|it| it == "md"));
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(&name).unwrap();
        (name, text)
    };
    names.into_iter().map(read).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone().into(),
                file => Path::new(&page).parent().unwrap().join(file),
            };
            let is_there = match heading {
                "" => path.exists(),
                heading => fs::read_to_string(&path).is_ok_and(|it| has_heading(&it, heading)),
            };
            if !is_there {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Whether a page has a heading that is linked to as `anchor`.
fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| {
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let title = line.trim_start_matches('#').trim();
        let title: String = title.chars().filter(kept).collect();
        title.to_lowercase().replace(' ', "-")
    });
    anchors.into_iter().any(|other| other == anchor)
}
