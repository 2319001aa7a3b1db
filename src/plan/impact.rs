//! What a changed manifest does to what runs, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::blueprint::Blueprint;
use crate::model::{ServiceObject, ServiceSpec};

/// What a changed field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Every instance gets a new process, as `rollout` says.
    NewProcesses,
    /// Instances that do not fit any more are moved or get another port; the others stay.
    Moves,
    /// Instances are added or ended; those that stay are left alone.
    Number,
    /// Nothing is restarted.
    Nothing,
}

/// Of each field in which `after` differs from `before`, as in `spec.replicas`, what that does.
pub fn impact(before: &ServiceObject, after: &ServiceObject) -> BTreeMap<String, Effect> {
    let mut effects = BTreeMap::new();
    if before.metadata.labels != after.metadata.labels {
        effects.insert("metadata.labels".to_owned(), Effect::Nothing);
    }
    let (old, new) = (fields(&before.spec), fields(&after.spec));
    for key in old.keys().chain(new.keys()) {
        if old.get(key) != new.get(key) {
            let effect = effect(key, before, &old, new.get(key));
            effects.insert(format!("spec.{key}"), effect);
        }
    }
    effects
}

fn effect(
    key: &str,
    before: &ServiceObject,
    old: &Map<String, Value>,
    new: Option<&Value>,
) -> Effect {
    let mut changed = old.clone();
    match new {
        Some(new) => drop(changed.insert(key.to_owned(), new.clone())),
        None => drop(changed.remove(key)),
    }
    let spec: Option<ServiceSpec> = serde_json::from_value(Value::Object(changed)).ok();
    let is_ours = before.spec.external.is_empty();
    let needs_processes = is_ours
        && spec.is_none_or(|spec| {
            let changed = ServiceObject {
                spec,
                ..before.clone()
            };
            Blueprint::new(&changed).revision() != Blueprint::new(before).revision()
        });
    match key {
        _ if needs_processes => Effect::NewProcesses,
        "replicas" | "onePerNode" | "external" => Effect::Number,
        "placement" | "requests" | "singleton" | "ports" => Effect::Moves,
        _ => Effect::Nothing,
    }
}

fn fields(spec: &ServiceSpec) -> Map<String, Value> {
    // Structs with text keys always have a JSON form.
    match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(spec: &str) -> ServiceObject {
        let text =
            format!(r#"{{"metadata": {{"name": "a"}}, "generation": 1, "spec": {{{spec}}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_what_is_part_of_the_template_needs_new_processes() {
        let before = object(r#""command": ["a"], "replicas": 2"#);
        let after = object(
            r#""command": ["b"], "replicas": 3, "env": {"X": "1"}, "resources": {"memory": "1GiB"},
                "placement": {"nodeSelector": {"pool": "qa"}}, "stop": {"grace": "5s"}"#,
        );
        let effects = impact(&before, &after);
        let expected = [
            ("spec.command", Effect::NewProcesses),
            ("spec.env", Effect::NewProcesses),
            ("spec.placement", Effect::Moves),
            ("spec.replicas", Effect::Number),
            ("spec.resources", Effect::NewProcesses),
            ("spec.stop", Effect::Nothing),
        ];
        let expected = expected.map(|(key, effect)| (key.to_owned(), effect));
        assert_eq!(effects, BTreeMap::from(expected));
    }

    #[test]
    fn a_larger_limit_and_a_wider_range_restart_nothing() {
        let before = object(
            r#""command": ["a"], "resources": {"memory": "1GiB"}, "ports": [{"name": "p", "range": "1-9"}]"#,
        );
        let after = object(
            r#""command": ["a"], "resources": {"memory": "2GiB"}, "ports": [{"name": "p", "range": "1-99"}]"#,
        );
        let effects = impact(&before, &after);
        assert_eq!(effects.get("spec.resources"), Some(&Effect::Nothing));
        assert_eq!(effects.get("spec.ports"), Some(&Effect::Moves));
    }

    #[test]
    fn what_others_run_is_never_restarted() {
        let before = object(r#""external": ["a:1"]"#);
        let after = object(r#""external": ["a:1", "b:1"]"#);
        let effects = impact(&before, &after);
        assert_eq!(effects.get("spec.external"), Some(&Effect::Number));
    }
}
