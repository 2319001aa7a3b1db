use super::*;
use crate::{
    model::{Timestamp, Tombstone, manifest::Source},
    store::Entry,
};

fn manifest(spec: &str) -> Manifest {
    let text = format!(
        "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{command: [x], {spec}}}\n"
    );
    let source = Source {
        name: "it.yaml".to_owned(),
        text,
    };
    manifest::read(&[source]).unwrap().remove(0)
}

fn object(generation: u64, spec: &str) -> ServiceObject {
    let Manifest { metadata, spec, .. } = manifest(spec);
    ServiceObject {
        metadata,
        generation,
        restarts: Restarts::default(),
        paused: false,
        spec,
    }
}

fn entry(value: &impl serde::Serialize) -> Option<Entry> {
    Some(Entry {
        key: String::new(),
        value: to_json(value).into(),
        create_revision: 1,
        mod_revision: 1,
    })
}

/// A service that `author` applied, and that `edit` says to have been changed since.
fn stored(now: &str, applied: &[(&str, &str)], edits: &[(&str, &str)]) -> Before {
    let mut known = Authorship::default();
    for (generation, (author, spec)) in (1..).zip(applied) {
        let manifest = manifest(spec);
        let whole = document(&manifest.metadata, &manifest.spec);
        let applied = AppliedManifest {
            at: Timestamp::from_millis(0),
            generation,
            manifest: merge::mask(&manifest.written, &whole),
        };
        known.note_applied(author, applied);
    }
    for (field, by) in edits {
        let edit = Edit {
            by: (*by).to_owned(),
            at: Timestamp::from_millis(0),
            how: "scale".to_owned(),
            generation: 4,
        };
        known.note_edit([(*field).to_owned()], &edit);
    }
    Before {
        spec: entry(&object(4, now)),
        authorship: entry(&known),
        ..Before::default()
    }
}

fn apply(before: &Before, spec: &str) -> (Change, u64) {
    let preview = before.preview(&manifest(spec), "ann", false).unwrap();
    (preview.change, preview.after.generation)
}

#[test]
fn the_generation_grows_only_with_a_real_change() {
    let before = Before {
        spec: entry(&object(4, "replicas: 2")),
        ..Before::default()
    };
    assert_eq!(apply(&before, "replicas: 2"), (Change::Unchanged, 4));
    assert_eq!(apply(&before, "replicas: 3"), (Change::Configured, 5));
    assert_eq!(
        apply(&Before::default(), "replicas: 1"),
        (Change::Created, 1)
    );
}

#[test]
fn a_changed_manifest_keeps_the_restarts_that_were_asked_for() {
    let mut stored = object(4, "replicas: 2");
    stored.restarts.request(None, 3);
    stored.restarts.request(Some(1), 4);
    let before = Before {
        spec: entry(&stored),
        ..Before::default()
    };
    let preview = before.preview(&manifest("replicas: 3"), "ann", false);
    let restarts = preview.unwrap().after.restarts;
    assert_eq!(restarts, stored.restarts);
    assert_eq!((restarts.of(0), restarts.of(1)), (Some(3), Some(4)));
}

#[test]
fn a_service_that_comes_back_goes_on_from_its_last_generation() {
    let tombstone = entry(&Tombstone {
        generation: 7,
        deleted_at: Timestamp::from_millis(0),
    });
    let before = Before {
        tombstone,
        ..Before::default()
    };
    assert_eq!(apply(&before, "replicas: 1"), (Change::Created, 8));
}

#[test]
fn an_unreadable_value_is_replaced_without_a_fall_of_the_generation() {
    let spec = entry(&serde_json::json!({"generation": 9, "spec": "garbage"}));
    let before = Before {
        spec,
        ..Before::default()
    };
    assert_eq!(apply(&before, "replicas: 1"), (Change::Configured, 10));
}

#[test]
fn what_was_scaled_stays_where_the_file_does_not_mention_it() {
    let before = stored(
        "replicas: 5",
        &[("ann", "published: true")],
        &[("spec.replicas", "bob")],
    );
    let preview = before
        .preview(&manifest("published: false"), "ann", false)
        .unwrap();
    assert_eq!(preview.conflicts, []);
    assert_eq!(preview.after.spec.replicas, Some(5));
    assert!(!preview.after.spec.published);
    let kept: Vec<_> = preview
        .kept
        .iter()
        .map(|kept| (kept.field.as_str(), kept.value.as_str()))
        .collect();
    assert_eq!(kept, [("spec.replicas", "5")]);
}

