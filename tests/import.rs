//! The files of quaestor-mini-cluster: what becomes of them, and what is said of what has no equivalent.
//!
//! `tests/import/<file>.yml` is a file of that program, `<file>.txt` what is made of it. `RENEW=1 cargo test
//! --test import` writes the latter anew; read what changed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files fails"
)]

use std::fs;

use quaestor::model::{
    legacy::{self, Wanted},
    manifest::Source,
};

fn import(text: &str, wanted: Wanted) -> Result<legacy::Imported, String> {
    let source = Source {
        name: "it.yml".to_owned(),
        text: text.to_owned(),
    };
    legacy::import(&[source], wanted).map_err(|error| error.to_string())
}

fn assert_kept(file: &str, wanted: Wanted, kept: &str) {
    let text = fs::read_to_string(format!("tests/import/{file}.yml")).unwrap();
    let imported = import(&text, wanted).unwrap();
    let notes: String = imported
        .notes
        .iter()
        .map(|note| format!("note: {note}\n"))
        .collect();
    let actual = format!("{notes}\n{}", imported.manifests);
    let path = format!("tests/import/{kept}.txt");
    if std::env::var_os("RENEW").is_some() {
        fs::write(&path, &actual).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        actual,
        "{path}"
    );
}

#[test]
fn every_field_of_a_cluster_file_has_an_equivalent_or_a_note() {
    assert_kept("cluster", Wanted::Services, "cluster");
}

#[test]
fn a_cluster_file_of_windows_keeps_its_paths() {
    assert_kept("windows", Wanted::Services, "windows");
}

#[test]
fn etcd_becomes_a_manifest_of_its_own() {
    assert_kept("cluster", Wanted::Store, "store");
}

#[test]
fn a_balancer_file_becomes_flags_and_external_services() {
    assert_kept("balancer", Wanted::Services, "balancer");
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_place() {
    for (text, expected) in [
        ("x: [", "it.yml is not YAML"),
        ("[]", "this is not a configuration of quaestor-mini-cluster"),
        (
            "kind: Service",
            "has neither clusterConfig nor loadBalancerConfig nor agents",
        ),
        ("agents: [{ports: [1]}]", "agents[0] has no agentType"),
        (
            "agents: [{agentType: A, ports: [x]}]",
            "agents[0].ports has `x`, which is no port",
        ),
        (
            "agents: {A: {clusterShutdownAction: Burn}}",
            "agents.A.clusterShutdownAction is `Burn`",
        ),
        (
            "agents: {A: {useTLS: maybe}}",
            "agents.A.useTLS is `maybe`, neither true nor false",
        ),
        (
            "agents: {A: {processCount: 1.5, ports: [1]}}",
            "agents.A.processCount is no whole number",
        ),
        ("agents: {A: {}}", "A has neither executablePath nor ports"),
        (
            "agents: {A: {executablePath: x, processCount: 3, ports: [1, 2]}}",
            "A: 3 processes have only 2 ports",
        ),
        (
            "agents: [{agentType: A, executablePath: x, ports: [7]}, {agentType: B, executablePath: y, ports: [7]}]",
            "would be refused",
        ),
    ] {
        let error = import(text, Wanted::Services).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
