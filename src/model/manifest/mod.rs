//! Reading what operators write: every error of a set of manifests at once, each in its place.
//!
//! [`read`] goes in four steps, and each leaves as much as it can to the next:
//!
//! | step | module | finds |
//! |---|---|---|
//! | text to trees that know their places | `yaml`, `syntax`, `tree` | broken syntax |
//! | trees against the JSON Schema of the types | `shape`, `schema` | unknown, missing and duplicate fields, wrong types and values |
//! | each service by itself | `meaning` | what contradicts itself or cannot work; also [`check`], for stored specs |
//! | all services together | `set` | names and ports that collide |
//!
//! [`read_external`] reads what a balancer serves by itself (`alone`), [`read_for_windows`] what is for nodes with Windows.
//! `suggest` guesses what was meant, `diagnostic` shows what was found, [`explain`] says what there is to write.
//! Nothing here does I/O: the caller brings the texts.

mod alone;
mod diagnostic;
mod explain;
mod meaning;
mod schema;
mod set;
mod shape;
mod suggest;
mod syntax;
mod tree;
mod windows;
mod yaml;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

pub use diagnostic::Diagnostics;
pub use explain::{Field, Unknown, explain};
pub use meaning::{Problem, check};
pub use schema::schema;
pub use suggest::closest;
pub use tree::Path;

use super::service::{Metadata, ServiceSpec};
use diagnostic::{Diagnostic, Place};
use tree::{Node, Value};

/// Longer sources are refused unread.
const LARGEST_SOURCE: usize = 4 * 1024 * 1024;

/// What names of manifests end in, where a directory is given.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Whether the name of a file in a directory of manifests is that of one. A JSON Schema beside them is none.
pub fn is_named_so(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ENDINGS
        .iter()
        .any(|ending| name.len() > ending.len() && name.ends_with(ending))
        && !name.ends_with(".schema.json")
}

/// A text with manifests in it: YAML, one document or more, or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What errors call it: a file's path, or `<stdin>`.
    pub name: String,
    /// What it contains.
    pub text: String,
}

/// A valid manifest of the kind `Service`.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Name and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: ServiceSpec,
    /// `metadata` and `spec` with those fields only that it mentions, some of them not in the form that is stored.
    pub written: serde_json::Value,
    /// Where it was read.
    pub origin: Origin,
}

impl Manifest {
    /// The manifest of a service that was never written down: it mentions all that is stored of it.
    pub fn of(metadata: Metadata, spec: ServiceSpec) -> Self {
        Self {
            written: serde_json::json!({"metadata": metadata, "spec": spec}),
            metadata,
            spec,
            origin: Origin {
                source: String::new(),
                line: 1,
            },
        }
    }
}

/// Where a manifest was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the source.
    pub source: String,
    /// Its first line, from 1.
    pub line: usize,
}

/// One document, as it is written.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
struct Document<'a> {
    /// Version of the manifest's language.
    api_version: ApiVersion,
    /// What is described.
    kind: Kind,
    /// Name and labels.
    metadata: Cow<'a, Metadata>,
    /// What is wanted.
    spec: Cow<'a, ServiceSpec>,
}

/// Versions of the language.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
enum ApiVersion {
    #[serde(rename = "quaestor/v1")]
    V1,
}

/// Kinds of manifests.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
enum Kind {
    Service,
}

/// A service of the set, as far as it could be read, with what is needed to point into it.
struct Candidate {
    source: usize,
    document: yaml::Document,
    metadata: Option<Metadata>,
    spec: Option<ServiceSpec>,
    /// Both, as they are written.
    written: serde_json::Value,
    /// What is not as it was written, so that nothing can be said of it.
    damaged: Vec<Path>,
}

impl Candidate {
    /// Whether `path` is as it was written.
    fn intact(&self, path: &Path) -> bool {
        !self.damaged.iter().any(|damaged| damaged.overlaps(path))
    }

    /// Where `path` stands.
    fn place(&self, path: &Path, sources: &[Source]) -> Place {
        let span = self.document.root.place(path, self.text(sources));
        Place::new(self.source, span)
    }

    /// Where the key of `path` stands.
    fn key_place(&self, path: &Path, sources: &[Source]) -> Place {
        let span = self.document.root.key_place(path, self.text(sources));
        Place::new(self.source, span)
    }

    fn text<'a>(&self, sources: &'a [Source]) -> &'a str {
        let source = sources.get(self.source);
        source.map_or("", |source| source.text.as_str())
    }
}

/// All manifests of `sources`, in their order. Empty documents are skipped.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn read(sources: &[Source]) -> Result<Vec<Manifest>, Diagnostics> {
    read_with(sources, |_, _| Vec::new())
}

/// The same, of services that need neither a store nor an agent: `external` ones without tickets.
///
/// # Errors
/// Everything that is wrong with any of them, and each service of another kind.
pub fn read_external(sources: &[Source]) -> Result<Vec<Manifest>, Diagnostics> {
    read_with(sources, alone::diagnose)
}

/// The same, of services for nodes with Windows.
///
/// # Errors
/// Everything that is wrong with any of them, and whatever means nothing there.
pub fn read_for_windows(sources: &[Source]) -> Result<Vec<Manifest>, Diagnostics> {
    read_with(sources, windows::diagnose)
}

