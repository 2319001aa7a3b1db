//! `apply` and `diff` against a real etcd: what is written, what is kept of others, what is refused.
//!
//! 1. diff: exit codes, consequences, secrets, colours
//! 2. prune: what is listed, asked and deleted, and what keeps it from that
//! 3. conflicts: what others changed, and data of versions that knew no authors, or know more than this one
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use support::{cluster::QUAESTOR, etcd::Etcd};

/// A real etcd, and a directory with manifests. Nothing runs: these commands are about the store alone.
struct Shop {
    etcd: Etcd,
    directory: tempfile::TempDir,
}

/// What a command printed, and how it ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Shop {
    fn open() -> Self {
        Self {
            etcd: Etcd::start(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A file with the manifests of services, each with its own fields of the spec.
    fn file(&self, name: &str, services: &[(&str, &str)]) -> String {
        let manifest = |(service, spec): &(&str, &str)| {
            format!(
                "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: {service}, labels: {{team: qa}}}}\n\
                 spec: {{command: [sleep, '60'], {spec}}}\n---\n"
            )
        };
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(&path, services.iter().map(manifest).collect::<String>()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, author: &str, arguments: &[&str], input: &str) -> Said {
        let mut child = Command::new(QUAESTOR)
            .args(arguments)
            .env("QUAESTOR_ETCD", self.etcd.endpoint())
            .env("QUAESTOR_AS", author)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        Said {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    #[track_caller]
    fn ok(&self, author: &str, arguments: &[&str]) -> Said {
        let said = self.run(author, arguments, "");
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        said
    }

    /// What lies under a key of the cluster.
    fn value(&self, key: &str) -> Option<Value> {
        let text = self.etcdctl(&[
            "get",
            "--print-value-only",
            &format!("/quaestor/default/{key}"),
        ]);
        serde_json::from_str(&text).ok()
    }

    fn spec(&self, service: &str) -> Value {
        let object = self.value(&format!("spec/service/{service}"));
        object.map_or(Value::Null, |object| object["spec"].clone())
    }

    fn etcdctl(&self, arguments: &[&str]) -> String {
        let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let output = Command::new(program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.etcd.endpoint()])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[test]
fn diff_says_by_its_exit_code_whether_anything_differs_and_what_restarts() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "replicas: 2")]);
    let new = shop.run("ann", &["diff", "-f", &file], "");
    assert_eq!(new.code, 1, "{}", new.err);
    has(
        &new.out,
        &["+++ service/worker", "+  replicas: 2", "# a new service"],
    );
    shop.ok("ann", &["apply", "-f", &file]);

    // Defaults spelled out are no difference.
    shop.file("a.yaml", &[("worker", "replicas: 2, published: true")]);
    let same = shop.run("ann", &["diff", "-f", &file], "");
    assert_eq!((same.code, same.out.as_str()), (0, ""), "{}", same.err);

    shop.file(
        "a.yaml",
        &[("worker", "replicas: 3, env: {X: '1'}, stop: {grace: 5s}")],
    );
    let changed = shop.run("ann", &["diff", "-f", &file], "");
    assert_eq!(changed.code, 1);
    has(
        &changed.out,
        &[
            "--- service/worker (stored, generation 1)",
            "-  replicas: 2",
            "+  replicas: 3",
            "# spec.env: new processes",
            "# spec.replicas: instances are added or ended",
            "# spec.stop: nothing is restarted",
        ],
    );
    assert!(!changed.out.contains('\u{1b}'), "colours, and no terminal");
    // Nothing was written.
    assert_eq!(shop.spec("worker")["replicas"], 2);
}

#[test]
fn diff_that_cannot_find_out_ends_with_two() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "replicas: minus")]);
    let wrong = shop.run("ann", &["diff", "-f", &file], "");
    assert_eq!(wrong.code, 2);
    has(&wrong.err, &["a.yaml", "replicas"]);
    let file = shop.file("a.yaml", &[("worker", "replicas: 1")]);
    let away = shop.run(
        "ann",
        &["diff", "-f", &file, "--etcd", "http://127.0.0.1:1"],
        "",
    );
    assert_eq!(away.code, 2);
    has(&away.err, &["cannot be reached"]);
}

