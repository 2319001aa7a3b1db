//! What a field of a manifest means, from the schema: the same words that editors show.

use serde_json::{Map, Value};

use super::{
    schema::{resolve, schema},
    suggest::closest,
};

/// A field of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; the last part of its path.
    pub name: String,
    /// What it takes: `text`, `number`, `map of text`, `one of always, onFailure, never` and so on.
    pub takes: String,
    /// What it means.
    pub description: String,
    /// How its values are written, where that is a matter of its own.
    pub notation: Option<String>,
    /// Whether it has to be there.
    pub required: bool,
    /// The fields in it.
    pub fields: Vec<Self>,
}

/// There is no such field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Unknown {
    /// The path as far as there is something.
    pub known: String,
    /// The part that is not there.
    pub part: String,
    /// What was likely meant.
    pub close: Option<String>,
    /// All there is.
    pub fields: Vec<String>,
}

impl Unknown {
    fn text(&self) -> String {
        let Self {
            known,
            part,
            close,
            fields,
        } = self;
        let at = match known.as_str() {
            "" => "a manifest".to_owned(),
            known => format!("`{known}`"),
        };
        match (close, fields.as_slice()) {
            (Some(close), _) => format!("{at} has no field `{part}`; did you mean `{close}`?"),
            (None, []) => format!("{at} has no field `{part}`, and no other: it is a value"),
            (None, fields) => format!("{at} has no field `{part}`; it has {}", fields.join(", ")),
        }
    }
}

/// What the field at `path` means, as in `spec.restart.delay`; the whole manifest where it is empty.
///
/// # Errors
/// [`Unknown`] where there is no such field.
pub fn explain(path: &str) -> Result<Field, Unknown> {
    let root = schema();
    let mut at = &root;
    let mut found = field(&root, "Service", &root, true);
    let mut known = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        // `ports[0]` and `ports[]` mean an item, and so does `ports`.
        let part = part.split('[').next().unwrap_or(part);
        let inner = fields(&root, at);
        let Some(next) = inner.and_then(|fields| fields.get(part)) else {
            let fields: Vec<String> = inner.into_iter().flat_map(Map::keys).cloned().collect();
            return Err(Unknown {
                known,
                part: part.to_owned(),
                close: closest(part, fields.iter().map(String::as_str)).map(str::to_owned),
                fields,
            });
        };
        let required = is_required(&root, at, part);
        found = field(&root, part, next, required);
        at = next;
        if !known.is_empty() {
            known.push('.');
        }
        known.push_str(part);
    }
    found.fields = fields(&root, at)
        .into_iter()
        .flatten()
        .map(|(name, inner)| field(&root, name, inner, is_required(&root, at, name)))
        .collect();
    Ok(found)
}

fn field(root: &Value, name: &str, schema: &Value, required: bool) -> Field {
    let resolved = resolve(root, schema);
    let text = |schema: &Value| {
        let text = schema["description"].as_str().unwrap_or_default();
        unwrap(text)
    };
    // Where the field itself is described, its type says how it is written.
    let of_type = text(resolved);
    let is_plain = resolved["properties"].is_null() && !std::ptr::eq(schema, resolved);
    let own = text(schema);
    let notation = is_plain.then_some(of_type.clone());
    Field {
        name: name.to_owned(),
        takes: takes(root, resolved),
        description: if own.is_empty() { of_type } else { own },
        notation: notation.filter(|text| !text.is_empty()),
        required,
        fields: Vec::new(),
    }
}

/// Lines joined to paragraphs: a screen has a width of its own.
fn unwrap(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let joined: Vec<String> = paragraphs.map(|it| it.replace('\n', " ")).collect();
    joined.join("\n\n")
}

/// The fields of a map, of the items of a list, or of the values of a map with free keys.
fn fields<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Map<String, Value>> {
    let schema = resolve(root, schema);
    if let Some(fields) = schema["properties"].as_object() {
        return Some(fields);
    }
    let inner = [&schema["items"], &schema["additionalProperties"]];
    let inner = inner.into_iter().find(|inner| inner.is_object())?;
    fields(root, inner)
}

