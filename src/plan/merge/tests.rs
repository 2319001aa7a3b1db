use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What applying `wanted` comes to where `base` was applied before: the document, and the paths that clash.
fn apply(base: Value, stored: Value, wanted: Value) -> (Value, Vec<String>) {
    let merged = merge(&base, &stored, &wanted);
    let paths = merged.clashes.iter().map(|clash| path(&clash.keys));
    (merged.document, paths.collect())
}

#[test]
fn what_the_file_does_not_mention_stays_as_others_made_it() {
    let base = json!({"command": ["a"]});
    let stored = json!({"command": ["a"], "replicas": 5});
    assert_eq!(
        apply(base, stored, json!({"command": ["b"]})),
        (json!({"command": ["b"], "replicas": 5}), vec![])
    );
}

#[test]
fn what_both_changed_clashes_and_what_both_made_the_same_does_not() {
    let base = json!({"replicas": 3});
    let stored = json!({"replicas": 5});
    let (document, clashes) = apply(base.clone(), stored.clone(), json!({"replicas": 4}));
    assert_eq!(
        (document, clashes),
        (json!({"replicas": 4}), vec!["replicas".to_owned()])
    );
    assert_eq!(
        apply(base, stored.clone(), stored.clone()),
        (stored, vec![])
    );
}

#[test]
fn a_file_that_still_says_what_others_changed_clashes() {
    let file = json!({"replicas": 3});
    let (document, clashes) = apply(file.clone(), json!({"replicas": 5}), file.clone());
    assert_eq!((document, clashes), (file, vec!["replicas".to_owned()]));
}

#[test]
fn what_leaves_the_file_goes_unless_others_changed_it() {
    let base = json!({"env": {"A": "1", "B": "2"}});
    let wanted = json!({"env": {"A": "1"}});
    assert_eq!(
        apply(base.clone(), base.clone(), wanted.clone()),
        (wanted.clone(), vec![])
    );
    let changed = json!({"env": {"A": "1", "B": "3"}});
    let (document, clashes) = apply(base, changed, wanted.clone());
    assert_eq!((document, clashes), (wanted, vec!["env.B".to_owned()]));
}

#[test]
fn a_choice_that_is_exchanged_does_not_leave_the_other_behind() {
    let base = json!({"health": {"http": {"path": "/up"}}});
    let wanted = json!({"health": {"grpc": {}}});
    assert_eq!(apply(base.clone(), base, wanted.clone()), (wanted, vec![]));
}

#[test]
fn lists_are_one_value() {
    let (_, clashes) = apply(
        json!({"command": ["a", "b"]}),
        json!({"command": ["a", "c"]}),
        json!({"command": ["d", "b"]}),
    );
    assert_eq!(clashes, ["command"]);
}

#[test]
fn only_what_was_written_is_wanted_in_the_words_of_the_whole() {
    let written = json!({"health": {"interval": "1000ms"}, "published": true});
    let whole = json!({"health": {"interval": "1s", "timeout": "2s"}, "replicas": 1});
    assert_eq!(
        mask(&written, &whole),
        json!({"health": {"interval": "1s"}, "published": true})
    );
}

/// A document with defaults: `interval` 5, `published` true, and no `health`.
fn meaning(document: &Value) -> Value {
    let mut document = document.clone();
    let fields = document.as_object_mut().unwrap();
    fields.entry("published").or_insert(json!(true));
    let health = fields.entry("health").or_insert(json!({}));
    let health = health.as_object_mut().unwrap();
    health.entry("interval").or_insert(json!(5));
    document
}

#[test]
fn defaults_are_there_exactly_where_somebody_mentions_them() {
    let stored = json!({"health": {"interval": 5}, "command": ["a"]});
    let means_the_same = |other: &Value| meaning(other) == meaning(&stored);
    let canonical = |mention: Value| canonical(&stored, &[&mention], &means_the_same);
    assert_eq!(canonical(json!({})), json!({"command": ["a"]}));
    assert_eq!(
        canonical(json!({"published": true, "health": {"interval": 5}})),
        json!({"command": ["a"], "published": true, "health": {"interval": 5}})
    );
    // What is mentioned otherwise than it is stored is no default of what is stored.
    assert_eq!(
        canonical(json!({"published": false})),
        json!({"command": ["a"]})
    );
}

#[test]
fn differences_are_told_by_field() {
    let one = json!({"a": 1, "m": {"x": 1, "y": 2}});
    let other = json!({"a": 1, "m": {"x": 3}, "b": {"z": 1}});
    let paths: Vec<String> = differences(&one, &other)
        .iter()
        .map(|keys| path(keys))
        .collect();
    assert_eq!(paths, ["m.x", "m.y", "b"]);
}

