//! The JSON Schema of manifests, made from the very types that hold them.

use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::Document;

/// The JSON Schema (draft 7, which editors know best) of one manifest.
///
/// `format` says by which rule of ours a text is checked: `name`, `period`, `percent`, `share`, `size`,
/// `limit`, `sha256`, `umask`, `file-mode` or `port-range`; `pattern` tells editors about the same.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft07()
        .with_transform(RecursiveTransform(without_null))
        .into_generator()
        .into_root_schema_for::<Document>();
    schema.insert("title".to_owned(), json!("Quaestor manifest"));
    schema.to_value()
}

/// Takes `null` out of what an optional field may be: a field is left out or has a value.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({"type": "null"}));
        if choices.len() == 1
            && let Some(choices) = schema.remove("anyOf")
        {
            schema.insert("allOf".to_owned(), choices);
        }
    }
}

/// What `schema` says after its references, in the schema `root`, are followed.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    loop {
        let referred = match (&schema["$ref"], &schema["allOf"]) {
            (Value::String(pointer), _) => root.pointer(pointer.trim_start_matches('#')),
            (_, Value::Array(parts)) => parts.first(),
            _ => None,
        };
        match referred {
            Some(next) => schema = next,
            None => return schema,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`super::super::shape`] reads, and what it may overlook.
    const KNOWN: [&str; 20] = [
        "$ref",
        "$schema",
        "additionalProperties",
        "allOf",
        "const",
        "default",
        "definitions",
        "description",
        "enum",
        "format",
        "items",
        "maximum",
        "minItems",
        "minimum",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];

    fn keywords(schema: &Value, found: &mut Vec<String>) {
        let Value::Object(fields) = schema else {
            return;
        };
        for (keyword, value) in fields {
            found.push(keyword.clone());
            match (keyword.as_str(), value) {
                ("properties" | "definitions", Value::Object(parts)) => {
                    parts.values().for_each(|part| keywords(part, found));
                }
                ("allOf" | "oneOf", Value::Array(parts)) => {
                    parts.iter().for_each(|part| keywords(part, found));
                }
                ("items" | "additionalProperties", part) => keywords(part, found),
                _ => {}
            }
        }
    }

    #[test]
    fn the_schema_says_nothing_that_the_shape_check_does_not_know() {
        let mut found = Vec::new();
        keywords(&schema(), &mut found);
        for keyword in found {
            assert!(KNOWN.contains(&keyword.as_str()), "{keyword}");
        }
    }

    #[test]
    fn no_field_may_be_null_and_none_may_be_unknown() {
        let text = schema().to_string();
        assert!(!text.contains("\"null\""), "{text}");
        let schema = schema();
        let definitions = schema["definitions"].as_object().unwrap();
        for (name, definition) in definitions.iter().chain([(&"root".to_owned(), &schema)]) {
            if definition.get("properties").is_some() || definition["type"] == "object" {
                assert_eq!(definition["additionalProperties"], false, "{name}");
            }
        }
    }

    #[test]
    fn every_field_has_a_description() {
        let schema = schema();
        let definitions = schema["definitions"].as_object().unwrap();
        for (name, definition) in definitions {
            for (field, value) in definition["properties"].as_object().into_iter().flatten() {
                assert!(value["description"].is_string(), "{name}.{field}");
            }
        }
    }
}