#[test]
fn secrets_are_shown_neither_by_diff_nor_by_conflicts() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "env: {DB_PASSWORD: first-secret}")]);
    shop.ok("ann", &["apply", "-f", &file]);
    shop.file("a.yaml", &[("worker", "env: {DB_PASSWORD: second-secret}")]);
    let diff = shop.run("bob", &["diff", "-f", &file], "");
    assert_eq!(diff.code, 1);
    has(&diff.out, &["DB_PASSWORD", "*** (before)", "*** (after)"]);
    shop.ok("bob", &["apply", "-f", &file]);
    shop.file("a.yaml", &[("worker", "env: {DB_PASSWORD: third-secret}")]);
    let refused = shop.run("ann", &["apply", "-f", &file], "");
    assert_eq!(refused.code, 5, "a conflict has a code of its own");
    has(&refused.err, &["spec.env.DB_PASSWORD", "bob"]);
    for text in [diff.out, diff.err, refused.out, refused.err] {
        assert!(!text.contains("-secret"), "{text}");
    }
}

#[test]
fn prune_lists_asks_and_deletes_what_is_in_no_file_any_more() {
    let shop = Shop::open();
    let both = shop.file("both.yaml", &[("worker", ""), ("old", "replicas: 4")]);
    shop.ok("ann", &["apply", "-f", &both]);
    let one = shop.file("one.yaml", &[("worker", "")]);
    let prune = ["apply", "-f", &one, "--prune", "-l", "team=qa"];

    let dry = shop.ok("ann", &[&prune[..], &["--dry-run"]].concat());
    has(&dry.out, &["service/old pruned (dry run)"]);
    let unanswered = shop.run("ann", &prune, "");
    assert_eq!(unanswered.code, 1);
    has(&unanswered.err, &["old", "4", "--yes"]);
    let refused = shop.run("ann", &prune, "n\n");
    assert_eq!(refused.code, 1);
    has(&refused.err, &["nothing was changed"]);
    assert_ne!(shop.spec("old"), Value::Null);
    let agreed = shop.run("ann", &prune, "y\n");
    assert_eq!(agreed.code, 0, "{}", agreed.err);
    has(
        &agreed.out,
        &["service/worker unchanged", "service/old pruned"],
    );
    assert_eq!(shop.spec("old"), Value::Null);
    assert!(
        shop.value("spec/deleted/old").is_some(),
        "it ended on purpose"
    );
    assert_ne!(shop.spec("worker"), Value::Null);
}

#[test]
fn prune_of_three_or_more_takes_their_number() {
    let shop = Shop::open();
    let names = ["a", "b", "c", "d"];
    let all = shop.file("all.yaml", &names.map(|name| (name, "")));
    shop.ok("ann", &["apply", "-f", &all]);
    let one = shop.file("one.yaml", &[("a", "replicas: 7")]);
    let prune = ["apply", "-f", &one, "--prune", "-l", "team=qa"];
    let mass = shop.run("ann", &[&prune[..], &["--yes"]].concat(), "");
    assert_eq!(mass.code, 1);
    has(&mass.err, &["3 services", "--prune-at-most 3"]);
    let careless = shop.run("ann", &prune, "y\n");
    assert_eq!(careless.code, 1);
    assert_ne!(shop.spec("a")["replicas"], 7, "nothing was changed");
    let meant = shop.run(
        "ann",
        &[&prune[..], &["--yes", "--prune-at-most", "3"]].concat(),
        "",
    );
    assert_eq!(meant.code, 0, "{}", meant.err);
    assert_eq!(shop.spec("d"), Value::Null);
    assert_eq!(shop.spec("a")["replicas"], 7);
}

