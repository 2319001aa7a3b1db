//! Roles on three members of etcd, with TLS on every connection.

use std::{fs, process::Command};

use crate::{
    ground::{Ground, fails, quaestor},
    support::{cluster::demo_workers, eventually, ports::free_port},
};

/// A service that only `billing` may ask for, and one that is given out by tickets.
fn more_services() -> String {
    let service = |name: &str, balance: &str| {
        format!(
            r#"
---
apiVersion: quaestor/v1
kind: Service
metadata: {{name: {name}}}
spec:
  command: ["{{quaestor}}", demo-worker, --listen, "{{host}}:{{port}}", --service-name, {name}]
  ports: [{{name: grpc}}]
  health: {{grpc: {{}}, timeout: 20s}}
  load: {{reportLoad: {{}}}}
  balance: {balance}
"#
        )
    };
    service("ledger", "{allow: [billing]}") + &service("scanner", "{exclusive: true}")
}

#[test]
fn a_cluster_lets_in_who_has_a_certificate_and_each_to_what_is_its() {
    let mut ground = Ground::with_etcd(3);
    let http = format!("127.0.0.1:{}", free_port());
    let balancer = ground.start_roles(&["--http", &http]);
    for client in ["billing", "reports"] {
        ground.issue(&["client", client]);
    }
    ground.apply_as("operator.ann", &(demo_workers(2, "") + &more_services()));

    // Everybody with a certificate may ask for what is for everybody.
    for owner in [
        "operator.ann",
        "client.billing",
        "client.reports",
        "agent.h1",
    ] {
        // What is in the store reaches the balancer a moment later.
        eventually(&format!("{owner} is answered"), || {
            let picked = ground.run_as(owner, &["pick", "Worker", "--balancer", &balancer]);
            picked.stdout.starts_with(b"127.0.0.1:")
        });
    }
    // What is for one client is for that one, and for operators.
    for owner in ["client.billing", "operator.ann"] {
        eventually(&format!("{owner} is answered"), || {
            let picked = ground.run_as(owner, &["pick", "ledger", "--balancer", &balancer]);
            picked.status.success()
        });
    }
    let refused = ground.run_as(
        "client.reports",
        &["pick", "ledger", "--balancer", &balancer],
    );
    fails(&refused, &["who asks is client.reports", "balance.allow"]);

    // Balancers ask agents for tickets; nobody else does.
    let acquire = ["acquire", "scanner", "--balancer", &balancer, "--", "true"];
    ground.ok_as("client.reports", &acquire);

    // Logs are the operators'.
    let lines = ground.ok_as("operator.ann", &["logs", "worker-0"]);
    assert!(!lines.is_empty() || ground.log("agent.h1").contains("worker-0"));
    let refused = ground.run_as("client.billing", &["logs", "worker-0"]);
    fails(
        &refused,
        &[
            "to read logs takes a certificate of the role operator",
            "client.billing",
        ],
    );

    // Without a certificate, or with TLS not even spoken, there is no answer, and it is said what is missing.
    let ca = ground.path("pki/ca.crt");
    let pick = ["pick", "Worker", "--balancer", &balancer];
    let refused = quaestor(&[&pick[..], &["--tls-ca", &ca]].concat());
    fails(
        &refused,
        &["127.0.0.1 wants a certificate", "--tls-cert and --tls-key"],
    );
    fails(&quaestor(&pick), &[&balancer, "maybe TLS is spoken there"]);
    // One such word per second is enough.
    eventually("the balancer says who was turned away", || {
        quaestor(&pick);
        let log = ground.log("balancer.b1");
        log.contains("it has shown no certificate") && log.contains("it speaks no TLS")
    });
    let refused = quaestor(&["get", "nodes", "--etcd", &ground.etcd(), "--etcd-ca", &ca]);
    fails(
        &refused,
        &[
            "127.0.0.1 wants a certificate",
            "--etcd-cert and --etcd-key",
        ],
    );

    // HTTP/JSON answers everybody, save what is for some.
    let get = |path: &str, certificate: Option<&str>| {
        get(&ground, &format!("https://{http}{path}"), certificate)
    };
    assert_eq!(get("/v1/services/Worker/pick", None), "200");
    assert_eq!(get("/v1/services/ledger/pick", None), "403");
    assert_eq!(get("/v1/services/ledger/endpoints", None), "403");
    assert_eq!(
        get("/v1/services/ledger/pick", Some("client.reports")),
        "403"
    );
    assert_eq!(
        get("/v1/services/ledger/pick", Some("client.billing")),
        "200"
    );

    // A member of the store is lost: nobody notices.
    ground.kill_member(0);
    ground.ok_as(
        "operator.ann",
        &["scale", "worker", "--replicas", "1", "--wait"],
    );
}