fn read_with(
    sources: &[Source],
    diagnose: impl Fn(&Candidate, &[Source]) -> Vec<Diagnostic>,
) -> Result<Vec<Manifest>, Diagnostics> {
    let schema = schema();
    let mut wrong = Vec::new();
    let mut candidates = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if source.text.len() > LARGEST_SOURCE {
            let message = format!("`{}` is larger than 4 MiB", source.name);
            wrong.push(
                Diagnostic::new(Place::new(index, 0..0), message)
                    .help("split it into several files"),
            );
            continue;
        }
        let (documents, broken) = yaml::read(index, &source.text);
        wrong.extend(broken);
        for document in documents {
            match stranger(index, &document.root) {
                Some(diagnostic) => wrong.push(diagnostic),
                None => candidates.push(candidate(index, source, document, &schema, &mut wrong)),
            }
        }
    }
    for candidate in &candidates {
        wrong.extend(meaning::diagnose(candidate, sources));
        wrong.extend(diagnose(candidate, sources));
    }
    wrong.extend(set::diagnose(&candidates, sources));
    if !wrong.is_empty() {
        return Err(Diagnostics::new(sources, wrong));
    }
    let manifests = candidates.into_iter().filter_map(|candidate| {
        Some(Manifest {
            metadata: candidate.metadata?,
            spec: candidate.spec?,
            written: candidate.written,
            origin: Origin {
                source: sources.get(candidate.source)?.name.clone(),
                line: candidate.document.line,
            },
        })
    });
    Ok(manifests.collect())
}

/// The manifest of a service as YAML; [`read`] gives back the same.
///
/// # Errors
/// None are known; whatever the serializer reports.
pub fn to_yaml(metadata: &Metadata, spec: &ServiceSpec) -> Result<String, serde_yaml::Error> {
    let document = Document {
        api_version: ApiVersion::V1,
        kind: Kind::Service,
        metadata: Cow::Borrowed(metadata),
        spec: Cow::Borrowed(spec),
    };
    let yaml = serde_yaml::to_string(&document)?;
    // The printer knows YAML 1.1, where these break lines; in JSON, which is YAML, they do not.
    if yaml.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        let json = serde_json::to_string_pretty(&document);
        // JSON allows this control character as it is, YAML does not.
        let json = json.map(|text| text.replace('\u{7f}', "\\u007f"));
        return json.map_err(serde::ser::Error::custom);
    }
    Ok(yaml)
}

/// What keeps `root` from being looked at: it is no manifest at all, or one of another kind.
fn stranger(source: usize, root: &Node) -> Option<Diagnostic> {
    let Value::Map(entries) = &root.value else {
        let place = Place::new(source, root.span.clone());
        return Some(Diagnostic::new(place, "a manifest must be a map").help(
            "begin with `apiVersion: quaestor/v1`, `kind: Service`, `metadata:` and `spec:`",
        ));
    };
    if !["apiVersion", "kind", "metadata", "spec"]
        .iter()
        .any(|f| root.get(f).is_some())
    {
        let start = root.span.start;
        let end = entries
            .first()
            .map_or(root.span.end, |entry| entry.key_span.end);
        let place = Place::new(source, start..end);
        return Some(
            Diagnostic::new(place, "this is not a Quaestor manifest")
                .help("a manifest has the fields apiVersion, kind, metadata and spec"),
        );
    }
    [("apiVersion", "quaestor/v1"), ("kind", "Service")]
        .into_iter()
        .find_map(|(field, allowed)| {
            let node = root.get(field)?;
            let Value::Text(text) = &node.value else {
                return None;
            };
            (text != allowed).then(|| {
                let place = Place::new(source, node.span.clone());
                Diagnostic::new(place, format!("`{text}` is no value of `{field}`"))
                    .label(format!("must be `{allowed}`"))
            })
        })
}

/// Checks the shape of a document and reads what can be read of it.
fn candidate(
    index: usize,
    source: &Source,
    mut document: yaml::Document,
    schema: &serde_json::Value,
    wrong: &mut Vec<Diagnostic>,
) -> Candidate {
    let mut shape = shape::check(index, &source.text, &document.root, schema);
    wrong.append(&mut shape.wrong);
    document.root.remove_items(&shape.removed);
    let mut take = |field: &str| {
        let value = shape.fields.get_mut(field).map(serde_json::Value::take)?;
        Some((Path::of(field), value))
    };
    let (metadata, spec) = (take("metadata"), take("spec"));
    let raw = |part: &Option<(Path, serde_json::Value)>| part.as_ref().map(|part| part.1.clone());
    let written = serde_json::json!({"metadata": raw(&metadata), "spec": raw(&spec)});
    let mut candidate = Candidate {
        source: index,
        document,
        metadata: None,
        spec: None,
        written,
        damaged: shape.damaged,
    };
    candidate.metadata = metadata.and_then(|part| parse(&candidate, source, part, wrong));
    candidate.spec = spec.and_then(|part| parse(&candidate, source, part, wrong));
    candidate
}

/// Reads a part whose shape is right.
fn parse<T: serde::de::DeserializeOwned>(
    candidate: &Candidate,
    source: &Source,
    (path, value): (Path, serde_json::Value),
    wrong: &mut Vec<Diagnostic>,
) -> Option<T> {
    // The schema is made from the types, so this fails only where it says less than they do.
    serde_json::from_value(value)
        .map_err(|error| {
            let span = candidate.document.root.place(&path, &source.text);
            let place = Place::new(candidate.source, span);
            wrong.push(Diagnostic::new(
                place,
                format!("`{path}` cannot be read: {error}"),
            ));
        })
        .ok()
}
