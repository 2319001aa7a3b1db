//! Where software comes from.

use super::{super::tree::Path, Problem};
use crate::model::service::{ArtifactSpec, ServiceSpec};

/// What is wrong with `artifact`.
pub(super) fn check(spec: &ServiceSpec) -> Vec<Problem> {
    spec.artifact.as_ref().map_or_else(Vec::new, address)
}

fn address(artifact: &ArtifactSpec) -> Vec<Problem> {
    let path = Path::of("spec.artifact");
    let mut problems = Vec::new();
    match (&artifact.url, &artifact.file) {
        (Some(_), Some(_)) => problems.push(
            Problem::new(path.clone(), "an artifact comes from one place")
                .help("give `url` or `file`, not both"),
        ),
        (None, None) => problems.push(
            Problem::new(path.clone(), "it is not said where the artifact is")
                .help("add `url: https://...`, or `file:` with a path that every host has"),
        ),
        (Some(url), None) => problems.extend(wrong_url(url)),
        (None, Some(file)) if !file.starts_with('/') => problems.push(
            Problem::new(
                path.clone().key("file"),
                format!("`{file}` is no absolute path"),
            )
            .help("write the full path of the file on the hosts"),
        ),
        (None, Some(_)) => {}
    }
    let name = artifact.name();
    if problems.is_empty() && (name.is_empty() || name == ".." || name == ".") {
        problems.push(
            Problem::new(path, format!("`{}` names no file", artifact.origin()))
                .help("let it end with the name of the file, as in /app-1.2.tar.gz"),
        );
    }
    problems
}

fn wrong_url(url: &str) -> Option<Problem> {
    let path = Path::of("spec.artifact.url");
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some(
            Problem::new(path, format!("`{url}` cannot be fetched"))
                .help("begin with https:// or http://"),
        );
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some(
            Problem::new(
                path,
                "the address has a user or password in it, which everybody could read",
            )
            .help("serve it to the hosts without, or put it into a file that they have"),
        );
    }
    let odd = |c: char| c.is_whitespace() || c.is_control();
    (authority.is_empty() || url.contains(odd)).then(|| {
        Problem::new(path, format!("`{}` is no address", url.escape_debug()))
            .help("write it as in https://files.example.com/app-1.2.tar.gz")
    })
}