/// The status of the answer to a GET.
fn get(ground: &Ground, url: &str, certificate: Option<&str>) -> String {
    const SCRIPT: &str = "
import ssl, sys, urllib.error, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
if len(sys.argv) > 3:
    context.load_cert_chain(sys.argv[3] + '.crt', sys.argv[3] + '.key')
try:
    print(urllib.request.urlopen(sys.argv[1], context=context).status)
except urllib.error.HTTPError as error:
    print(error.code)
";
    let python = std::env::var("QUAESTOR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, url, &ground.path("pki/ca.crt")]);
    if let Some(name) = certificate {
        command.arg(ground.path(&format!("pki/{name}")));
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn new_certificates_are_used_without_a_restart_and_broken_ones_are_not() {
    let mut ground = Ground::with_etcd(1);
    let plain = format!("127.0.0.1:{}", free_port());
    let balancer = ground.start_roles(&["--anonymous", "--plain", &plain]);
    ground.apply_as("operator.ann", &(demo_workers(1, "") + &more_services()));
    let pick = |name: &str| ground.run_as("operator.ann", &["pick", name, "--balancer", &balancer]);
    eventually("a pick", || pick("Worker").status.success());

    // Callers without a certificate, and without TLS, may ask for what is for everybody, and for nothing else.
    let ca = ground.path("pki/ca.crt");
    let anonymous =
        |name: &str| quaestor(&["pick", name, "--balancer", &balancer, "--tls-ca", &ca]);
    let open = |name: &str| quaestor(&["pick", name, "--balancer", &plain]);
    assert!(anonymous("Worker").status.success());
    assert!(open("Worker").status.success());
    fails(&anonymous("ledger"), &["who asks has shown no certificate"]);
    fails(&open("ledger"), &["who asks has shown no certificate"]);

    // A new certificate, for another name: calls to the old one fail by it, which shows that it is in use.
    let certificate = ground.path("pki/balancer.b1.crt");
    let former = fs::read(&certificate).unwrap();
    ground.issue(&["balancer", "b1", "--renew", "--san", "elsewhere.example"]);
    eventually("the balancer uses its new certificate", || {
        ground
            .log("balancer.b1")
            .contains("new certificates are in use")
    });
    assert!(pick("Worker").status.success());
    assert_ne!(fs::read(&certificate).unwrap(), former);

    // One whose key is another's, and none at all: the last good one stays.
    fs::write(&certificate, former).unwrap();
    eventually("the balancer complains of the key", || {
        let log = ground.log("balancer.b1");
        log.contains("those before them stay in force")
            && log.contains("is not that of the certificate")
    });
    fs::write(&certificate, "").unwrap();
    eventually("the balancer complains of the certificate", || {
        ground
            .log("balancer.b1")
            .contains("holds no certificate in PEM")
    });
    assert!(pick("Worker").status.success());
    ground.issue(&["balancer", "b1", "--renew"]);
    eventually("the balancer uses the next certificate", || {
        ground
            .log("balancer.b1")
            .matches("new certificates are in use")
            .count()
            == 2
    });
    assert!(pick("Worker").status.success());

    // Nothing of all that has ended anybody.
    for owner in ["controller.c1", "agent.h1", "balancer.b1"] {
        assert!(!ground.log(owner).contains("stopping"), "{owner}");
    }
}
