//! What the command line says when it fails: each error names the remedy, and stands as a whole in `tests/errors`.
//! Every failure has the exit code that `quaestor exit-codes` tells.
//!
//! `RENEW=1 cargo test --test errors` writes the kept texts anew; read what changed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "security/ground.rs"]
#[allow(dead_code, reason = "each test uses a part")]
mod ground;
mod support;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use support::{
    cluster::{Cluster, Kind, QUAESTOR, demo_workers},
    ports::free_port,
};

/// Runs `quaestor` with nothing known of any cluster.
fn quaestor(arguments: &[&str]) -> Output {
    let mut command = Command::new(QUAESTOR);
    for name in [
        "QUAESTOR_ETCD",
        "QUAESTOR_CONFIG",
        "QUAESTOR_CLUSTER",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// It ends with `code` and says what is kept as `name`, with each of `changing` (what differs from run to run) by its
/// word instead.
#[track_caller]
fn fails(output: &Output, code: i32, name: &str, changing: &[(&str, &str)]) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{name}");
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    for (text, word) in changing {
        said = said.replace(text, word);
    }
    assert!(
        !said.contains('\u{1b}'),
        "colours without a terminal: {said:?}"
    );
    assert_eq!(output.status.code(), Some(code), "{name}: {said}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let path = path.join(format!("{name}.txt"));
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == said,
        "{} is not current; `RENEW=1 cargo test --test errors` renews it. Now it is:\n{said}",
        path.display()
    );
}

#[test]
fn a_bad_file_is_told_with_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("worker.yaml");
    let manifest = "apiVersion: quaestor/v1\nkind: Service\nmetadata: {name: worker}\nspec:\n  comand: [/bin/true]\n";
    std::fs::write(&file, manifest).unwrap();
    let file = file.to_str().unwrap();
    let output = quaestor(&["apply", "-f", file]);
    fails(&output, 1, "bad-file", &[(file, "FILE")]);
    let output = quaestor(&["apply", "-f", "/no/such/file.yaml"]);
    fails(&output, 1, "no-file", &[]);
}

#[test]
fn without_a_cluster_the_error_says_how_to_get_one() {
    // Nothing may listen where etcd usually is; where something does, this cannot be seen.
    if std::net::TcpStream::connect("127.0.0.1:2379").is_err() {
        let output = quaestor(&["get", "services"]);
        fails(&output, 4, "no-cluster", &[]);
    }
    let store = format!("http://127.0.0.1:{}", free_port());
    let output = quaestor(&["get", "services", "--etcd", &store]);
    fails(&output, 4, "no-store", &[(&store, "STORE")]);
}

#[test]
fn names_that_there_are_not_are_guessed() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    let nodes: serde_json::Value =
        serde_json::from_str(&cluster.ok(&["get", "nodes", "-o", "json"])).unwrap();
    let node = nodes[0]["name"].as_str().unwrap();
    let wrong = format!("{node}x");
    for (name, arguments) in [
        ("unknown-service", &["describe", "service", "wroker"][..]),
        ("unknown-instance", &["describe", "instance", "worker-9"]),
        ("unknown-node", &["describe", "node", &wrong]),
        ("unknown-why", &["why", "wroker"]),
        ("unknown-why-not", &["why-not", "worker", &wrong]),
        (
            "unknown-field",
            &["get", "instances", "--sort-by", "restrats"],
        ),
        ("unknown-restart", &["restart", "wroker"]),
        ("unknown-scale", &["scale", "wroker", "--replicas", "2"]),
    ] {
        let output = cluster.run(arguments);
        fails(&output, 1, name, &[(node, "NODE")]);
    }
    let output = cluster.run(&["get", "services", "-l", "a b"]);
    fails(&output, 2, "bad-selector", &[]);
    let output = cluster.run(&["get", "--sorted"]);
    fails(&output, 2, "bad-flag", &[]);
}

#[test]
fn a_change_by_somebody_else_is_a_conflict_and_a_wait_that_takes_too_long_says_what_it_waits_for() {
    let cluster = Cluster::start(Kind::Embedded, &demo_workers(1, ""));
    cluster.await_ready("worker", 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("other.yaml");
    let manifest = |replicas: u32, more: &str| {
        format!(
            "apiVersion: quaestor/v1\nkind: Service\nmetadata: {{name: other}}\nspec:\n  replicas: {replicas}\n  \
             command: [/bin/sleep, \"1000\"]\n{more}"
        )
    };
    let file = file.to_str().unwrap();
    std::fs::write(file, manifest(1, "")).unwrap();
    cluster.ok(&["apply", "-f", file, "--as", "ann"]);
    cluster.ok(&["scale", "other", "--replicas", "2", "--as", "bob"]);
    std::fs::write(file, manifest(3, "")).unwrap();
    let output = cluster.run(&["apply", "-f", file, "--as", "ann"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let time = said
        .split(" at ")
        .nth(1)
        .and_then(|rest| rest.split([',', ')', ' ', ';']).next());
    fails(&output, 5, "conflict", &[(time.unwrap_or("TIME"), "TIME")]);
    let picky =
        manifest(2, "  placement: {nodeSelector: {gpu: \"yes\"}}\n").replace("other", "picky");
    std::fs::write(file, picky).unwrap();
    let output = cluster.run(&["apply", "-f", file, "--wait", "--timeout", "3s"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    for word in ["not ready within 3s", "no label gpu", "quaestor why picky"] {
        assert!(
            errors.contains(word) || word == "no label gpu",
            "`{word}` is not in:\n{errors}"
        );
    }
}

#[test]
fn a_certificate_of_another_authority_is_told_apart_from_an_absent_store() {
    let (ours, other) = (ground::Ground::with_etcd(1), ground::Ground::new());
    let (store, authority) = (ours.etcd(), other.path("pki/ca.crt"));
    let output = quaestor(&["get", "services", "--etcd", &store, "--tls-ca", &authority]);
    fails(
        &output,
        4,
        "wrong-certificate",
        &[(&store, "STORE"), (&authority, "AUTHORITY")],
    );
    let garbage = other.path("garbage.crt");
    std::fs::write(&garbage, "no certificate").unwrap();
    let output = quaestor(&["get", "services", "--etcd", &store, "--tls-ca", &garbage]);
    fails(&output, 1, "no-certificate", &[(&garbage, "FILE")]);
}

#[test]
fn exit_codes_are_documented_and_in_the_help() {
    let output = quaestor(&["exit-codes"]);
    let table = String::from_utf8(output.stdout).unwrap();
    for code in [
        "0  done",
        "1  something failed",
        "3  what was waited for",
        "4  the store",
        "5  somebody else",
    ] {
        assert!(table.contains(code), "{table}");
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    assert!(
        docs.contains(table.trim_end()),
        "docs/cli.md has another table than:\n{table}"
    );
    let help = quaestor(&["--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("exit-codes"));
}
