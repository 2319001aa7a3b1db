//! Checks a tree against the schema: fields, types, values.
//!
//! What is wrong is reported and taken out, with as little around it as possible, so that the
//! rest can still be checked for its meaning.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::{
    diagnostic::{Diagnostic, Place, advice},
    schema::resolve,
    suggest::{closest, words},
    tree::{Entry, Node, Path, Span, Value},
};
use crate::model::{
    Name,
    quantity::{Cores, Percent, Period, Share, Size},
    run_as::{Ceiling, Umask},
    service::{Digest, FileMode, PortRange},
};

/// What is wanted where a number alone does not say enough.
const A_PERIOD: &str = "a duration, as in 30s";
const A_PERCENT: &str = "a part, as in 10%";
const A_SHARE: &str = "a number, or a part as in 25%";
const A_SIZE: &str = "a size, as in 10MiB";
const A_NUMBER_OF_CORES: &str = "a number of cores, as in 0.5";
const A_LIMIT: &str = "a number, a size as in 4GiB, or `unlimited`";
const A_PORT_RANGE: &str = "a range of ports, as in 5161-5164";

/// What came of the check of a document.
pub(super) struct Shape {
    /// The fields of the document, without what is wrong.
    pub(super) fields: Json,
    /// Where something was taken out, or is likely missing because its name is misspelled.
    pub(super) damaged: Vec<Path>,
    /// Where the items of lists began that were taken out.
    pub(super) removed: BTreeSet<usize>,
    /// What is wrong.
    pub(super) wrong: Vec<Diagnostic>,
}

/// Checks `node`, a document of the source `text` with index `source`, against `schema`.
pub(super) fn check(source: usize, text: &str, node: &Node, schema: &Json) -> Shape {
    let mut walk = Walk {
        source,
        text,
        tree: node,
        root: schema,
        damaged: Vec::new(),
        removed: BTreeSet::new(),
        wrong: Vec::new(),
    };
    let fields = walk.value(node, schema, &Path::root());
    Shape {
        fields: fields.unwrap_or_default(),
        damaged: walk.damaged,
        removed: walk.removed,
        wrong: walk.wrong,
    }
}

struct Walk<'a> {
    source: usize,
    text: &'a str,
    tree: &'a Node,
    root: &'a Json,
    damaged: Vec<Path>,
    removed: BTreeSet<usize>,
    wrong: Vec<Diagnostic>,
}

impl<'a> Walk<'a> {
    /// `node` as JSON; none when it does not fit `schema` even without some of its parts.
    fn value(&mut self, node: &Node, schema: &'a Json, path: &Path) -> Option<Json> {
        let schema = resolve(self.root, schema);
        let json = if matches!(node.value, Value::Broken) {
            None
        } else if let Some(choices) = choices(schema) {
            self.choice(node, &choices, path)
        } else if is_either(schema) && is_filled_map(node) {
            self.map(node, schema, path)
        } else {
            match schema["type"].as_str() {
                Some("object") => self.map(node, schema, path),
                Some("array") => self.list(node, schema, path),
                Some("integer") => self.integer(node, schema, path),
                Some("number") => self.number(node, path),
                Some("boolean") => match node.value {
                    Value::Bool(value) => Some(Json::Bool(value)),
                    _ => self.mismatch(node, path, "`true` or `false`"),
                },
                _ => self.text(node, schema, path),
            }
        };
        if json.is_none() {
            self.damaged.push(path.clone());
        }
        json
    }