fn is_required(root: &Value, schema: &Value, field: &str) -> bool {
    let required = &resolve(root, schema)["required"];
    let required = required.as_array().into_iter().flatten();
    required.into_iter().any(|name| name == field)
}

/// What a field takes, in a few words.
fn takes(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(choices) = choices(schema) {
        return choices.join(" | ");
    }
    if let Some(Value::Array(types)) = schema.get("type") {
        let names = types.iter().filter_map(Value::as_str).map(plain);
        return names.collect::<Vec<_>>().join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", takes(root, &schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("map of {}", takes(root, &schema["additionalProperties"]))
        }
        Some(name) => match schema["format"].as_str() {
            Some(rule @ ("period" | "percent" | "share" | "size" | "name")) => rule.to_owned(),
            _ => plain(name).to_owned(),
        },
        None => "text".to_owned(),
    }
}

fn plain(json_type: &str) -> &'static str {
    match json_type {
        "object" => "map",
        "array" => "list",
        "integer" | "number" => "number",
        "boolean" => "true or false",
        _ => "text",
    }
}

/// The values of a field that takes few.
fn choices(schema: &Value) -> Option<Vec<String>> {
    let constants = |list: &Vec<Value>| -> Option<Vec<String>> {
        let lists = list.iter().map(|choice| match &choice["enum"] {
            Value::Array(values) => Some(values.clone()),
            _ => Some(vec![choice.get("const")?.clone()]),
        });
        let values: Option<Vec<Vec<Value>>> = lists.collect();
        Some(values?.concat().iter().map(shown).collect())
    };
    match (&schema["enum"], &schema["oneOf"]) {
        (Value::Array(values), _) => Some(values.iter().map(shown).collect()),
        (_, Value::Array(parts)) => constants(parts),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_says_what_it_takes_and_means() {
        let delay = explain("spec.restart.delay").unwrap();
        assert_eq!(
            (delay.name.as_str(), delay.takes.as_str()),
            ("delay", "period")
        );
        assert!(
            delay.description.contains("before the first restart"),
            "{delay:?}"
        );
        assert!(delay.notation.unwrap().contains("`100ms`"));
        assert!(delay.fields.is_empty());
        let policy = explain("spec.restart.policy").unwrap();
        assert_eq!(policy.takes, "always | onFailure | never");
    }

    #[test]
    fn maps_and_lists_show_the_fields_in_them() {
        let whole = explain("").unwrap();
        let spec = whole
            .fields
            .iter()
            .find(|field| field.name == "spec")
            .unwrap();
        assert!(spec.required);
        let ports = explain("spec.ports[0]").unwrap();
        assert!(ports.takes.starts_with("list of"), "{}", ports.takes);
        assert!(ports.fields.iter().any(|field| field.name == "range"));
        assert_eq!(explain("spec.ports").unwrap().fields, ports.fields);
    }

    #[test]
    fn every_field_of_the_schema_can_be_explained() {
        let mut paths = vec![String::new()];
        let mut count = 0;
        while let Some(path) = paths.pop() {
            let found = explain(&path).unwrap();
            assert!(!found.description.is_empty(), "{path}");
            assert!(!found.takes.is_empty(), "{path}");
            count += 1;
            for field in found.fields {
                paths.push(
                    format!("{path}.{}", field.name)
                        .trim_start_matches('.')
                        .to_owned(),
                );
            }
        }
        assert!(count > 80, "{count}");
    }

    #[test]
    fn what_is_not_there_is_named_with_what_was_likely_meant() {
        let wrong = |path| explain(path).unwrap_err().to_string();
        assert_eq!(
            wrong("spec.restrat"),
            "`spec` has no field `restrat`; did you mean `restart`?"
        );
        assert_eq!(
            wrong("spec.replicas.x"),
            "`spec.replicas` has no field `x`, and no other: it is a value"
        );
        assert!(
            wrong("spec.stop.zzzzzzzzzz").contains("it has drain, grace"),
            "{}",
            wrong("spec.stop.zzzzzzzzzz")
        );
    }
}
