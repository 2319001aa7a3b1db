//! What becomes of a stored manifest when somebody applies theirs and others have changed it meanwhile.
//!
//! A three-way merge of JSON, as `kubectl` does it: between what the author applied last (the base), what is
//! stored, and what the author wants now. A field that only one side changed is as that side has it; one that
//! nobody mentions stays; one that both changed is a [`Clash`]. Maps are merged field by field, all else
//! (lists too) counts as one value.
//!
//! Defaults stand in the way of comparing, as stored values leave some out and spell some out. [`mask`] reduces
//! what is wanted to what was written, [`canonical`] what is stored to what somebody mentions or what is no default.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

/// The way to a field, from the document down.
pub type Keys = Vec<String>;

/// What a merge came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The document; where the sides clash, as wanted.
    pub document: Value,
    /// What both sides changed, in the order of the fields.
    pub clashes: Vec<Clash>,
}

/// A field that was changed by others since the author applied it, and that they want otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Clash {
    /// The field.
    pub keys: Keys,
    /// Its stored value; none: others took it away.
    pub stored: Option<Value>,
    /// The wanted one; none: the author takes it away.
    pub wanted: Option<Value>,
}

/// Merges what is `wanted` into what is `stored`, where `base` is what the author wanted last.
pub fn merge(base: &Value, stored: &Value, wanted: &Value) -> Merged {
    let mut clashes = Vec::new();
    let document = merged(
        Some(base),
        Some(stored),
        Some(wanted),
        &mut Vec::new(),
        &mut clashes,
    );
    Merged {
        document: document.unwrap_or_default(),
        clashes,
    }
}

fn merged(
    base: Option<&Value>,
    stored: Option<&Value>,
    wanted: Option<&Value>,
    keys: &mut Keys,
    clashes: &mut Vec<Clash>,
) -> Option<Value> {
    if stored == wanted || stored == base {
        return wanted.cloned();
    }
    match (base, stored, wanted) {
        // It is nothing that the author ever spoke of.
        (None, Some(stored), None) => Some(stored.clone()),
        (_, Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let mut fields = Map::new();
            for key in ours.keys().chain(theirs.keys()) {
                if fields.contains_key(key) {
                    continue;
                }
                keys.push(key.clone());
                let base = base.and_then(|base| base.get(key));
                let field = merged(base, ours.get(key), theirs.get(key), keys, clashes);
                fields.extend(field.map(|field| (key.clone(), field)));
                keys.pop();
            }
            Some(Value::Object(fields))
        }
        _ => {
            clashes.push(Clash {
                keys: keys.clone(),
                stored: stored.cloned(),
                wanted: wanted.cloned(),
            });
            wanted.cloned()
        }
    }
}

/// `after` with those fields of what is `stored` that are not in `before`, which is all that this program has read of it:
/// a newer one has written them. A list keeps them in those of its elements that are as before.
pub fn keep_unknown(stored: &Value, before: &Value, after: &mut Value) {
    match (stored, before, after) {
        (Value::Object(stored), Value::Object(before), Value::Object(after)) => {
            for (key, value) in stored {
                match (before.get(key), after.get_mut(key)) {
                    (None, None) => drop(after.insert(key.clone(), value.clone())),
                    (Some(before), Some(after)) => keep_unknown(value, before, after),
                    // What is new to it, or was taken away, is as it has been decided.
                    (None, Some(_)) | (Some(_), None) => {}
                }
            }
        }
        (Value::Array(stored), Value::Array(before), Value::Array(after)) => {
            let pairs = stored.iter().zip(before).zip(after);
            for ((stored, before), after) in pairs.filter(|((_, before), after)| before == after) {
                keep_unknown(stored, before, after);
            }
        }
        _ => {}
    }
}

/// Of `whole`, what `written` mentions. What `whole` leaves out is as it was written.
pub fn mask(written: &Value, whole: &Value) -> Value {
    match (written, whole) {
        (Value::Object(written), Value::Object(whole)) => {
            let field = |(key, value): (&String, &Value)| {
                let masked = whole.get(key).map_or(value.clone(), |w| mask(value, w));
                (key.clone(), masked)
            };
            Value::Object(written.iter().map(field).collect())
        }
        _ => whole.clone(),
    }
}

/// `document` with those of its fields that are in one of `mentions` or are no defaults. `means_the_same` says
/// whether a changed document means what this one does.
pub fn canonical(
    document: &Value,
    mentions: &[&Value],
    means_the_same: &dyn Fn(&Value) -> bool,
) -> Value {
    let mut result = document.clone();
    let is_mentioned = |keys: &Keys| mentions.iter().any(|mention| get(mention, keys).is_some());
    // A map whose last field was a default may be one itself.
    loop {
        let before = result.clone();
        for keys in leaves(&before)
            .into_iter()
            .filter(|keys| !is_mentioned(keys))
        {
            let mut without = result.clone();
            if remove(&mut without, &keys) && means_the_same(&without) {
                result = without;
            }
        }
        if result == before {
            break;
        }
    }
    for mention in mentions {
        for keys in leaves(mention) {
            if get(&result, &keys).is_some() {
                continue;
            }
            let (Some(value), mut with) = (get(mention, &keys), result.clone()) else {
                continue;
            };
            if insert(&mut with, &keys, value.clone()) && means_the_same(&with) {
                result = with;
            }
        }
    }
    result
}

/// The fields in which two documents differ.
pub fn differences(one: &Value, other: &Value) -> Vec<Keys> {
    let mut found = Vec::new();
    differ(Some(one), Some(other), &mut Vec::new(), &mut found);
    found
}

fn differ(one: Option<&Value>, other: Option<&Value>, keys: &mut Keys, found: &mut Vec<Keys>) {
    match (one, other) {
        _ if one == other => {}
        (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let new = theirs.keys().filter(|key| !ours.contains_key(*key));
            for key in ours.keys().chain(new) {
                keys.push(key.clone());
                differ(ours.get(key), theirs.get(key), keys, found);
                keys.pop();
            }
        }
        _ => found.push(keys.clone()),
    }
}

/// A way to a field as people write it: `spec.health.interval`.
pub fn path(keys: &[String]) -> String {
    keys.join(".")
}

/// The ways to all fields that hold no further ones.
fn leaves(value: &Value) -> Vec<Keys> {
    fn walk(value: &Value, keys: &mut Keys, found: &mut Vec<Keys>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, field) in fields {
                    keys.push(key.clone());
                    walk(field, keys, found);
                    keys.pop();
                }
            }
            _ => found.push(keys.clone()),
        }
    }
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut found);
    found
}

/// The field at `keys`.
pub fn get<'a>(value: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

/// Takes the field at `keys` away. Whether there was one.
fn remove(value: &mut Value, keys: &[String]) -> bool {
    let Some((last, way)) = keys.split_last() else {
        return false;
    };
    let around = way.iter().try_fold(value, |value, key| value.get_mut(key));
    let fields = around.and_then(Value::as_object_mut);
    fields.is_some_and(|fields| fields.remove(last).is_some())
}

/// Puts `field` at `keys`. False where something else than a map is in the way.
fn insert(value: &mut Value, keys: &[String], field: Value) -> bool {
    let Some((last, way)) = keys.split_last() else {
        return false;
    };
    let mut around = value;
    for key in way {
        let Some(fields) = around.as_object_mut() else {
            return false;
        };
        around = fields
            .entry(key.clone())
            .or_insert_with(|| Value::Object(Map::new()));
    }
    let Some(fields) = around.as_object_mut() else {
        return false;
    };
    fields.insert(last.clone(), field);
    true
}