    fn map(&mut self, node: &Node, schema: &'a Json, path: &Path) -> Option<Json> {
        let Value::Map(entries) = &node.value else {
            return self.mismatch(node, path, "a map");
        };
        let fields = schema["properties"].as_object();
        let mut firsts: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in entries {
            firsts.entry(&entry.key).or_insert(entry);
        }
        let free: Vec<&str> = fields
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|field| !firsts.contains_key(field))
            .collect();
        let mut found = Map::new();
        let damaged = self.damaged.len();
        for entry in entries {
            let first = firsts.get(entry.key.as_str());
            let repeats = first.filter(|first| !std::ptr::eq(**first, entry));
            let path_of_entry = path.clone().key(&entry.key);
            let field = fields
                .and_then(|fields| fields.get(&entry.key))
                .or_else(|| schema.get("additionalProperties").filter(|s| s.is_object()));
            match field {
                Some(field) => {
                    let json = self.value(&entry.value, field, &path_of_entry);
                    if let (None, Some(json)) = (repeats, json) {
                        found.insert(entry.key.clone(), json);
                    }
                }
                None if repeats.is_some() => {}
                None => self.unknown(entry, &free, path),
            }
            if let Some(first) = repeats {
                // Nobody knows which of the two is meant.
                self.duplicate(first, entry);
                self.damaged.push(path_of_entry);
            }
        }
        // A document is worth a further look whatever it lacks.
        let intact = self.has_required(node, schema, &found, damaged, path);
        (intact || *path == Path::root()).then_some(Json::Object(found))
    }

    /// Whether every field that `schema` requires was found in `node`; reports those that it lacks.
    /// Damage from index `damaged` on was found in the same map.
    fn has_required(
        &mut self,
        node: &Node,
        schema: &Json,
        found: &Map<String, Json>,
        damaged: usize,
        path: &Path,
    ) -> bool {
        let mut intact = true;
        for name in schema["required"].as_array().into_iter().flatten() {
            let Some(name) = name.as_str() else { continue };
            if node.get(name).is_some() {
                // A wrong value was reported; it leaves a hole.
                intact &= found.contains_key(name);
                continue;
            }
            intact = false;
            let misspelled = path.clone().key(name);
            if !self.damaged[damaged..].contains(&misspelled) {
                let place = self.head(node, path);
                self.wrong.push(
                    Diagnostic::new(place, format!("{} lacks the field `{name}`", whole(path)))
                        .help(example(path, name)),
                );
            }
        }
        intact
    }

    fn list(&mut self, node: &Node, schema: &'a Json, path: &Path) -> Option<Json> {
        let Value::List(items) = &node.value else {
            return self.mismatch(node, path, "a list");
        };
        let least = schema["minItems"].as_u64().unwrap_or(0);
        if (items.len() as u64) < least {
            self.wrong.push(
                Diagnostic::new(
                    self.place(&node.span),
                    format!("`{path}` must not be empty"),
                )
                .help("add an item, or leave the field out"),
            );
            return None;
        }
        let mut kept = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let damaged = self.damaged.len();
            match self.value(item, &schema["items"], &path.clone().index(at)) {
                Some(json) => {
                    // It moves up to where others were taken out.
                    for damaged in &mut self.damaged[damaged..] {
                        damaged.move_item(path, kept.len());
                    }
                    kept.push(json);
                }
                None => {
                    self.damaged.truncate(damaged);
                    self.damaged.push(path.clone().hole());
                    self.removed.insert(item.span.start);
                }
            }
        }
        Some(Json::Array(kept))
    }

    fn integer(&mut self, node: &Node, schema: &Json, path: &Path) -> Option<Json> {
        let Value::Number(text) = &node.value else {
            return self.mismatch(node, path, "a whole number");
        };
        let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
        let most = schema["maximum"]
            .as_i64()
            .unwrap_or(match schema["format"].as_str() {
                Some("uint16") => i64::from(u16::MAX),
                Some("uint32") => i64::from(u32::MAX),
                _ => i64::MAX,
            });
        let decimal = text.parse::<i128>().ok().filter(|n| n.to_string() == *text);
        let Some(number) = decimal else {
            return self.mismatch(node, path, "a whole number in decimal digits");
        };
        match i64::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => Some(number.into()),
            _ => {
                let message = format!("`{path}` is out of range");
                let place = self.place(&node.span);
                self.wrong.push(
                    Diagnostic::new(place, message)
                        .label(format!("must be between {least} and {most}")),
                );
                None
            }
        }
    }

    fn number(&mut self, node: &Node, path: &Path) -> Option<Json> {
        let Value::Number(text) = &node.value else {
            return self.mismatch(node, path, "a number");
        };
        let number = text
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64);
        match number {
            Some(number) => Some(Json::Number(number)),
            None => self.mismatch(node, path, "a number in decimal digits"),
        }
    }

    fn text(&mut self, node: &Node, schema: &Json, path: &Path) -> Option<Json> {
        let wanted = match schema["format"].as_str() {
            Some("period") => A_PERIOD,
            Some("percent") => A_PERCENT,
            Some("share") => A_SHARE,
            Some("size") => A_SIZE,
            Some("limit") => A_LIMIT,
            Some("cores") => A_NUMBER_OF_CORES,
            Some("port-range") => A_PORT_RANGE,
            _ => "text",
        };
        let text = match &node.value {
            Value::Text(text) => text,
            Value::Number(text) if [A_LIMIT, A_SHARE, A_NUMBER_OF_CORES].contains(&wanted) => text,
            _ => return self.mismatch(node, path, wanted),
        };
        let format = schema["format"].as_str().unwrap_or_default();
        if let Err(error) = conforms(text, format) {
            let place = self.place(&node.span);
            let (message, help) = advice(&error);
            let help = completed(text, wanted).or(help);
            self.wrong
                .push(Diagnostic::new(place, message).help_if(help));
            return None;
        }
        Some(Json::String(text.clone()))
    }

    fn choice(&mut self, node: &Node, choices: &[&str], path: &Path) -> Option<Json> {
        let Value::Text(text) = &node.value else {
            return self.mismatch(node, path, "text");
        };
        if choices.contains(&text.as_str()) {
            return Some(Json::String(text.clone()));
        }
        let place = self.place(&node.span);
        let mut diagnostic = Diagnostic::new(place, format!("`{text}` is no value of `{path}`"))
            .help(format!("allowed: {}", choices.join(", ")));
        if let Some(close) = closest(text, choices.iter().copied()) {
            diagnostic = diagnostic.label(format!("did you mean `{close}`?"));
        }
        self.wrong.push(diagnostic);
        None
    }

    fn duplicate(&mut self, first: &Entry, second: &Entry) {
        let place = self.place(&second.key_span);
        self.wrong.push(
            Diagnostic::new(place, format!("`{}` is given twice", second.key))
                .related(self.place(&first.key_span), "first given here")
                .help("remove one of them"),
        );
    }

    /// Reports a field that the map at `path` does not have; `free` are those that it lacks.
    fn unknown(&mut self, entry: &Entry, free: &[&str], path: &Path) {
        let place = self.place(&entry.key_span);
        let key = &entry.key;
        let mut diagnostic =
            Diagnostic::new(place, format!("{} has no field `{key}`", whole(path)));
        if let Some(close) = closest(key, free.iter().copied()) {
            diagnostic = diagnostic.label(format!("did you mean `{close}`?"));
            self.damaged.push(path.clone().key(close));
        } else if key == "<<" {
            diagnostic = diagnostic.help("manifests have no merge keys: write the fields out");
        } else if free.is_empty() {
            diagnostic = diagnostic.help("remove it");
        } else {
            diagnostic = diagnostic.help(format!("allowed: {}", free.join(", ")));
        }
        self.wrong.push(diagnostic);
    }

    /// Reports that `node` is not `wanted`.
    fn mismatch(&mut self, node: &Node, path: &Path, wanted: &str) -> Option<Json> {
        let place = self.head(node, path);
        let message = match &node.value {
            Value::Null => format!("`{path}` has no value"),
            _ => format!("{} must be {wanted}", whole(path)),
        };
        let (found, help) = self.explain(node, wanted);
        self.wrong
            .push(Diagnostic::new(place, message).label(found).help_if(help));
        None
    }

    /// What `node` is instead of `wanted`, and how it becomes that.
    fn explain(&self, node: &Node, wanted: &str) -> (String, Option<String>) {
        let source = self.text.get(node.span.clone()).unwrap_or_default();
        let quote = if source.contains('"') { '\'' } else { '"' };
        let quoted = || {
            (!source.contains('\n')).then(|| format!("put it in quotes: {quote}{source}{quote}"))
        };
        match &node.value {
            Value::Null if wanted == "a map" => (
                format!("must be {wanted}"),
                Some("write `{}` for a map without fields, or remove it".to_owned()),
            ),
            Value::Null => (
                format!("must be {wanted}"),
                Some("give it a value, or remove it".to_owned()),
            ),
            Value::Bool(_) | Value::Number(_) if wanted == "text" => {
                let kind = if matches!(node.value, Value::Bool(_)) {
                    "a boolean"
                } else {
                    "a number"
                };
                (format!("this is {kind}"), quoted())
            }
            Value::Bool(_) => ("this is a boolean".to_owned(), None),
            Value::Number(_) => ("this is a number".to_owned(), completed(source, wanted)),
            Value::Text(text) => {
                let bare = match wanted {
                    "a whole number" => text.parse::<u32>().is_ok(),
                    "`true` or `false`" => text == "true" || text == "false",
                    _ => false,
                };
                let help = bare.then(|| format!("write it without quotes: {text}"));
                let help = help.or((wanted == "a list")
                    .then(|| format!("write each word as an item: [{}]", words(text).join(", "))));
                ("this is text".to_owned(), help)
            }
            Value::List(_) => ("this is a list".to_owned(), None),
            Value::Broken => ("this cannot be read".to_owned(), None),
            Value::Map(entries) => {
                // `{host}` without quotes is a map with a key and no value.
                let placeholder = wanted == "text"
                    && entries
                        .iter()
                        .all(|entry| matches!(entry.value.value, Value::Null))
                    && source.starts_with('{');
                (
                    "this is a map".to_owned(),
                    placeholder.then(quoted).flatten(),
                )
            }
        }
    }

    fn place(&self, span: &Span) -> Place {
        Place::new(self.source, span.clone())
    }

    /// The place of `node`, to which `path` leads; of its key where it is empty or long.
    fn head(&self, node: &Node, path: &Path) -> Place {
        if node.is_short(self.text) {
            self.place(&node.span)
        } else {
            self.place(&self.tree.place(path, self.text))
        }
    }
}