#[test]
fn what_others_changed_and_the_file_says_otherwise_is_a_conflict_that_names_both_and_who() {
    let before = stored(
        "replicas: 5",
        &[("ann", "replicas: 3")],
        &[("spec.replicas", "bob")],
    );
    let preview = before
        .preview(&manifest("replicas: 3"), "ann", false)
        .unwrap();
    let conflict = &preview.conflicts[0];
    assert_eq!(conflict.field, "spec.replicas");
    assert_eq!(
        (conflict.stored.as_deref(), conflict.wanted.as_deref()),
        (Some("5"), Some("3"))
    );
    let text = told(&"a".parse().unwrap(), &preview.conflicts);
    assert!(
        text.contains("spec.replicas: is 5 (scale of bob at 1970"),
        "{text}"
    );
    assert!(text.contains("the manifest says 3"), "{text}");
    assert!(text.contains("--force-conflicts"), "{text}");
    // With force, it is what the file says.
    assert_eq!(preview.after.spec.replicas, Some(3));
}

#[test]
fn ones_own_changes_are_no_conflict() {
    let before = stored(
        "replicas: 5",
        &[("ann", "replicas: 3")],
        &[("spec.replicas", "ann")],
    );
    let preview = before
        .preview(&manifest("replicas: 3"), "ann", false)
        .unwrap();
    assert_eq!(preview.conflicts, []);
    assert_eq!(preview.after.spec.replicas, Some(3));
}

#[test]
fn a_field_that_another_applied_later_is_a_conflict_for_who_applied_it_before() {
    let before = stored(
        "replicas: 5",
        &[("ann", "replicas: 3"), ("bob", "replicas: 5")],
        &[("spec.replicas", "bob")],
    );
    let preview = |author: &str, spec: &str| before.preview(&manifest(spec), author, false);
    assert_eq!(preview("ann", "replicas: 3").unwrap().conflicts.len(), 1);
    assert_eq!(preview("bob", "replicas: 6").unwrap().conflicts, []);
    // Who never applied it goes on from the last one.
    assert_eq!(preview("eve", "replicas: 6").unwrap().conflicts, []);
}

#[test]
fn what_leaves_the_file_goes_and_defaults_of_others_do_not_stand_in_the_way() {
    let health = "health: {http: {port: p}}, ports: [{name: p}]";
    let before = stored(health, &[("ann", health)], &[]);
    let wanted = manifest("health: {tcp: {}}, ports: [{name: p}]");
    let preview = before.preview(&wanted, "ann", false).unwrap();
    assert_eq!(preview.conflicts, []);
    assert_eq!(preview.after.spec, wanted.spec);
    assert_eq!(preview.kept, []);
}

#[test]
fn a_default_that_the_file_spells_out_is_no_change() {
    let before = stored("replicas: 2", &[("ann", "replicas: 2")], &[]);
    let preview = before.preview(
        &manifest("replicas: 2, published: true, onAgentStop: keep"),
        "ann",
        false,
    );
    let preview = preview.unwrap();
    assert_eq!(
        (preview.change, preview.conflicts),
        (Change::Unchanged, vec![])
    );
}

#[test]
fn what_does_not_fit_together_is_refused_and_forced_to_what_the_file_says() {
    let before = stored(
        "health: {http: {port: p}}, ports: [{name: p}]",
        &[("ann", "ports: [{name: p}]")],
        &[("spec.health", "bob")],
    );
    let wanted = manifest("health: {tcp: {port: p}}, ports: [{name: p}]");
    let refused = before.preview(&wanted, "ann", false).unwrap_err();
    assert!(matches!(refused, Error::Unmergeable(..)), "{refused}");
    let forced = before.preview(&wanted, "ann", true).unwrap();
    assert_eq!(forced.after.spec, wanted.spec);
}

#[test]
fn a_service_that_an_older_version_wrote_is_taken_over_as_it_is() {
    let before = Before {
        spec: entry(&object(4, "replicas: 5, published: false")),
        ..Before::default()
    };
    let wanted = manifest("replicas: 3");
    let preview = before.preview(&wanted, "ann", false).unwrap();
    assert_eq!(preview.conflicts, []);
    assert_eq!(preview.after.spec, wanted.spec);
}