#[test]
fn prune_leaves_alone_what_has_other_labels_and_refuses_files_without_them() {
    let shop = Shop::open();
    let all = shop.file("all.yaml", &[("a", ""), ("b", "")]);
    shop.ok("ann", &["apply", "-f", &all]);
    let one = shop.file("one.yaml", &[("a", "")]);
    let foreign = shop.run(
        "ann",
        &["apply", "-f", &one, "--prune", "-l", "team=ops", "--yes"],
        "",
    );
    assert_eq!(foreign.code, 1);
    has(&foreign.err, &["service `a`", "team=ops"]);
    assert_ne!(shop.spec("b"), Value::Null);
    let unlabelled = shop.run("ann", &["apply", "-f", &one, "--prune"], "");
    assert_eq!(unlabelled.code, 2);
    has(&unlabelled.err, &["--selector"]);
}

#[test]
fn a_scaled_service_keeps_its_replicas_when_the_file_does_not_mention_them() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "env: {X: '1'}")]);
    shop.ok("ann", &["apply", "-f", &file]);
    shop.ok("bob", &["scale", "worker", "--replicas", "5"]);
    shop.file("a.yaml", &[("worker", "env: {X: '2'}")]);
    let said = shop.ok("ann", &["apply", "-f", &file]);
    has(&said.out, &["configured (generation 3)"]);
    has(&said.err, &["spec.replicas stays 5", "scale of bob"]);
    assert_eq!(shop.spec("worker")["replicas"], 5);
    assert_eq!(shop.spec("worker")["env"]["X"], "2");
}

#[test]
fn a_field_that_somebody_else_changed_is_refused_and_can_be_forced() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "replicas: 3")]);
    shop.ok("ann", &["apply", "-f", &file]);
    shop.ok("bob", &["scale", "worker", "--replicas", "5"]);
    let refused = shop.run("ann", &["apply", "-f", &file], "");
    assert_eq!(refused.code, 5);
    has(
        &refused.err,
        &[
            "spec.replicas: is 5 (scale of bob",
            "the manifest says 3",
            "--force-conflicts",
        ],
    );
    assert_eq!(shop.spec("worker")["replicas"], 5);
    let shown = shop.run("ann", &["diff", "-f", &file], "");
    assert_eq!(shown.code, 1);
    has(&shown.err, &["spec.replicas was changed by others"]);
    shop.ok("ann", &["apply", "-f", &file, "--force-conflicts"]);
    assert_eq!(shop.spec("worker")["replicas"], 3);
    // Now it is ann's; bob goes on from there.
    shop.ok("bob", &["scale", "worker", "--replicas", "4"]);
    let own = shop.run("bob", &["apply", "-f", &file], "");
    assert_eq!(own.code, 0, "one's own change is no conflict: {}", own.err);
}

#[test]
fn a_file_that_is_older_than_what_another_applied_does_not_undo_it() {
    let shop = Shop::open();
    let stale = shop.file("stale.yaml", &[("worker", "env: {X: '1', Y: '1'}")]);
    shop.ok("ann", &["apply", "-f", &stale]);
    let newer = shop.file("newer.yaml", &[("worker", "env: {X: '2', Y: '1'}")]);
    shop.ok("bob", &["apply", "-f", &newer]);
    let refused = shop.run("ann", &["apply", "-f", &stale], "");
    assert_eq!(refused.code, 5);
    has(&refused.err, &["spec.env.X", "apply of bob"]);
    // What does not touch bob's field merges with it.
    let other = shop.file("other.yaml", &[("worker", "env: {X: '2', Y: '3'}")]);
    shop.ok("ann", &["apply", "-f", &other]);
    assert_eq!(
        shop.spec("worker")["env"],
        serde_json::json!({"X": "2", "Y": "3"})
    );
}