/// What `schema` allows, when it allows only certain texts.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Json::as_str).collect();
    }
    if let Some(value) = schema["const"].as_str() {
        return Some(vec![value]);
    }
    let parts = schema["oneOf"].as_array()?;
    let parts: Option<Vec<Vec<&str>>> = parts.iter().map(choices).collect();
    Some(parts?.concat())
}

/// Whether a value may be a text or a map.
fn is_either(schema: &Json) -> bool {
    let types = schema["type"].as_array();
    types.is_some_and(|types| types.iter().any(|name| name == "object"))
}

/// Whether `node` is a map, and not a placeholder that lacks its quotes.
fn is_filled_map(node: &Node) -> bool {
    let Value::Map(entries) = &node.value else {
        return false;
    };
    let mut values = entries.iter().map(|entry| &entry.value.value);
    values.any(|value| !matches!(value, Value::Null))
}

/// How a bare number, as in `interval: 5`, becomes what is `wanted`.
fn completed(text: &str, wanted: &str) -> Option<String> {
    let number: u32 = text.parse().ok()?;
    match wanted {
        A_PERIOD => Some(format!("give it a unit, as in {number}s")),
        A_PERCENT => Some(format!("write `{number}%`")),
        A_PORT_RANGE => Some(format!("write `port: {number}` for a single port")),
        _ => None,
    }
}

