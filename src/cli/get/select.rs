//! In which order things are shown, by a field of what `-o json` shows of them.

use std::cmp::Ordering;

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

use crate::model::manifest::closest;

/// Sorts `items` by a field as in `restarts` or `load.rate`; with `-` before it the other way round. Those
/// without it come last; equal ones stay as they are.
///
/// # Errors
/// None of them has such a field.
pub(super) fn sort<T: Serialize>(items: &mut Vec<T>, by: Option<&str>) -> anyhow::Result<()> {
    let Some(by) = by.filter(|_| !items.is_empty()) else {
        return Ok(());
    };
    let (path, descends) = match by.strip_prefix('-') {
        Some(path) => (path, true),
        None => (by, false),
    };
    let values: Vec<Value> = items
        .iter()
        .map(|item| serde_json::to_value(item).unwrap_or_default())
        .collect();
    let field = |value: &Value| {
        value
            .pointer(&format!("/{}", path.replace('.', "/")))
            .cloned()
    };
    if values.iter().all(|value| field(value).is_none()) {
        let known: Vec<&str> = (values.iter().filter_map(Value::as_object))
            .flat_map(|object| object.keys().map(String::as_str))
            .collect();
        match closest(path, known.iter().copied()) {
            Some(close) => bail!("there is no field {path} to sort by; did you mean {close}?"),
            None => bail!("there is no field {path} to sort by; `-o json` shows which there are"),
        }
    }
    let keys = values.iter().map(|value| field(value).unwrap_or_default());
    let mut keyed: Vec<(Value, T)> = keys.zip(items.drain(..)).collect();
    keyed.sort_by(|(a, _), (b, _)| match (a.is_null(), b.is_null()) {
        (false, false) if descends => compare(b, a),
        (false, false) => compare(a, b),
        (a, b) => a.cmp(&b),
    });
    items.extend(keyed.into_iter().map(|(_, item)| item));
    Ok(())
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let number = |value: &serde_json::Number| value.as_f64().unwrap_or_default();
            number(a).total_cmp(&number(b))
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sorted(by: &str) -> Result<Vec<i64>, String> {
        let mut items = vec![
            json!({"id": 1, "restarts": 10, "load": {"rate": 0.5}, "name": "b"}),
            json!({"id": 2, "restarts": 9, "load": null, "name": "a"}),
            json!({"id": 3, "restarts": 10, "load": {"rate": 0.1}, "name": "c"}),
        ];
        sort(&mut items, Some(by)).map_err(|error| error.to_string())?;
        Ok(items
            .iter()
            .map(|item| item["id"].as_i64().unwrap())
            .collect())
    }

    #[test]
    fn numbers_count_as_numbers_and_what_has_no_value_comes_last() {
        assert_eq!(sorted("restarts").unwrap(), [2, 1, 3]);
        assert_eq!(sorted("-restarts").unwrap(), [1, 3, 2]);
        assert_eq!(sorted("name").unwrap(), [2, 1, 3]);
        assert_eq!(sorted("load.rate").unwrap(), [3, 1, 2]);
        assert_eq!(sorted("-load.rate").unwrap(), [1, 3, 2]);
        let refused = sorted("restrats").unwrap_err();
        assert!(refused.ends_with("did you mean restarts?"), "{refused}");
    }
}