/// Documents whose fields may be missing; what is a map is one in all of them, as in manifests.
fn document() -> impl Strategy<Value = Value> {
    let field = || proptest::option::of(0..3u8);
    let map = || proptest::option::of((field(), field()));
    (field(), field(), map(), map()).prop_map(|(a, b, m, n)| {
        let fields = |pairs: [(&str, Option<Value>); 4]| {
            let present = pairs.into_iter();
            let present = present.filter_map(|(key, value)| Some((key.to_owned(), value?)));
            Value::Object(present.collect())
        };
        let map = |inner: (Option<u8>, Option<u8>)| {
            let (x, y) = (inner.0.map(Value::from), inner.1.map(Value::from));
            fields([("x", x), ("y", y), ("", None), ("", None)])
        };
        fields([
            ("a", a.map(Value::from)),
            ("b", b.map(Value::from)),
            ("m", m.map(map)),
            ("n", n.map(map)),
        ])
    })
}

proptest! {
    #[test]
    fn where_nobody_else_changed_anything_the_file_is_what_comes_out(
        base in document(), wanted in document()
    ) {
        let merged = merge(&base, &base, &wanted);
        prop_assert_eq!(merged, Merged { document: wanted, clashes: vec![] });
    }

    #[test]
    fn all_that_the_file_says_holds_afterwards(
        base in document(), stored in document(), wanted in document()
    ) {
        let merged = merge(&base, &stored, &wanted);
        for keys in leaves(&wanted) {
            let (said, holds) = (get(&wanted, &keys), get(&merged.document, &keys));
            let is_empty_map = said.is_some_and(|said| said.as_object().is_some_and(Map::is_empty));
            prop_assert!(said == holds || (is_empty_map && holds.is_some()), "{:?}", keys);
        }
    }

    #[test]
    fn what_neither_side_of_the_author_mentions_is_kept(
        base in document(), stored in document(), wanted in document()
    ) {
        let merged = merge(&base, &stored, &wanted);
        for keys in leaves(&stored) {
            // A map that the author takes away as a whole goes with all that is in it, or clashes.
            let unspoken = keys.first().is_some_and(|first| {
                get(&base, std::slice::from_ref(first)).is_none() && get(&wanted, std::slice::from_ref(first)).is_none()
            });
            if unspoken {
                prop_assert_eq!(get(&stored, &keys), get(&merged.document, &keys));
            }
        }
    }

    #[test]
    fn only_what_others_changed_and_the_author_wants_otherwise_clashes(
        base in document(), stored in document(), wanted in document()
    ) {
        for clash in merge(&base, &stored, &wanted).clashes {
            prop_assert_ne!(&clash.stored, &clash.wanted);
            prop_assert_ne!(get(&base, &clash.keys), clash.stored.as_ref());
            prop_assert_eq!(get(&stored, &clash.keys), clash.stored.as_ref());
            prop_assert_eq!(get(&wanted, &clash.keys), clash.wanted.as_ref());
        }
    }

    #[test]
    fn a_change_of_others_is_never_undone_without_a_clash(
        base in document(), stored in document(), wanted in document()
    ) {
        let merged = merge(&base, &stored, &wanted);
        for keys in differences(&base, &stored) {
            let (theirs, result) = (get(&stored, &keys), get(&merged.document, &keys));
            let clashes = merged.clashes.iter().any(|clash| {
                clash.keys.starts_with(&keys) || keys.starts_with(&clash.keys)
            });
            // The author may have wanted something new inside of a new map of others.
            let is_map = theirs.is_some_and(Value::is_object);
            prop_assert!(theirs == result || clashes || is_map, "{:?}", keys);
        }
    }

    #[test]
    fn applying_the_same_file_again_changes_nothing(
        base in document(), stored in document(), wanted in document()
    ) {
        let once = merge(&base, &stored, &wanted);
        let twice = merge(&wanted, &once.document, &wanted);
        prop_assert_eq!(twice, Merged { document: once.document, clashes: vec![] });
    }
}

#[test]
fn what_a_newer_version_has_written_stays_where_nothing_else_was_decided() {
    let stored = json!({
        "known": 1, "new": {"deep": true}, "gone": {"a": 1, "new": 2},
        "map": {"kept": 1, "new": [1]}, "list": [{"a": 1, "new": 1}, {"a": 2, "new": 2}],
    });
    let before =
        json!({"known": 1, "gone": {"a": 1}, "map": {"kept": 1}, "list": [{"a": 1}, {"a": 2}]});
    let mut after = json!({"known": 2, "map": {"kept": 3}, "list": [{"a": 1}, {"a": 3}, {"a": 4}]});
    keep_unknown(&stored, &before, &mut after);
    let expected = json!({
        "known": 2, "new": {"deep": true}, "map": {"kept": 3, "new": [1]},
        "list": [{"a": 1, "new": 1}, {"a": 3}, {"a": 4}],
    });
    assert_eq!(after, expected);
}