#[test]
fn what_versions_without_authors_wrote_is_applied_over_as_before() {
    let shop = Shop::open();
    let old = r#"{"metadata": {"name": "worker"}, "generation": 7,
                  "spec": {"replicas": 9, "command": ["sleep", "60"], "published": false}}"#;
    shop.etcdctl(&["put", "/quaestor/default/spec/service/worker", old]);
    let file = shop.file("a.yaml", &[("worker", "replicas: 2")]);
    let said = shop.ok("ann", &["apply", "-f", &file]);
    has(&said.out, &["configured (generation 8)"]);
    assert_eq!(shop.spec("worker")["replicas"], 2);
    assert_eq!(shop.spec("worker").get("published"), None);
}

#[test]
fn a_change_by_hand_is_a_conflict_of_which_nobody_knows_the_author() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "replicas: 3")]);
    shop.ok("ann", &["apply", "-f", &file]);
    let mut object = shop.value("spec/service/worker").unwrap();
    object["spec"]["replicas"] = 8.into();
    let key = "/quaestor/default/spec/service/worker";
    shop.etcdctl(&["put", key, &object.to_string()]);
    let refused = shop.run("ann", &["apply", "-f", &file], "");
    assert_eq!(refused.code, 5);
    has(&refused.err, &["is 8 (by whom is not known)"]);
}

#[test]
fn a_deleted_service_that_comes_back_knows_nothing_of_its_earlier_life() {
    let shop = Shop::open();
    let file = shop.file("a.yaml", &[("worker", "replicas: 3")]);
    shop.ok("ann", &["apply", "-f", &file]);
    shop.ok("bob", &["scale", "worker", "--replicas", "5"]);
    shop.ok("ann", &["delete", "worker"]);
    assert_eq!(shop.value("spec/applied/worker"), None);
    shop.ok("ann", &["apply", "-f", &file]);
    assert_eq!(shop.spec("worker")["replicas"], 3);
}

#[test]
fn what_a_newer_version_has_written_outlives_every_command_of_this_one() {
    let shop = Shop::open();
    let file = shop.file("one.yaml", &[("a", "replicas: 1, env: {A: b}")]);
    shop.ok("ann", &["apply", "-f", &file]);
    let mut object = shop.value("spec/service/a").unwrap();
    object["future"] = serde_json::json!({"deep": [1]});
    object["spec"]["health"]["future"] = true.into();
    let key = "/quaestor/default/spec/service/a";
    shop.etcdctl(&["put", key, &object.to_string()]);
    let node = "/quaestor/default/spec/node/h";
    shop.etcdctl(&["put", node, r#"{"future": 1}"#]);
    shop.etcdctl(&[
        "put",
        "/quaestor/default/status/node/h",
        r#"{"name": "h", "address": "h"}"#,
    ]);

    let holds = |what: &str| {
        let now = shop.value("spec/service/a").unwrap();
        assert_eq!(now["future"], object["future"], "{what}: {now}");
        assert_eq!(now["spec"]["health"]["future"], true, "{what}: {now}");
        now["generation"].as_u64().unwrap()
    };
    let changed = shop.file("two.yaml", &[("a", "replicas: 1, env: {A: c}")]);
    for (at, command) in [
        &["scale", "a", "--replicas", "3"][..],
        &["rollout", "pause", "a"],
        &["restart", "a"],
        &["apply", "--force-conflicts", "-f", &changed],
    ]
    .iter()
    .enumerate()
    {
        shop.ok("ann", command);
        assert_eq!(holds(command[0]), 2 + at as u64, "{command:?}");
    }
    assert_eq!(shop.spec("a")["env"]["A"], "c");
    for command in ["cordon", "uncordon"] {
        shop.ok("ann", &[command, "h"]);
        assert_eq!(shop.value("spec/node/h").unwrap()["future"], 1);
    }
}
