//! Certificates and configuration as files.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use quaestor::tls::Certificate;

use crate::{
    ground::{Ground, fails, quaestor},
    support::eventually,
};

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_their_owners_alone_and_nothing_is_overwritten() {
    let ground = Ground::new();
    let pki = ground.path("pki");
    assert_eq!(mode(&format!("{pki}/ca.key")), 0o600);
    fails(
        &quaestor(&["pki", "init", "--dir", &pki]),
        &["ca.crt is there already"],
    );

    let issue = [
        "pki",
        "issue",
        "agent",
        "qa-1",
        "--san",
        "qa-1.example",
        "--dir",
        &pki,
    ];
    let said = ground.ok(&issue);
    for word in [
        "agent.qa-1, until",
        "qa-1.example, localhost",
        "/etc/quaestor/config.yaml",
        "tls-key:",
    ] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    let key = format!("{pki}/agent.qa-1.key");
    assert_eq!(mode(&key), 0o600);
    let former = fs::read(&key).unwrap();
    fails(
        &quaestor(&issue),
        &["agent.qa-1.crt is there already", "--renew"],
    );
    assert_eq!(fs::read(&key).unwrap(), former);
    ground.ok(&[&issue[..], &["--renew"]].concat());
    assert_ne!(fs::read(&key).unwrap(), former);
    let certificate = fs::read(format!("{pki}/agent.qa-1.crt")).unwrap();
    let certificate = Certificate::first(&certificate).unwrap();
    assert_eq!(certificate.common_name, "agent.qa-1");

    fails(
        &quaestor(&["pki", "issue", "agent", "--dir", &pki]),
        &["NAME"],
    );
    fails(
        &quaestor(&["pki", "issue", "agent", "Upper", "--dir", &pki]),
        &["not a name"],
    );
    fails(
        &quaestor(&["pki", "issue", "operator", "a", "--san", "b", "--dir", &pki]),
        &["--san"],
    );
    fails(
        &quaestor(&["pki", "issue", "agent", "a", "--dir", &ground.path("none")]),
        &["quaestor pki init"],
    );
    fails(
        &quaestor(&["pki", "issue", "agent", &"a".repeat(63), "--dir", &pki]),
        &["too long"],
    );
}

#[test]
fn members_of_an_etcd_get_all_they_need_and_none_is_overwritten() {
    let ground = Ground::new();
    let (pki, out) = (ground.path("pki"), ground.path("etcd"));
    let config = [
        "etcd",
        "config",
        "--members",
        "a=10.0.0.1,b=b.example",
        "--dir",
        &pki,
        "--out",
        &out,
    ];
    let said = ground.ok(&config);
    for word in [
        "10.0.0.1: copy",
        "--etcd https://10.0.0.1:2379,https://b.example:2379",
        "quaestor rbac",
    ] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
    for member in ["a", "b"] {
        for file in [
            "ca.crt",
            "peers-ca.crt",
            "server.crt",
            "server.key",
            "peer.crt",
            "peer.key",
            "etcd.conf.yml",
            "etcd.service",
        ] {
            assert!(
                Path::new(&format!("{out}/{member}/{file}")).exists(),
                "{member}/{file}"
            );
        }
        assert_eq!(mode(&format!("{out}/{member}/server.key")), 0o600);
    }
    fails(&quaestor(&config), &["is there already"]);
    let twice = [
        "etcd",
        "config",
        "--members",
        "a,a",
        "--dir",
        &pki,
        "--out",
        &ground.path("x"),
    ];
    fails(&quaestor(&twice), &["member a is named twice"]);
}

#[test]
fn a_configuration_is_checked_with_the_files_that_it_names() {
    let ground = Ground::new();
    let pki = ground.path("pki");
    ground.issue(&["agent", "qa-1"]);
    ground.issue(&["balancer", "b1", "--lasts", "1s"]);
    let file = ground.path("config.yaml");
    let check = |text: &str| {
        fs::write(&file, text.replace("PKI", &pki)).unwrap();
        quaestor(&["config", "check", &file])
    };
    let good = "etcd: [https://a:2379]\ntls-ca: PKI/ca.crt\nagent:\n  node: qa-1\n  \
                tls-cert: PKI/agent.qa-1.crt\n  tls-key: PKI/agent.qa-1.key\n";
    let checked = check(good);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        said.contains("CERTIFICATE") && said.contains("agent.qa-1 "),
        "{said}"
    );

    fails(
        &check("tls-cert: PKI/agent.qa-1.crt\n"),
        &["--tls-cert has no use without --tls-key"],
    );
    fails(
        &check("tls-ca: PKI/none.crt\n"),
        &["cannot read", "none.crt (--tls-ca)"],
    );
    let others = good.replace("agent.qa-1.key", "ca.key");
    fails(
        &check(&others),
        &["agent: the key in", "is not that of the certificate"],
    );
    let as_balancer = good.replace("agent:\n  node: qa-1", "balancer:");
    fails(&check(&as_balancer), &["is that of agent.qa-1", "balancer"]);
    let expired = as_balancer.replace("agent.qa-1", "balancer.b1");
    eventually("its second is over", || !check(&expired).status.success());
    fails(&check(&expired), &["balancer.b1.crt expired at"]);
    fails(
        &check("etcd-password-file: PKI/none\n"),
        &["cannot read the password"],
    );
}

#[test]
fn flags_that_contradict_each_other_are_told() {
    let ground = Ground::new();
    let ca = ground.path("pki/ca.crt");
    let get = |more: &[&str]| quaestor(&[&["get", "nodes"], more].concat());
    fails(
        &get(&["--etcd", "https://a:1"]),
        &["https://a:1", "--etcd-ca"],
    );
    fails(
        &get(&["--etcd-ca", &ca]),
        &["no endpoint of etcd begins with https://"],
    );
    fails(
        &get(&["--tls-key", "x"]),
        &["--tls-key has no use without --tls-cert"],
    );
    let balancer = quaestor(&["balancer", "--listen", "127.0.0.1:0", "--tls-ca", &ca]);
    fails(&balancer, &["the balancer has no certificate to show"]);
    let plain = quaestor(&[
        "balancer",
        "--listen",
        "127.0.0.1:0",
        "--plain",
        "127.0.0.1:0",
    ]);
    fails(&plain, &["--plain is for balancers that speak TLS"]);
}
