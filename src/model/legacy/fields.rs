//! A YAML map as quaestor-mini-cluster reads it: keys in any case, all values as text.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

/// A map of which fields are taken one by one; what is left at the end was not understood.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// What an error calls the map.
    place: String,
    /// By the key in lower case: the key as written, and its value.
    left: BTreeMap<String, (String, Value)>,
}

impl Fields {
    /// The fields of `map`, which errors call `place`.
    pub(super) fn new(place: &str, map: Mapping) -> Self {
        let entry = |(key, value): (Value, Value)| {
            let key = text(&key)?;
            Some((key.to_lowercase(), (key, value)))
        };
        Self {
            place: place.to_owned(),
            left: map.into_iter().filter_map(entry).collect(),
        }
    }

    /// What errors call the map.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The value of `key`; none where it is missing or empty.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        let (_, value) = self.left.remove(&key.to_lowercase())?;
        let is_empty = matches!(&value, Value::Null) || value.as_str() == Some("");
        (!is_empty).then_some(value)
    }

    /// The text of `key`; a number or a boolean as it is spelled.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || format!("{key} is no text", key = self.path(key));
        text(&value).map(Some).ok_or_else(wrong)
    }

    /// The number of `key`, not negative.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) if (0.0..1e9).contains(&number) => Ok(Some(number)),
            _ => Err(format!(
                "{} is `{text}`, which is no number that can be used",
                self.path(key)
            )),
        }
    }

    /// The number of `key`, without a fraction.
    pub(super) fn count(&mut self, key: &str) -> Result<Option<u32>, String> {
        let number = self.number(key)?;
        if number.is_some_and(|number| number.fract() != 0.0) {
            return Err(format!("{} is no whole number", self.path(key)));
        }
        // In range: `number` is below 1e9.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range"
        )]
        Ok(number.map(|number| number as u32))
    }

    /// Whether `key` is true; false where it is missing.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.text(key)?.unwrap_or_default().to_lowercase().as_str() {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            other => Err(format!(
                "{} is `{other}`, neither true nor false",
                self.path(key)
            )),
        }
    }

    /// The texts in the list of `key`; a single text is a list of one.
    pub(super) fn list(&mut self, key: &str) -> Result<Vec<String>, String> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Sequence(items)) => {
                let wrong = || format!("{} has an entry that is no text", self.path(key));
                items
                    .iter()
                    .map(|item| text(item).ok_or_else(wrong))
                    .collect()
            }
            Some(value) => match text(&value) {
                Some(text) => Ok(vec![text]),
                None => Err(format!("{} is no list", self.path(key))),
            },
        }
    }

    /// The texts in the map of `key`; nothing is an empty text.
    pub(super) fn texts(&mut self, key: &str) -> Result<BTreeMap<String, String>, String> {
        match self.value(key) {
            None => Ok(BTreeMap::new()),
            Some(Value::Mapping(map)) => {
                let wrong = || format!("{} has an entry that is no text", self.path(key));
                let entry = |(key, value): (&Value, &Value)| {
                    let value = if value.is_null() {
                        Some(String::new())
                    } else {
                        text(value)
                    };
                    Some((text(key)?, value?))
                };
                map.iter()
                    .map(|pair| entry(pair).ok_or_else(wrong))
                    .collect()
            }
            Some(_) => Err(format!("{} is no map of names and values", self.path(key))),
        }
    }

    /// The keys that nobody has taken, as written.
    pub(super) fn left(&self) -> impl Iterator<Item = &str> {
        self.left.values().map(|(key, _)| key.as_str())
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }
}

/// A scalar as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