/// Whether `text` keeps the rule that `format` names.
fn conforms(text: &str, format: &str) -> Result<(), String> {
    match format {
        "name" => text.parse::<Name>().map(drop).map_err(|e| e.to_string()),
        "period" => text.parse::<Period>().map(drop).map_err(|e| e.to_string()),
        "percent" => Percent::try_from(text.to_owned())
            .map(drop)
            .map_err(|e| e.to_string()),
        "share" => text.parse::<Share>().map(drop).map_err(|e| e.to_string()),
        "sha256" => Digest::try_from(text.to_owned()).map(drop),
        "size" => text.parse::<Size>().map(drop).map_err(|e| e.to_string()),
        "cores" => text.parse::<Cores>().map(drop).map_err(|e| e.to_string()),
        "limit" => text.parse::<Ceiling>().map(drop),
        "umask" => Umask::try_from(text.to_owned()).map(drop),
        "file-mode" => FileMode::try_from(text.to_owned()).map(drop),
        "port-range" => PortRange::try_from(text.to_owned()).map(drop),
        _ => Ok(()),
    }
}

/// `path` as the subject of a sentence.
fn whole(path: &Path) -> String {
    if *path == Path::root() {
        "a manifest".to_owned()
    } else {
        format!("`{path}`")
    }
}

/// What a missing field of `path` might look like.
fn example(path: &Path, field: &str) -> String {
    let example = match field {
        "apiVersion" => "apiVersion: quaestor/v1",
        "kind" => "kind: Service",
        "metadata" => "metadata: {name: my-service}",
        "fromFile" => "fromFile: /etc/qa/license",
        "spec" => "spec: {command: [my-program]}",
        _ if *path == Path::of("metadata") => "name: my-service",
        _ => "name: grpc",
    };
    format!("add it, as in `{example}`")
}
